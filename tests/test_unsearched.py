"""What Load Solver Preset gives an eps or v model where no preset fits."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.matrix.families import FAMILIES

from . import graphs
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


# ComfyUI's templates of each set its model's shift so (name of the node, shift), or not at all.
TEMPLATES = {"SD1.5": None, "SDXL": None, "SD3": None, "Flux dev": None,
             "Wan 2.1": ("SD3", 8.0), "Z-Image": ("AuraFlow", 3.0),
             "Qwen-Image": ("AuraFlow", 3.1)}


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


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_first_run_of_a_template_gives_a_picture_and_offers_a_search(world: World,
                                                                         name: str) -> None:
    """With nothing but what is bundled: Load, then Use Solver and a KSampler as in one template,
    or Solver Sampler with a guider as in another."""
    subject = FAMILIES[name].build()
    with torch.inference_mode():
        model = shifted(subject.model, *TEMPLATES[name]) if TEMPLATES[name] else subject.model
        solver, about = load(world, model=model)
        used = world.of("Use").execute(model, solver).args[0]
        assert "Nobody has searched for this model" in about and "use Search Solver" in about
        plain, fast = (graphs.ksampler(subject, each, 8) for each in (model, used))
        sampler, sigmas = world.of("Sampler").execute(solver, model=model).args
        guided = graphs.run(subject, model, sampler, sigmas)
    assert torch.isfinite(fast).all() and torch.isfinite(guided).all()
    assert not fast.equal(plain)  # it was the solver that sampled


def shifted(model: Any, kind: str, shift: float) -> Any:  # noqa: ANN401
    advanced = importlib.import_module("comfy_extras.nodes_model_advanced")
    node = getattr(advanced, f"ModelSampling{kind}")()
    return getattr(node, node.FUNCTION)(model, shift)[0]


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
