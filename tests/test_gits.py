"""What GITS promises: the cheapest path, from nothing but teacher trajectories."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor

from solver_search.methods.gits import TABLES, GitsSettings, cheapest_path, gits, jump_costs
from solver_search.run import Run, search
from solver_search.search import Event, SearchError
from solver_search.solver import Solver
from solver_search.tableaus import TABLEAUS
from solver_search.teacher import accurate_teacher, trace

from .test_searching import SIGMA_MAX, problem

TOP = {True: 1.0, False: SIGMA_MAX}


def finished(flow: bool, settings: GitsSettings | None = None) -> tuple[Run, list[Event]]:
    """The run and its offers."""
    run, events = Run(problem(flow)), []
    run.on_event = lambda e: events.append(e) if e.solver is not None else None
    return search(lambda r: gits(r, settings or GitsSettings()), run), events


def total(cost: Tensor, path: list[int], gamma: float) -> float:
    return sum(gamma ** k * float(cost[i, j]) for k, (i, j) in enumerate(pairwise(path)))


def costs(flow: bool, calls: int) -> Tensor:
    run = Run(problem(flow, dtype=torch.float64))
    return jump_costs(run.trace(accurate_teacher(calls, TOP[flow], flow=flow)), run.fitted)


@pytest.mark.parametrize("gamma", [0.8, 1.0, 1.15])
@pytest.mark.parametrize("flow", [True, False])
def test_the_path_on_real_costs_is_that_of_trying_all(flow: bool, gamma: float) -> None:
    cost = costs(flow, 10)
    for steps in (1, 2, 3, 5, 10):
        every = ([0, *inner, 10] for inner in combinations(range(1, 10), steps - 1))
        best = min(every, key=lambda path: total(cost, path, gamma))
        assert cheapest_path(cost, steps, gamma) == best


def test_more_weight_on_later_jumps_moves_steps_to_the_end() -> None:
    cost = costs(False, 40)
    paths = [cheapest_path(cost, 6, gamma) for gamma in (0.5, 1.0, 1.15, 2.0)]
    for earlier, later in pairwise(paths):
        assert all(i <= j for i, j in zip(earlier, later, strict=True))
    assert paths[0] != paths[-1]


@pytest.mark.parametrize("flow", [True, False])
def test_a_straight_trajectory_costs_nothing(flow: bool) -> None:
    """One picture: D is constant, every Euler jump is exact."""
    picture = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fine = accurate_teacher(12, TOP[flow], flow=flow)
    teacher = trace(lambda x, sigma: picture.expand_as(x), fine, TOP[flow] * noise)
    cost = jump_costs(teacher, torch.arange(4))
    assert float(cost[cost.isfinite()].max()) < 1e-12 * TOP[flow]  # float64 rounding
    assert torch.equal(cost.isfinite(), torch.ones(13, 13).triu(1) > 0)


def test_costs_are_means_over_the_fitted_starts_only() -> None:
    run = Run(problem(True, dtype=torch.float64))
    teacher = run.trace(accurate_teacher(12, 1.0, flow=True))
    each = torch.stack([jump_costs(teacher, run.fitted[k:k + 1]) for k in range(24)])
    upper = torch.ones(13, 13).triu(1) > 0
    assert torch.allclose(jump_costs(teacher, run.fitted)[upper], each.mean(0)[upper])
    assert not torch.allclose(jump_costs(teacher, run.held_out)[upper], each.mean(0)[upper])


@pytest.mark.parametrize("flow", [True, False])
def test_only_the_teacher_and_the_choice_cost_model_calls(flow: bool) -> None:
    run, _ = finished(flow)
    assert run.model_calls == 48 * 60 + len(TABLES) * 24 * 5  # first calls are the teacher's


@pytest.mark.parametrize("flow", [True, False])
def test_known_tables_are_offered_on_steps_of_the_teacher(flow: bool) -> None:
    _, events = finished(flow)
    sigmas = events[0].solver.sigmas
    assert torch.isin(sigmas, accurate_teacher(60, TOP[flow], flow=flow).sigmas).all()
    assert [e.phase for e in events] == [f"{name} on gits steps" for name in TABLES]
    for name, event in zip(TABLES, events, strict=True):
        expected = TABLEAUS[name](sigmas, flow=flow)
        assert torch.equal(event.solver.sigmas, sigmas)
        assert torch.equal(event.solver.weights, expected.weights)


@pytest.mark.parametrize("flow", [True, False])
def test_euler_on_the_found_steps_beats_bad_ones_on_unseen_noise(flow: bool) -> None:
    _, events = finished(flow)
    other = Run(problem(flow, fit_count=0, held_out=128, seed=9))
    other.trace(accurate_teacher(100, TOP[flow], flow=flow))

    def error(solver: Solver) -> float:
        return float(other.errors(solver, other.held_out).mean())

    ramp = torch.linspace(1, 0, 7, dtype=torch.float64)
    bad = TOP[flow] * (ramp ** 3 if flow else ramp)  # all steps at one end
    worse = error(TABLEAUS["euler"](bad, flow=flow))
    assert error(events[0].solver) < 0.7 * worse  # found 0.57 and 0.22


@pytest.mark.parametrize(("steps", "gamma"), [(0, 1.15), (5, 1.15), (2, 0.0)])
def test_a_path_that_does_not_exist_is_a_sentence(steps: int, gamma: float) -> None:
    with pytest.raises(SearchError, match="steps must be 1 to 4"):
        cheapest_path(torch.rand(5, 5), steps, gamma)
