"""The names "searched" in KSampler's own menus: off by default, at the end, nothing else moved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from .pack import preset_of
from .world import EPS, FLOW, World, ksampler

LISTS = ("KSAMPLER_NAMES", "SAMPLER_NAMES", "SCHEDULER_NAMES")


def lists() -> list[list[str]]:
    import comfy.samplers

    return [list(getattr(comfy.samplers, name)) for name in LISTS]


@pytest.fixture
def settings(world: World, tmp_path: Path) -> Iterator[Path]:
    """ComfyUI's settings file in a folder of this test; what registering did is undone."""
    import comfy.samplers
    import folder_paths
    from comfy.k_diffusion import sampling

    before = folder_paths.get_user_directory()
    folder_paths.set_user_directory(str(tmp_path))
    (tmp_path / "default").mkdir()
    yield tmp_path / "default" / "comfy.settings.json"
    folder_paths.set_user_directory(before)
    for name in LISTS:
        names = getattr(comfy.samplers, name)
        names[:] = [n for n in names if n != "searched"]
    comfy.samplers.SCHEDULER_HANDLERS.pop("searched", None)
    if hasattr(sampling, "sample_searched"):
        del sampling.sample_searched


@pytest.fixture
def presets(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Presets for the demo flow model, instead of those on disk."""
    module, tables = world.module("presets.preset"), world.module("solver_search.tableaus")
    made = []
    for steps in (4, 6):
        sigmas = 3 * torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        sigmas = sigmas / (1 + sigmas / 3 * 2)
        made.append(preset_of(tables.TABLEAUS["deis"](sigmas, flow=True), module, shift=3.0,
                              family="SD3", name=f"{steps} steps", guidance=4.0))
    named = {f"{n}.safetensors": p for n, p in enumerate(made)}
    monkeypatch.setattr(world.module("nodes.dropdown"), "all_presets", lambda: named)
    return made


@pytest.mark.parametrize("text", [None, "{}", '{"SolverSearch.DropDown": false}', "broken", "[]",
                                  '{"SolverSearch.DropDown": "yes"}'])
def test_without_the_setting_nothing_is_touched(world: World, settings: Path,
                                                text: str | None) -> None:
    if text is not None:
        settings.write_text(text)
    before = lists()
    world.module("nodes.dropdown").register()
    assert lists() == before


@pytest.fixture
def registered(world: World, settings: Path, presets: list) -> ModuleType:
    settings.write_text(json.dumps({"SolverSearch.DropDown": True, "other": 1}))
    before = lists()
    dropdown = world.module("nodes.dropdown")
    dropdown.register()
    dropdown.register()
    assert lists() == [[*names, "searched"] for names in before]
    return dropdown


def test_ksampler_offers_and_runs_them(world: World, models: dict, registered: ModuleType,
                                       presets: list) -> None:
    inputs = world.nodes.KSampler.INPUT_TYPES()["required"]
    assert inputs["sampler_name"][0][-1] == inputs["scheduler"][0][-1] == "searched"
    through_menu = ksampler(world, models[FLOW], FLOW, "searched", "searched")
    used = world.of("Use").execute(models[FLOW], presets[1]).args[0]
    assert torch.equal(through_menu, ksampler(world, used, FLOW))
    assert torch.equal(through_menu, ksampler(world, models[FLOW], FLOW, "searched", "simple"))


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 20])
def test_any_step_count_has_an_answer(world: World, models: dict, registered: ModuleType,
                                      steps: int) -> None:
    import comfy.samplers

    ms = models[FLOW].get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(ms, "searched", steps)
    assert (len(sigmas), float(sigmas[0]), float(sigmas[-1])) == (steps + 1, 1.0, 0.0)
    assert (sigmas.diff() < 0).all()
    again = comfy.samplers.calculate_sigmas(ms, "searched", steps)
    sigmas[-1] = 7  # KSampler writes into what it gets
    assert float(again[-1]) == 0
    with torch.inference_mode():
        part = world.nodes.common_ksampler(
            models[FLOW], 5, steps, 4.0, "searched", "searched", *conditions(),
            {"samples": torch.ones(1, 16, 8, 8)}, denoise=0.5)[0]["samples"]
    assert torch.isfinite(part).all()


def conditions() -> tuple[list, list]:
    from .world import prompt

    return prompt(FLOW, "cat, night"), prompt(FLOW)


def test_a_model_without_a_preset_is_told_so(world: World, models: dict,
                                             registered: ModuleType) -> None:
    with pytest.raises(ValueError, match="no preset made for this kind of model"):
        ksampler(world, models[EPS], EPS, "searched", "simple")


def test_opponents_do_not_meet_our_own_names(world: World, models: dict,
                                             registered: ModuleType) -> None:
    ordinary = world.module("nodes.comfy_bridge.ordinary")
    ms = models[FLOW].get_model_object("model_sampling")
    assert not any(name.startswith("searched") for name in ordinary.schedules(ms, 6))
    assert world.module("nodes.comfy_bridge.builtin").why_left_out("searched") == "ours"
    assert "searched" not in ordinary.deterministic_samplers()


def test_settings_nested_too_deep_count_as_no(world: World, settings: Path) -> None:
    settings.write_text("[" * 100_000)
    assert not world.module("nodes.comfy_bridge.dropdown").wanted()
