"""Guiders that do not show what guidance adds, under a preset that weighs it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from .graphs import CFG, STEPS, sampler_of, use
from .matrix.families import Subject
from .matrix.searched import preset_for, searched, simple
from .pack import load

pytestmark = pytest.mark.usefixtures("as_a_node")


def hiding(subject: Subject, model: Any, calls: list[Tensor]) -> Any:  # noqa: ANN401
    """A guider that makes CFG by itself, without ComfyUI's cfg_function."""
    import comfy.samplers

    class Hiding(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Tensor, timestep: Tensor, model_options: dict,
                          seed: int | None = None) -> Tensor:
            calls.append(timestep)
            positive, negative = comfy.samplers.calc_cond_batch(
                self.inner_model, [self.conds["positive"], self.conds["negative"]], x, timestep,
                model_options)
            return negative + self.cfg * (positive - negative)

    guider = Hiding(model)
    guider.set_conds(subject.positive, subject.negative)
    guider.set_cfg(CFG)
    return guider


def sampled(subject: Subject, preset: Any, *, patched: bool,  # noqa: ANN401
            seen: list[int], calls: list[Tensor]) -> Tensor:
    """By Use Solver or by Solver Sampler; the steps that callbacks tell go into `seen`."""
    import comfy.sample
    import comfy.samplers

    model, (sampler, sigmas) = subject.model, sampler_of(preset)
    if patched:
        model, sigmas = use(model, preset), simple(subject, STEPS)
        sampler = comfy.samplers.sampler_object("euler")
    return hiding(subject, model, calls).sample(
        comfy.sample.prepare_noise(subject.latent, 5), subject.latent, sampler, sigmas, seed=5,
        callback=lambda step, x0, x, total: seen.append(step))


@pytest.mark.parametrize("patched", [False, True])
def test_a_plain_rule_samples_and_says_so(subject: Subject, said: list[str],
                                          patched: bool) -> None:
    own, steps, calls = searched(subject, STEPS), [], []
    rule = load("solver_search.tableaus").TABLEAUS["ab2"]
    plain = preset_for(subject, rule(own.solver.sigmas, flow=own.solver.flow))
    found = sampled(subject, own, patched=patched, seen=steps, calls=calls)
    sentence = load("nodes.comfy_bridge.remarks").HIDDEN_GUIDANCE
    assert said.count(sentence) == 1
    assert steps == list(range(STEPS))  # nothing is told twice
    assert len(calls) == STEPS + 1  # it takes a call to see it
    expected = sampled(subject, plain, patched=patched, seen=[], calls=[])
    assert torch.equal(found, expected)
    assert said.count(sentence) == 1


def test_a_preset_that_weighs_no_guidance_stays_itself(subject: Subject, said: list[str]) -> None:
    own = searched(subject, STEPS)
    unguided = preset_for(subject, own.solver.without(guidance=True))
    calls: list[Tensor] = []
    sampled(subject, unguided, patched=True, seen=[], calls=calls)
    assert not any("does not show" in line for line in said)
    told = own.solver.model_sigmas.float()
    assert torch.allclose(torch.cat([level[:1] for level in calls]), told)
