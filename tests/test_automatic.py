"""The automatic entry: what lies behind the node, which preset is the best, and its pin."""

from __future__ import annotations

from typing import Any

import pytest

from .test_load_preset import folder, said, store  # noqa: F401  fixtures
from .test_matching import facts, matching, preset  # noqa: F401  a fixture
from .world import FLOW, World

BEST = "(best for the connected model)"


def graph(cfg: Any = 3.0, steps: Any = 8) -> dict:  # noqa: ANN401
    """Load -> Use -> a LoRA -> KSampler, in a subgraph; another KSampler stands apart."""
    return {
        "5:1": {"class_type": "SolverSearch_Load", "inputs": {"model": ["1", 0]}},
        "5:2": {"class_type": "SolverSearch_Use", "inputs": {"solver": ["5:1", 0],
                                                             "model": ["1", 0]}},
        "3": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["5:2", 0]}},
        "4": {"class_type": "KSampler", "inputs": {
            "model": ["3", 0], "cfg": cfg, "steps": steps, "latent_image": ["6", 0]}},
        "6": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "7": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "cfg": 9.0, "steps": 30}},
        "8": {"class_type": "PrimitiveFloat", "inputs": {"value": 2.5}},
    }


def test_the_sampler_behind_is_found(world: World) -> None:
    behind = world.module("nodes.behind")
    assert behind.wish_behind(graph(), "5:1") == behind.Wish(3.0, 8, 512 * 768)
    assert behind.wish_behind(graph(cfg=["8", 0]), "5:1").cfg == 2.5
    two = {**graph(), "9": {"class_type": "KSampler", "inputs": {
        "model": ["5:2", 0], "cfg": 5.0, "steps": 8}}}
    assert behind.wish_behind(two, "5:1") == behind.Wish(None, 8, 512 * 768)


def test_a_guider_behind_is_found(world: World) -> None:
    behind = world.module("nodes.behind")
    custom = {"1": {"class_type": "SolverSearch_Use", "inputs": {}},
              "2": {"class_type": "CFGGuider", "inputs": {"model": ["1", 0], "cfg": 4.5}},
              "3": {"class_type": "SamplerCustomAdvanced", "inputs": {
                  "guider": ["2", 0], "latent_image": ["4", 0]}},
              "4": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 64}}}
    assert behind.wish_behind(custom, "1") == behind.Wish(4.5, None, 4096)


@pytest.mark.parametrize("prompt", [
    None, {}, {"5:1": None}, {"4": {"inputs": {"model": ["5:1", 0], "cfg": "x", "steps": []}}},
    {"4": {"class_type": "K", "inputs": {"model": ["5:1", 0], "cfg": float("nan")}}},
    {"4": {"class_type": "K", "inputs": {"model": ["4", 0]}}}])
def test_a_foreign_prompt_may_hold_anything(world: World, prompt: Any) -> None:  # noqa: ANN401
    behind = world.module("nodes.behind")
    assert behind.wish_behind(prompt, "5:1") == behind.Wish()


def best(matching: Any, *presets: Any, **more: Any) -> str:  # noqa: ANN401, F811
    return matching.best_match(presets, facts(), 0, **more).info.name


def test_the_order_of_preference(matching: Any, comfy: Any) -> None:  # noqa: ANN401, F811
    from .pack import load

    wish = load("nodes.behind").Wish(2.5, 6, 512 * 512)
    cut = preset(name="unfinished", state="unfinished")
    unmeasured = preset(name="unmeasured", guidance=2.5)
    far = preset(name="far", error=0.1, guidance=7.0, guidance_low=6.0, guidance_high=8.0)
    near = preset(name="near", error=0.1, guidance=4.0, guidance_low=2.0, guidance_high=5.0)
    six = preset(steps=6, name="six", error=0.1, guidance=2.5, width=128, height=128)
    fitting = preset(steps=6, name="size", error=0.1, guidance=2.5, width=64, height=64)
    other = preset(name="other", error=0.1, guidance=2.5, model_name="b.safetensors")
    order = [fitting, six, near, far, unmeasured, other, cut]
    for first in range(len(order)):
        left = order[first:]
        assert best(matching, *reversed(left), wish=wish) == left[0].info.name
    assert best(matching, *order, wish=wish, pin=far.id) in ("far", "near")  # equal numbers


def test_an_unfinished_preset_says_so(matching: Any) -> None:  # noqa: ANN401, F811
    assert "unfinished" in matching.judge(preset(state="unfinished"), facts())


def run(world: World, **inputs: Any) -> Any:  # noqa: ANN401
    return world.of("Load").execute(**inputs)


def test_the_front_end_gets_what_to_pin_and_the_pin_holds(
        world: World, models: dict, folder: Any, said: list[str]) -> None:  # noqa: ANN401, F811
    first = run(world, preset=BEST, model=models[FLOW])
    told = first.ui["solver_search"][0]
    assert told["id"] == first.args[0].id and told["file"].endswith("steps.safetensors")
    assert told["verdict"].startswith("Took '")
    store(world, folder, 8, "dpmpp_2m", error=0.01)  # a later and better one
    assert run(world, preset=BEST, model=models[FLOW]).args[0].id != told["id"]
    again = run(world, preset=BEST, model=models[FLOW], pin=told["id"])
    assert again.args[0].id == told["id"] and "pinned" in said[-1]
    gone = run(world, preset=BEST, model=models[FLOW], pin="0" * 16)
    assert "Pictures will differ" in gone.ui["solver_search"][0]["warnings"][0]


@pytest.mark.parametrize("pin", ["<img src=x>", "12", "[[x|http://y]]"])
def test_a_pin_that_is_none_is_refused_unread(world: World, folder: Any, pin: str) -> None:  # noqa: ANN401, F811
    with pytest.raises(ValueError, match="pin must be empty or 16 digits") as caught:
        run(world, preset="6 steps.safetensors", pin=pin)
    assert pin not in str(caught.value) or pin.isdigit()


def test_a_missing_preset_names_the_nearest(world: World, folder: Any) -> None:  # noqa: ANN401, F811
    node = world.of("Load")
    assert node.validate_inputs(preset=BEST) is node.validate_inputs() is True
    assert node.validate_inputs(preset="6 steps.safetensors") is True
    told = node.validate_inputs(preset="6 step.safetensors")
    assert "'6 step' is not in your folder" in told and "'6 steps' or '4 steps'" in told


def test_saving_says_where_and_refuses_before_the_run(world: World, folder: Any,  # noqa: ANN401, F811
                                                      said: list[str],  # noqa: F811
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = world.module("nodes.preset_nodes")
    monkeypatch.setattr(nodes, "own_folder", lambda: folder)
    node, one = world.of("Save"), run(world, preset="6 steps.safetensors").args[0]
    assert node.validate_inputs(name="fine") is True
    assert "Possible: Munchner Licht." in node.validate_inputs(name="M\u00fcnchner Licht")
    saved = node.execute(one, "fine").ui["solver_search"][0]
    assert saved["verdict"].startswith("Saved as fine.safetensors in the folder models/")
    assert "already saved" in node.execute(one, "fine").ui["text"][0]
    with pytest.raises(ValueError, match="already there") as caught:
        node.execute(one, "fine", notes="other")
    assert type(caught.value) is ValueError  # ComfyUI names no module before it


def test_a_latent_of_another_model_is_refused_in_words(world: World, models: dict,
                                                       folder: Any) -> None:  # noqa: ANN401, F811
    import torch

    from .world import prompt

    one = run(world, preset="6 steps.safetensors").args[0]
    used = world.of("Use").execute(models[FLOW], one).args[0]
    with torch.inference_mode(), pytest.raises(ValueError, match="16 channels.*has 4") as caught:
        world.nodes.common_ksampler(used, 5, 6, 4.0, "euler", "simple", prompt(FLOW, "cat"),
                                    prompt(FLOW), {"samples": torch.ones(1, 4, 8, 8)}, denoise=0.5)
    assert type(caught.value) is ValueError
