"""The best known solver: nothing better is overlooked, and it costs what it may."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from solver_search.methods import known as known_module
from solver_search.methods.known import (
    EPS_ONLY,
    HANDCRAFTED,
    Known,
    _in_turns,
    best_known,
    landing_errors,
    local_errors,
    misses,
    ranked,
)
from solver_search.run import Run
from solver_search.sample import sample
from solver_search.search import Budget
from solver_search.tableaus import TABLEAUS
from solver_search.teacher import Trajectory, accurate_teacher, trace

from .problems import mixture
from .searches import TOP, problem


def traced(flow: bool, calls: int = 32, **sizes: int) -> tuple[Run, Trajectory]:
    run = Run(problem(flow, **sizes))
    return run, run.trace(accurate_teacher(calls, run.problem.sigma_max, flow=flow), keep=2)


@pytest.mark.parametrize("flow", [True, False])
def test_with_calls_to_spare_it_is_the_best_of_all(flow: bool) -> None:
    run, teacher = traced(flow, fit_count=16)
    found = best_known(run, teacher, run.fitted, 0.5)
    names = HANDCRAFTED if flow else HANDCRAFTED + EPS_ONLY
    every = {f"{name}/{schedule}": float(run.errors(TABLEAUS[name](sigmas, flow=flow),
                                                    run.fitted).mean())
             for schedule, sigmas in run.problem.schedules.items() for name in names}
    assert [k.label for k in found] == sorted(every, key=every.get)
    assert found[0].mean == pytest.approx(min(every.values()), rel=1e-9)  # batches


def test_the_order_before_any_call_is_worth_something() -> None:
    """Here the best of all has place 2; nothing of the ranking is exact on so small a problem."""
    run, teacher = traced(True, fit_count=16, steps=6)
    before = run.model_calls
    order = [k.label for k in ranked(run.problem, teacher)]
    assert run.model_calls == before
    assert order.index(best_known(run, teacher, run.fitted, 0.5)[0].label) < 5


@pytest.mark.parametrize("steps", [4, 8, 32])
@pytest.mark.parametrize("budget", [600, 1_500, 40_000])
def test_it_spends_no_more_than_its_share(steps: int, budget: int) -> None:
    run, teacher = traced(True, calls=16, steps=steps, fit_count=40)
    run.model_calls, run.budget = 0, Budget(budget)
    found = best_known(run, teacher, run.fitted, 1 / 8)
    assert run.model_calls <= max(budget / 8, steps)  # one sample is the least
    paid = budget / 8 / steps / 4
    assert len(found[0].errors) == max(1, min(40, math.floor(paid)))


def test_finalists_were_tried_on_the_same_starts() -> None:
    run, teacher = traced(False, fit_count=24)
    run.budget = Budget(12_000)
    found = best_known(run, teacher, run.fitted, 1 / 8)
    assert 2 <= len(found) < len(ranked(run.problem, teacher))
    for known in found:
        again = run.errors(known.solver, run.fitted[: len(known.errors)])
        torch.testing.assert_close(known.errors, again, rtol=1e-9, atol=0)  # other batches
    assert found == sorted(found, key=lambda k: k.mean)


def test_a_start_that_ends_elsewhere_counts_and_a_diverged_one_excludes() -> None:
    solver = TABLEAUS["euler"](torch.tensor([1.0, 0.0]), flow=True)
    none = torch.zeros(0)
    steady, lost, broken = (Known("", solver, torch.tensor(errors), none) for errors in (
        [0.2, 0.2, 0.2], [0.1, 0.1, 0.9], [0.1, 0.1, float("nan")]))
    assert steady.mean < lost.mean < broken.mean == float("inf")


@pytest.mark.parametrize("flow", [True, False])
def test_denoised_between_the_teachers_points(flow: bool) -> None:
    """The slope of a cubic errs by the step's third power: eight times less at half the step."""
    known, x = mixture(flow=flow), TOP[flow] * torch.linspace(-2, 2, 9).double()[:, None]
    gaps = []
    for calls in (64, 128):
        sigmas = torch.linspace(TOP[flow], 0, calls + 1, dtype=torch.float64)
        path = trace(known.denoise, TABLEAUS["ab4"](sigmas, flow=flow), x)
        sigma = 0.401 * TOP[flow]
        true = known.denoise(path.at(sigma), torch.tensor(sigma).double())
        gaps.append(float((path.denoised(sigma) - true).abs().max()))
        at_a_point = float(sigmas[3])
        exact = known.denoise(path.states[3], sigmas[3])
        torch.testing.assert_close(path.denoised(at_a_point), exact, rtol=0, atol=1e-9)
    assert gaps[1] < gaps[0] / 4


@pytest.mark.parametrize("flow", [True, False])
def test_no_step_misses_where_the_output_is_constant(flow: bool) -> None:
    sigmas = TOP[flow] * torch.linspace(1, 0, 6, dtype=torch.float64)
    picture, noise = torch.randn(2, 3, 4, dtype=torch.float64,
                                 generator=torch.Generator().manual_seed(1))
    share = 1 - sigmas if flow else torch.ones(6, dtype=torch.float64)
    states = share.view(-1, 1, 1) * picture + sigmas.view(-1, 1, 1) * noise
    outputs = picture.expand(5, 3, 4)
    for name in HANDCRAFTED + EPS_ONLY:
        solver = TABLEAUS[name](sigmas, flow=flow)
        error = float(local_errors(solver, misses(solver, states, outputs)).mean())
        assert error < 1e-3 if name == "ipndm_v" else error < 1e-12, name  # its rows: see there


def off_by(states: Tensor, n: int, much: float) -> Tensor:
    moved = states.clone()
    moved[n] += much
    return moved


def test_a_miss_counts_less_at_high_noise() -> None:
    sigmas = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    picture = torch.full((1, 4), 2.0, dtype=torch.float64)
    states = (1 - sigmas).view(-1, 1, 1) * picture
    euler = TABLEAUS["euler"](sigmas, flow=True)
    # the first step misses a state that lies 0.4 off; the last one, from it, keeps nothing of it
    missed = misses(euler, off_by(states, 1, 0.4), picture.expand(2, 1, 4))
    assert float(local_errors(euler, missed)) == pytest.approx(0.8 / 1.5**2)


@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize("name", ["euler", "lms", "ipndm_v", "denoised_ab3"])
def test_with_normal_data_the_landing_is_known_without_a_call(
        monkeypatch: pytest.MonkeyPatch, flow: bool, name: str) -> None:
    """The ODE and D are known there: x = (alpha^2 s^2 + sigma^2)^(1/2) z, D = slope x."""
    monkeypatch.setattr(known_module, "WIDTHS", (0.5,))
    sigmas, variance = TOP[flow] * torch.linspace(1, 0, 7, dtype=torch.float64), 1.3
    z = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def parts(sigma: Tensor) -> tuple[Tensor, Tensor]:
        alpha = 1 - sigma if flow else torch.ones_like(sigma)
        width = alpha**2 * variance / 2 + sigma**2
        return width.sqrt(), alpha * variance / 2 / width

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return parts(sigma)[1] * x

    states = torch.stack([parts(sigma)[0] * z for sigma in sigmas])
    outputs = torch.stack([denoise(x, s) for x, s in zip(states[:-1], sigmas, strict=False)])
    solver = TABLEAUS[name](sigmas, flow=flow)
    landed = sample(denoise, solver, states[0])
    torch.testing.assert_close(landing_errors(solver, misses(solver, states, outputs), variance),
                               (landed - states[-1]).norm(dim=1))


def test_orders_take_turns() -> None:
    assert _in_turns(torch.tensor([[1.0, 9.0], [2.0, 0.0], [3.0, 1.0]])) == [0, 1, 2]
    assert _in_turns(torch.tensor([[3.0], [1.0], [2.0]])) == [1, 2, 0]


def test_with_guidance_only_the_misses_themselves_count() -> None:
    run, teacher = traced(True)
    plain, guided = (ranked(run.problem, teacher, guided=g) for g in (False, True))
    every, scores = [k.label for k in guided], {}
    for known in guided:
        at = torch.stack([teacher.at(float(s)) for s in known.solver.sigmas])
        out = torch.stack([teacher.denoised(float(s)) for s in known.solver.sigmas[:-1]])
        scores[known.label] = float((local_errors(known.solver, misses(known.solver, at, out))
                                     / at[-1].flatten(1).norm(dim=1)).mean())
    assert every == sorted(every, key=scores.get) != [k.label for k in plain]
