"""Trained demo models as people sample them, for the tests of other people's graphs."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from .matrix.families import Subject
from .pack import load
from .world import EPS, FLOW, latent, prompt

STEPS = 6
CFG = 7.0


@pytest.fixture
def as_a_node(world: ModuleType) -> Any:  # noqa: ANN401
    """Inference mode, as ComfyUI runs nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture(params=[FLOW, EPS])
def subject(request: pytest.FixtureRequest, models: dict) -> Subject:
    """A trained demo model."""
    name = request.param
    return Subject(models[name], prompt(name, "cat, night"), prompt(name),
                   latent(name, 1)["samples"])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said on the running node."""
    lines: list[str] = []
    monkeypatch.setattr(load("nodes.comfy_bridge.apply"), "say",
                        lambda said: lines.append(load("nodes.said").as_said(said).text))
    return lines


def use(model: Any, preset: Any) -> Any:  # noqa: ANN401
    return load("nodes.comfy_bridge.apply").use_preset(model, preset)


def run(subject: Subject, model: Any, sampler: Any, sigmas: Tensor,  # noqa: ANN401
        latent: Tensor | None = None, mask: Tensor | None = None,
        seen: list | None = None, seed: int = 5) -> Tensor:
    """What SamplerCustom gives, with every callback in `seen`."""
    import comfy.sample
    import comfy.samplers

    start = subject.latent if latent is None else latent
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(subject.positive, subject.negative)
    guider.set_cfg(CFG)

    def callback(step: int, x0: Tensor, x: Tensor, total: int) -> None:
        if seen is not None:
            seen.append((step, x0.clone(), total))

    return guider.sample(comfy.sample.prepare_noise(start, seed), start, sampler, sigmas,
                         denoise_mask=mask, callback=callback, seed=seed)


def ksampler(subject: Subject, model: Any, steps: int, sampler: str = "euler",  # noqa: ANN401
             scheduler: str = "simple", **more: Any) -> Tensor:  # noqa: ANN401
    import nodes

    given = {"latent": {"samples": subject.latent}, **more}
    return nodes.common_ksampler(model, 5, steps, CFG, sampler, scheduler, subject.positive,
                                 subject.negative, **given)[0]["samples"]


def euler() -> Any:  # noqa: ANN401
    import comfy.samplers

    return comfy.samplers.sampler_object("euler")


def sampler_of(preset: Any) -> tuple[Any, Tensor]:  # noqa: ANN401
    apply = load("nodes.comfy_bridge.apply")
    return apply.as_sampler(preset), preset.solver.sigmas.float()
