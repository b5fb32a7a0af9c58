"""Stop and keep, and finding a search again, in a real ComfyUI on the demo checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .test_in_comfyui import search, shorten
from .world import FLOW, World, latent, prompt


def test_a_stopped_search_hands_out_and_keeps_what_it_has(
        world: World, models: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(world, monkeypatch)
    live, telling = world.module("nodes.live").LIVE, world.module("nodes.telling")
    pictures = telling.Telling.pictures

    def stop(self: Any, *given: Any) -> None:  # noqa: ANN401
        pictures(self, *given)
        assert live.stop("1")

    monkeypatch.setattr(telling.Telling, "pictures", stop)
    out = search(world, models[FLOW], name="halted", latent=latent(FLOW, 4), seed=91)
    preset, _, report = out.args
    assert report.startswith("Stopped by you after ")
    assert "Saved as 'halted', not measured." in report.split("\n")[0]
    stored = world.module("presets.store").read(world.folder / "halted.safetensors")
    assert stored.id == preset.id and stored.info.state == "unfinished"
    assert stored.info.picture and stored.info.reference_picture
    state = next(s for s in live.states() if s["node"] == "1")
    assert (state["state"], state["saved"]) == ("stopped", "halted.safetensors")
    assert state["curve"] and state["pictures"]["reference"] == 1


def test_a_prompt_is_not_in_the_key_but_the_rest_is(world: World, models: dict) -> None:
    find, session = world.module("nodes.found"), world.module("nodes.comfy_bridge.session")
    config = world.module("solver_search.config").SearchConfig(4, effort="quick")

    def key(words: str = "cat", cfg: float = 4.0, model: Any = None,  # noqa: ANN401
            size: int = 8, numbers: tuple = (4,)) -> str:
        guider = session.make_guider(model or models[FLOW], prompt(FLOW, words), prompt(FLOW), cfg)
        return find.search_key(guider, torch.zeros(2, 16, size, 8), config, numbers)

    patched = models[FLOW].clone()
    name = next(k for k in patched.model.state_dict() if k.endswith("weight"))
    patched.add_patches({name: (torch.ones_like(patched.model.state_dict()[name]),)}, 0.5)
    same = {key(), key("horse")}
    others = {key(cfg=5.0), key(model=patched), key(size=16), key(numbers=(4, 5))}
    assert len(same) == 1 and len(others) == 4 and not same & others


def test_a_measured_search_is_found_again_for_another_prompt(
        world: World, models: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(world, monkeypatch)
    monkeypatch.setattr(world.module("nodes.proof"), "POPULAR_SAMPLERS", ("euler",))
    first = search(world, models[FLOW], name="kept", latent=latent(FLOW, 4), seed=92).args[0]
    assert first.info.error is not None and not first.info.state and first.info.picture

    def called(*given: Any) -> None:  # noqa: ANN401
        raise AssertionError("a model call")

    monkeypatch.setattr(world.module("nodes.comfy_bridge.session").Session, "denoise", called)
    out = search(world, models[FLOW], name="kept", latent=latent(FLOW, 4), seed=92,
                 positive=prompt(FLOW, "horse, warm"), again=False)
    assert out.args[0].id == first.id
    assert out.args[2].startswith(f"Found, searched on {first.info.created}: 'kept'. ")
