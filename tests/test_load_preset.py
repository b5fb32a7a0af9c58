"""Load Solver Preset: pins, families by step count, and what samplers make of them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from .pack import preset_of
from .world import FLOW, World, ksampler, latent, prompt


@pytest.fixture
def said(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What nodes tell the artist."""
    lines: list[str] = []
    as_said = world.module("nodes.said").as_said
    for name in ("nodes.comfy_bridge.apply", "nodes.preset_nodes"):
        monkeypatch.setattr(world.module(name), "say",
                            lambda said: lines.append(as_said(said).text))
    return lines


@pytest.fixture
def folder(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own preset folder with a family of 4 and 6 steps for the demo flow model."""
    import folder_paths

    kept = folder_paths.folder_names_and_paths["solver_presets"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "solver_presets",
                        ([str(tmp_path)], kept[1]))
    folders = world.module("nodes.comfy_bridge.folders")
    monkeypatch.setattr(folders, "own_folder", lambda: tmp_path)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    for steps in (4, 6):
        store(world, tmp_path, steps, "deis")
    return tmp_path


def store(world: World, folder: Path, steps: int, tableau: str, **info: Any) -> Any:  # noqa: ANN401
    """Write a preset; returns it."""
    time = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    table = world.module("solver_search.tableaus").TABLEAUS[tableau](
        3 * time / (1 + 2 * time), flow=True)
    known = {"shift": 3.0, "family": "SD3", "guidance": 4.0, "name": f"{steps} steps"}
    preset = preset_of(table, world.module("presets.preset"), **{**known, **info})
    world.module("presets.store").save(folder, preset, name=f"{steps} steps", overwrite=True)
    return preset


def load(world: World, **inputs: Any) -> Any:  # noqa: ANN401
    return world.of("Load").execute(**inputs).args


def test_a_pin_that_fits_is_silent(world: World, folder: Path, said: list[str]) -> None:
    first, _ = load(world, preset="6 steps.safetensors")
    load(world, preset="6 steps.safetensors", pin=first.id)
    assert not any("changed" in line for line in said)


def test_a_preset_that_changed_on_disk_is_told(world: World, folder: Path,
                                               said: list[str]) -> None:
    old, _ = load(world, preset="6 steps.safetensors")
    new = store(world, folder, 6, "dpmpp_2m")
    loaded, about = load(world, preset="6 steps.safetensors", pin=old.id)
    assert loaded.id == new.id != old.id
    for text in (about, said[-1]):
        assert old.id in text and new.id in text and "changed since" in text
    stamp = world.of("Load").fingerprint_inputs
    assert stamp(preset="6 steps.safetensors")  # a changed file has another stamp: it runs again


def test_new_words_around_the_same_numbers_are_no_change(world: World, folder: Path,
                                                         said: list[str]) -> None:
    old, _ = load(world, preset="6 steps.safetensors")
    store(world, folder, 6, "deis", notes="a better description", author="me")
    load(world, preset="6 steps.safetensors", pin=old.id)
    assert not any("changed" in line for line in said)


def test_the_ksamplers_steps_pick_the_member(world: World, models: dict, folder: Path,
                                             said: list[str]) -> None:
    best = "(best for the connected model)"
    family, about = load(world, preset=best, model=models[FLOW])
    assert "4, 6 steps" in about
    used = world.of("Use").execute(models[FLOW], family).args[0]
    for steps in (4, 6):
        one = load(world, preset=f"{steps} steps.safetensors")[0]
        alone = world.of("Use").execute(models[FLOW], one).args[0]
        said.clear()
        assert torch.equal(sampled(world, used, steps), sampled(world, alone, steps))
        assert set(said) == {f"'{steps} steps' samples instead of euler."}
        sigmas = world.of("Sampler").execute(family, steps=steps).args[1]
        assert len(sigmas) == steps + 1
    sampled(world, used, 20)
    assert "the 20 asked for are not used" in said[-1]


def test_a_step_count_can_be_asked_for(world: World, models: dict, folder: Path) -> None:
    best = "(best for the connected model)"
    assert load(world, preset=best, steps=4, model=models[FLOW])[0].solver.nfe == 4
    made, about = load(world, preset=best, steps=5, model=models[FLOW])
    assert made.solver.nfe == 5 and "Nobody has searched for this model" in about


def test_parts_of_the_way_are_told(world: World, models: dict, folder: Path,
                                   said: list[str]) -> None:
    one = load(world, preset="6 steps.safetensors")[0]
    used = world.of("Use").execute(models[FLOW], one).args[0]
    said.clear()
    ksampler(world, used, FLOW, denoise=0.5)
    assert "\nAll 6 steps of the solver are laid into sigma 0.75 to 0." in said[-1]
    assert "searched for it" not in said[-1]
    ksampler(world, used, FLOW, denoise=0.3)
    assert "a preset searched for it does better" in said[-1]
    ksampler(world, used, FLOW, start_step=0, last_step=3)
    assert said[-1].endswith("\nSteps 1 to 3 of the solver's 6.")  # "simple" is its own list
    half = ksampler(world, used, FLOW, scheduler="beta", start_step=0, last_step=3)
    assert "moved to sigma 1 to 0.7" in said[-1]
    assert torch.isfinite(half).all()


def test_solver_sampler_lays_its_steps_into_a_denoise(world: World, models: dict,
                                                      folder: Path) -> None:
    one = load(world, preset="6 steps.safetensors")[0]
    sigmas = world.of("Sampler").execute(one, denoise=0.5, model=models[FLOW]).args[1]
    assert (len(sigmas), float(sigmas[0])) == (7, 0.75)
    with pytest.raises(ValueError, match="needs the model"):
        world.of("Sampler").execute(one, denoise=0.5)


def sampled(world: World, model: ModuleType, steps: int) -> torch.Tensor:
    with torch.inference_mode():
        return world.nodes.common_ksampler(model, 5, steps, 4.0, "euler", "simple",
                                           prompt(FLOW, "cat, night"), prompt(FLOW),
                                           latent(FLOW, 2))[0]["samples"]


def test_previews_come_once_a_call_and_a_cancel_passes_through(world: World, models: dict,
                                                               folder: Path) -> None:
    import comfy.sample
    from comfy.model_management import InterruptProcessingException

    used = world.of("Use").execute(models[FLOW], load(world, preset="6 steps.safetensors")[0])
    seen: list[tuple[int, tuple[int, ...], int]] = []

    def preview(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int) -> None:
        seen.append((step, tuple(denoised.shape), total))
        if step == 3:
            raise InterruptProcessingException

    def run(noise: torch.Tensor) -> None:
        comfy.sample.sample(used.args[0], noise, 20, 4.0, "euler", "simple",
                            prompt(FLOW, "cat, night"), prompt(FLOW), latent(FLOW, 2)["samples"],
                            callback=preview)

    with torch.inference_mode(), pytest.raises(InterruptProcessingException):
        run(torch.zeros(2, 16, 8, 8))
    assert seen == [(step, (2, 16, 8, 8), 6) for step in range(4)]


def test_samplers_of_another_kind_are_left_alone(world: World, models: dict,
                                                 folder: Path) -> None:
    import comfy.samplers

    class Other(comfy.samplers.Sampler):
        met: list[torch.Tensor] = []

        def sample(self, wrap: Any, sigmas: torch.Tensor, *rest: Any, **more: Any) -> Any:  # noqa: ANN401
            self.met.append(sigmas)
            return torch.zeros(2, 16, 8, 8)

    used = world.of("Use").execute(models[FLOW], load(world, preset="6 steps.safetensors")[0])
    asked = torch.tensor([1.0, 0.5, 0.0])
    with torch.inference_mode():
        comfy.samplers.sample(used.args[0], torch.zeros(2, 16, 8, 8), prompt(FLOW, "cat"),
                              prompt(FLOW), 4.0, torch.device("cpu"), Other(), asked,
                              latent_image=latent(FLOW, 2)["samples"])
    assert torch.equal(Other.met[0], asked)
