"""A searched preset in other people's graphs: masks, what others see; each with a neighbour."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from .graphs import STEPS, euler, ksampler, run, sampler_of, use
from .matrix.families import FAMILIES, Subject
from .matrix.searched import preset_for, random_solver, searched, simple
from .matrix.ways import half_mask, picture
from .pack import load

pytestmark = pytest.mark.usefixtures("as_a_node")


@pytest.mark.parametrize("denoise", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("passes", [1, 5])
def test_what_a_mask_keeps_stays_to_the_bit(subject: Subject, denoise: float,
                                             passes: int) -> None:
    """Case 02: the unmasked part changed by 0.94 % in one pass and by 4.8 % in five."""
    begun, mask = picture(subject), half_mask(subject)
    kept, used = (mask == 0).expand(begun.shape), use(subject.model, searched(subject, STEPS))
    ends = []
    for model in (used, subject.model):
        end = begun
        for _ in range(passes):
            end = ksampler(subject, model, STEPS, denoise=denoise,
                           latent={"samples": end, "noise_mask": mask})
        ends.append(end)
    ours, theirs = ((end - begun)[kept].abs().max() for end in ends)
    assert float(ours) <= float(theirs)  # what is left is process_latent_in and out
    assert float((ends[0] - begun)[~kept].abs().max()) > 0.01


@pytest.mark.parametrize("mask", [0.0, 0.3, 0.5, 1.0])
def test_a_soft_mask_mixes_the_end_with_the_picture(mask: float) -> None:
    """Where a mask is m everywhere the end is m of the solver's own and 1 - m of the picture."""
    canvas, loop = load("solver_search.canvas"), load("solver_search.sample")
    subject = FAMILIES["SD3"].build()
    solver = random_solver(subject, STEPS).without(mean=True)
    generator = torch.Generator().manual_seed(1)
    x, kept, *rest = torch.randn(2 * STEPS + 2, 2, 3, 4, 4, generator=generator,
                                 dtype=torch.float64)
    outs, added = rest[:STEPS], rest[STEPS:]
    left, again, first, second = iter(outs), iter(outs), iter(added), iter(added)
    own = loop.sample(lambda state, sigma: next(left), solver, x, guidance=lambda _: next(first))
    mixed = loop.sample(lambda state, sigma: mask * next(again) + (1 - mask) * kept,
                        solver, x, canvas=canvas.Canvas((), torch.full_like(x, mask), kept),
                        guidance=lambda _: next(second))
    assert torch.allclose(mixed, mask * own + (1 - mask) * kept, atol=1e-12)  # float64


def test_the_last_x0_is_the_picture(subject: Subject) -> None:
    """Case 01: nodes that keep the last x0 lost the last row."""
    preset = searched(subject, STEPS)
    sampler, sigmas = sampler_of(preset)
    for model, chosen, asked in ((subject.model, sampler, sigmas),
                                 (use(subject.model, preset), euler(), simple(subject, STEPS))):
        seen: list = []
        out = run(subject, model, chosen, asked, seen=seen)
        assert [step for step, _, _ in seen] == list(range(STEPS))
        last = subject.model.model.process_latent_out(seen[-1][1])
        assert torch.equal(last, out)
        assert not torch.allclose(seen[-2][1], out, atol=1e-3)


def test_a_run_that_stops_early_shows_the_models_guess(subject: Subject) -> None:
    """The neighbour of case 01: with noise left over x0 is not the state."""
    sampler, sigmas = sampler_of(searched(subject, STEPS))
    whole: list = []
    part: list = []
    run(subject, subject.model, sampler, sigmas, seen=whole)
    run(subject, subject.model, sampler, sigmas[:3], seen=part)
    assert torch.equal(part[0][1], whole[0][1])  # the same first model output
    assert len(part) == 2


def looked_up(model: Any) -> tuple[Any, list[int]]:  # noqa: ANN401
    """The model, and the place in sample_sigmas at which each call found its level (-1: none)."""
    found: list[int] = []

    def look(call: Callable, given: dict[str, Any]) -> Tensor:
        options = given["c"]["transformer_options"]
        same = (options["sigmas"][0] == options["sample_sigmas"]).nonzero().flatten().tolist()
        found.append(same[0] if same else -1)
        return call(given["input"], given["timestep"], **given["c"])

    watched = model.clone()
    watched.set_model_unet_function_wrapper(look)
    return watched, found


@pytest.mark.parametrize("steps", [4, 6, 9])
def test_patches_find_the_level_of_every_call(subject: Subject, steps: int) -> None:
    """Case 03: found at 0 of 6 calls."""
    preset = searched(subject, steps)
    assert preset.solver.model_sigmas is not None
    watched, found = looked_up(use(subject.model, preset))
    run(subject, watched, euler(), simple(subject, steps))
    assert found == list(range(steps))
    watched, found = looked_up(subject.model)
    sampler, sigmas = sampler_of(preset)
    run(subject, watched, sampler, sigmas[2:])
    assert found == list(range(steps - 2))


def test_context_windows_move_on_with_the_steps() -> None:
    """Case 03 on Wan: windows that shift with the step stayed at the first."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode as Windows

    wan = FAMILIES["Wan 2.1"].build()
    long = Subject(wan.model, wan.positive, wan.negative, torch.zeros(1, 16, 11, 8, 8))
    made = Windows.execute(long.model, 17, 4, "standard_uniform", 1, False, "pyramid", True)
    handler = made.args[0].model_options["context_handler"]
    steps: list[int] = []
    found = handler.get_context_windows
    handler.get_context_windows = lambda *given: (steps.append(handler._step), found(*given))[1]
    run(long, use(made.args[0], searched(long, STEPS)), euler(), simple(long, STEPS))
    assert sorted(set(steps)) == list(range(STEPS))


def test_a_measured_cfg_range_is_said_where_it_ends(subject: Subject, said: list[str]) -> None:
    """Case 04: CFG 4.2 was advised where Euler was better."""
    preset = searched(subject, STEPS)
    ranged = replace(preset, info=replace(
        preset.info, guidance_low=2.0, guidance_high=3.0, guidance_measured="2: 0.1 / 0.2"))
    for known, low, expected in ((ranged, 2.5, ""), (ranged, 3.0, ""),
                                 (ranged, 3.01, "from CFG 2 to 3, as measured"),
                                 (preset, 3.0, ""), (preset, 3.1, "Unknown away from CFG 3.")):
        said.clear()
        nodes = importlib.import_module("nodes")
        nodes.common_ksampler(use(subject.model, known), 5, STEPS, low, "euler", "simple",
                              subject.positive, subject.negative, {"samples": subject.latent})
        assert len(said) == 1
        assert expected in said[0] and ("CFG" in said[0]) == bool(expected)


def test_unknown_media_leave_the_means_out_and_say_so(said: list[str]) -> None:
    """The neighbour of case 07: a packed state and a model that does not tell its shapes."""
    subject = FAMILIES["SD3"].build()
    solver = random_solver(subject, STEPS).without(guidance=True)  # this model shows none
    preset = preset_for(subject, solver)
    guider = SimpleNamespace(conds={}, cfg=3.0, inner_model=subject.model.model)

    def model(x: Tensor, sigma: Tensor, **named: Any) -> Tensor:  # noqa: ANN401
        return x * 0.3

    model.inner_model = guider
    sampler, sigmas = sampler_of(preset)
    x = torch.randn(1, 1, 60, generator=torch.Generator().manual_seed(1))
    out = sampler.sampler_function(model, x, sigmas, {}, None, True, **sampler.extra_options)
    plain = load("solver_search.sample").sample(lambda s, sigma: s * 0.3,
                                                solver.without(mean=True), x)
    assert torch.equal(out, plain)
    assert "mean colours are left out" in said[-1]
