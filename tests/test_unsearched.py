"""What Load Solver Preset gives an eps or v model where no preset fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.matrix.families import FAMILIES

from .pack import load as module
from .test_matching import facts, preset
from .world import EPS, FLOW, World, ksampler

BEST = "(best for the connected model)"
KINDS = ("SD1.5", "SD2", "SDXL, v", "Playground 2.5", "PixArt Sigma", "HunyuanDiT", "CogVideoX")


@pytest.fixture
def empty(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No preset but the published ones, which are for other noise levels."""
    import folder_paths

    kept = folder_paths.folder_names_and_paths["solver_presets"]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "solver_presets",
                        ([str(tmp_path)], kept[1]))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    yield


def load(world: World, **inputs: Any) -> Any:  # noqa: ANN401
    return world.of("Load").execute(preset=BEST, **inputs).args


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("steps", [1, 5, 10])
def test_an_eps_model_without_a_preset_samples(world: World, models: dict, steps: int) -> None:
    solver, about = load(world, model=models[EPS], steps=steps)
    unsearched = world.module("nodes.unsearched")
    assert solver.solver.nfe == steps and not solver.siblings
    assert "Nobody has searched for this model" in about and unsearched.WORTH in about
    assert "Not measured on this model." in about and unsearched.NOTES in about
    used = world.of("Use").execute(models[EPS], solver).args[0]
    assert torch.isfinite(ksampler(world, used, EPS)).all()


@pytest.mark.usefixtures("empty")
def test_the_family_follows_the_ksamplers_steps(world: World, models: dict) -> None:
    solver, about = load(world, model=models[EPS])
    assert "4, 5, 6, 7, 8, 9, 10" in about
    assert {solver.member(n).solver.nfe for n in range(4, 25)} == set(range(4, 25))


@pytest.mark.usefixtures("empty")
def test_a_flow_model_gets_the_ordinary_euler_and_is_told_to_search(world: World,
                                                                    models: dict) -> None:
    solver, about = load(world, model=models[FLOW], steps=6)
    assert "Nobody has searched for this model" in about and "use Search Solver" in about
    used = world.of("Use").execute(models[FLOW], solver).args[0]
    ordinary = ksampler(world, models[FLOW], FLOW, scheduler="beta")  # euler, 6 steps
    off = (ksampler(world, used, FLOW) - ordinary).norm() / ordinary.norm()
    assert float(off) < 0.01  # "beta" takes the nearest of 1000 levels


@pytest.mark.parametrize("name", KINDS)
def test_it_samples_tiny_checkpoints(world: World, name: str) -> None:
    subject = FAMILIES[name].build()
    known = module("nodes.comfy_bridge.model").facts(subject.model)
    assert not known.flow
    made = module("nodes.unsearched").unsearched(known, 4)
    assert made.info.prediction == known.prediction
    assert float(made.solver.sigmas[0]) == pytest.approx(known.sigma_max, rel=1e-6)
    sample = module("nodes.comfy_bridge.apply").use_preset(subject.model, made)
    import nodes

    with torch.inference_mode():
        found = nodes.common_ksampler(sample, 5, 4, 3.0, "euler", "simple", subject.positive,
                                      subject.negative, {"samples": subject.latent})[0]
    assert torch.isfinite(found["samples"]).all()


def test_a_preset_that_fits_is_preferred_and_a_saved_one_is_still_named(comfy: Any) -> None:  # noqa: ANN401
    matching, made = module("nodes.matching"), module("nodes.unsearched").unsearched
    model = facts(prediction="eps", sigma_max=14.6, shift=None, family="SD15")
    table = made(model, 6)
    searched = replace(table, info=replace(table.info, method="fit", name="searched"))
    assert matching.best_or_unsearched([searched], model, 6).info.name == "searched"
    assert matching.best_or_unsearched([searched], model, 5).info.method == "unsearched"
    assert "Nobody has searched" in matching.judge(table, model)
    other = facts(prediction="flow")
    assert "Not usable" in matching.judge(table, other)
    with pytest.raises(matching.NoPresetError, match="Connect a model"):
        matching.best_or_unsearched([searched], None, 0)
    foreign = matching.best_or_unsearched([preset(family="Flux")], other, 0)
    assert foreign.info.method == "unsearched"
