"""Searches for several numbers of steps: their order, what they hand on, what they may spend."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from solver_search.clocks import arcsinh_clock, flow_clock
from solver_search.config import SearchConfig
from solver_search.family import begun_from, outwards, share, stretched, whole_budget
from solver_search.methods.fit import fit
from solver_search.methods.rows import fit_rows
from solver_search.run import Run, search
from solver_search.search import Budget, Event
from solver_search.teacher import accurate_teacher

from .searches import SHORT_FIT, TOP, problem


@pytest.mark.parametrize(("steps", "order"), [
    ([6], [(6, None)]),
    ([10, 5, 8, 6, 6], [(6, None), (5, 6), (8, 6), (10, 8)]),
    ([8, 4], [(4, None), (8, 4)]),
    ([3, 4, 5, 6, 7], [(5, None), (4, 5), (3, 4), (6, 5), (7, 6)]),
])
def test_the_middle_comes_first_and_each_has_a_finished_neighbour(steps: list[int],
                                                                  order: list) -> None:
    assert outwards(steps) == order


def test_four_members_may_spend_twice_what_one_may() -> None:
    one, others = SearchConfig(6).budget, [5, 8, 10]
    assert whole_budget(one, 1) == one
    assert whole_budget(one, 4).model_calls == pytest.approx(2 * one.model_calls)
    shares = [share(one, steps, others).model_calls for steps in others]
    assert sum(shares) == pytest.approx(one.model_calls)
    assert [s / shares[0] for s in shares] == pytest.approx([1, 8 / 5, 2])


@pytest.mark.parametrize("flow", [True, False])
def test_levels_are_stretched_along_their_own_curve(flow: bool) -> None:
    clock = flow_clock() if flow else arcsinh_clock(TOP[False])
    sigmas = clock.sigma(torch.linspace(0, 1, 7, dtype=torch.float64) ** 0.7)
    assert torch.allclose(stretched(sigmas, 6, clock), sigmas, atol=1e-12)  # float64 rounding
    even = clock.sigma(torch.linspace(0, 1, 7, dtype=torch.float64))
    for steps in (2, 5, 8, 24):
        found = stretched(sigmas, steps, clock)
        assert (found.diff() < 0).all()
        assert (found[0], found[-1]) == (sigmas[0], 0)
        straight = clock.sigma(torch.linspace(0, 1, steps + 1, dtype=torch.float64))
        assert torch.allclose(stretched(even, steps, clock), straight, atol=1e-9)


def followed(steps: int, calls: list[int] | None = None) -> tuple[Run, Run]:
    """A finished search for four steps, and one begun from it."""
    known = problem(calls=calls)
    first = search(lambda run: fit(run, SHORT_FIT), Run(known))
    del (calls or [])[:]
    schedules = problem(steps=steps).schedules
    return first, begun_from(first, schedules, Budget())


@pytest.mark.parametrize("steps", [3, 6])
def test_a_neighbour_is_searched_without_a_call_of_the_teacher(steps: int) -> None:
    calls: list[int] = []
    first, second = followed(steps, calls)
    phases: list[Event] = []
    second.on_event = phases.append
    search(lambda run: fit(run, SHORT_FIT), second)
    assert second.model_calls == sum(calls)
    assert not any(event.phase.startswith("teacher") for event in phases)
    assert torch.equal(second.reference, first.reference)
    assert second.best.nfe == steps
    assert second.problem.steps == steps
    assert "from 4 steps" in second.problem.schedules
    assert len(second.problem.schedules) == 2
    offered = [e.phase for e in phases if e.solver is not None]
    assert len([p for p in offered if p.split("/")[0] == second.tables[0]]) <= 2
    assert second.tables == first.tables  # one handcrafted table, not all


def test_another_teacher_or_more_starts_are_run_anew() -> None:
    known = problem()
    run = Run(known)
    teachers = [accurate_teacher(n, 1.0, flow=True) for n in (8, 9)]
    few = run.trace(teachers[0], keep=3)
    spent = run.model_calls
    assert run.trace(teachers[0], keep=2) is few
    assert run.model_calls == spent == 8 * len(known.starts)
    more = run.trace(teachers[0], keep=5)
    assert more.end.shape[0] == 5
    assert run.model_calls == 2 * spent
    assert len(run.trace(teachers[1], keep=5).sigmas) == 10


@pytest.mark.parametrize("free", [True, False])
def test_rows_are_fitted_for_the_levels_that_the_model_is_told(free: bool) -> None:
    asked: list[float] = []
    known = problem()
    inner = known.denoise
    run = Run(replace(known, denoise=lambda x, sigma, items: (
        asked.append(float(sigma.reshape(-1)[0])), inner(x, sigma, items))[1]))
    teacher = run.trace(accurate_teacher(16, 1.0, flow=True))
    sigmas = known.schedules["late"]
    told = sigmas[:-1] * torch.tensor([1.0, 0.95, 0.9, 1.05], dtype=torch.float64)
    del asked[:]
    solver, end = fit_rows(run, teacher, sigmas, run.fitted, free=free, told=told)
    assert asked == pytest.approx(told.tolist())
    assert torch.equal(solver.model_sigmas, told)
    assert torch.allclose(run.ends(solver, run.fitted), end, atol=1e-9)  # float64 rounding


def test_a_neighbour_begins_with_the_levels_that_were_told() -> None:
    factors = torch.full((4,), 0.9, dtype=torch.float64)
    first, _ = followed(4)
    best = replace(first.best, model_sigmas=first.best.sigmas[:-1] * factors)
    first.best = best
    second = begun_from(first, problem(steps=6).schedules, Budget())
    own = second.problem.schedules["from 4 steps"]
    assert torch.allclose(second.problem.told["from 4 steps"], 0.9 * own[:-1])
    first.best = replace(best, model_sigmas=None)
    assert not begun_from(first, problem(steps=6).schedules, Budget()).problem.told
