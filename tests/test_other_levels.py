"""Noise levels of other people's graphs: one level, ddim_uniform, too high, rising."""

from __future__ import annotations

import pytest
import torch

from .graphs import STEPS, euler, ksampler, run, sampler_of, use
from .matrix.families import Subject
from .matrix.searched import searched, simple
from .matrix.ways import picture
from .pack import load
from .world import EPS, latent, prompt

pytestmark = pytest.mark.usefixtures("as_a_node")


@pytest.mark.parametrize("cut", [0, STEPS])
def test_lists_of_one_entry_pass_the_latent_through(subject: Subject, cut: int) -> None:
    """Case 06: an error."""
    from comfy_extras.nodes_custom_sampler import SplitSigmas

    preset = searched(subject, STEPS)
    sampler, sigmas = sampler_of(preset)
    for model, chosen, levels in ((subject.model, sampler, sigmas),
                                  (use(subject.model, preset), euler(), simple(subject, STEPS))):
        single = SplitSigmas.execute(levels, cut).args[1 if cut else 0]
        assert len(single) == 1
        begun = picture(subject)
        ours = run(subject, model, chosen, single, begun)
        assert torch.equal(ours, run(subject, subject.model, euler(), single, begun))


@pytest.mark.parametrize("steps", [5, 6, 8, 10, 20])
def test_ddim_uniform_keeps_the_searched_rows(subject: Subject, steps: int) -> None:
    """Case 08: its list begins 1 to 20 % of the way below the top, or has a step more."""
    preset = searched(subject, steps)
    model = use(subject.model, preset)
    ours = ksampler(subject, model, steps, "euler", "ddim_uniform")
    assert torch.equal(ours, ksampler(subject, model, steps, "euler", "simple"))
    dropped = ksampler(subject, model, steps, "uni_pc", "ddim_uniform")
    assert torch.equal(ours, dropped)


def test_a_part_of_ddim_uniform_stays_a_part(subject: Subject) -> None:
    """The neighbour of case 08: denoise 0.5 is no whole list."""
    levels = load("nodes.comfy_bridge.levels")
    ms = subject.model.get_model_object("model_sampling")
    import comfy.samplers

    for steps in (4, 6, 10):
        longer = comfy.samplers.calculate_sigmas(ms, "ddim_uniform", 2 * steps)
        assert levels.whole_list_steps(ms, longer) == 2 * steps
        assert levels.whole_list_steps(ms, longer[-(steps + 1):]) == 0
        assert levels.whole_list_steps(ms, simple(subject, steps)) == 0


def test_a_solver_sampler_lays_its_rows_into_ddim_uniform(subject: Subject,
                                                           said: list[str]) -> None:
    """There the noise is already added at the list's own first level."""
    import comfy.samplers

    ms = subject.model.get_model_object("model_sampling")
    sampler, _ = sampler_of(searched(subject, 6))
    calls: list = []
    run(subject, subject.model, sampler, comfy.samplers.calculate_sigmas(ms, "ddim_uniform", 6),
        seen=calls)
    assert len(calls) == 6
    assert "a plain rule" not in "".join(said)


@pytest.mark.parametrize("first", [999.0, 136.0, 16.0])
def test_noise_above_the_models_range_is_refused(models: dict, first: float) -> None:
    """Case 09: six calls for one, without a word."""
    from comfy_extras.nodes_custom_sampler import SetFirstSigma

    subject = Subject(models[EPS], prompt(EPS, "cat, night"), prompt(EPS),
                      latent(EPS, 1)["samples"])
    preset = searched(subject, STEPS)
    sampler, sigmas = sampler_of(preset)
    for model, chosen, levels in ((subject.model, sampler, sigmas),
                                  (use(subject.model, preset), euler(), simple(subject, 1))):
        moved = SetFirstSigma.execute(levels, first).args[0]
        with pytest.raises(ValueError, match="above this model's highest, 14.61"):
            run(subject, model, chosen, moved)


@pytest.mark.parametrize("start", [0, 2])
def test_unsampling_is_told_the_way_out(subject: Subject, start: int) -> None:
    """Case 10: refused by a sentence that named none."""
    preset = searched(subject, STEPS)
    rising = simple(subject, STEPS).flip(0)[start:].clamp_min(1e-4)
    with pytest.raises(ValueError, match="model from before Use Solver"):
        run(subject, use(subject.model, preset), euler(), rising)
