"""A solver on a part of its way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solver_search.clocks import Clock, arcsinh_clock, flow_clock
from solver_search.forms import from_denoised_rows, increments
from solver_search.part import part_of, piece, placed, step_rows
from solver_search.sample import sample
from solver_search.solver import Solver, SolverError
from solver_search.tableaus import TABLEAUS
from tests.problems import gaussian, gaussian_solution, mixture

FLOW, EPS = [1.0, 0.9, 0.72, 0.5, 0.27, 0.09, 0.0], [14.6, 6.0, 2.5, 1.1, 0.5, 0.2, 0.0]
ROUNDING = 1e-12  # float64, a few dozen operations


def sigmas_of(flow: bool) -> Tensor:
    return torch.tensor(FLOW if flow else EPS, dtype=torch.float64)


def clock_of(flow: bool) -> Clock:
    return flow_clock(3.0) if flow else arcsinh_clock(14.6)


def free(solver: Solver) -> Solver:
    """The same with row sums that are not 1."""
    start, rows = step_rows(solver)
    factors = torch.linspace(0.97, 1.04, solver.nfe, dtype=torch.float64)
    return from_denoised_rows(solver.sigmas, rows * (1.02 - 0.01 * factors)[:, None],
                              flow=solver.flow, start=start * factors,
                              model_sigmas=solver.sigmas[:-1] * factors)


@pytest.fixture(params=[True, False], ids=["flow", "eps"])
def flow(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "deis", "ab3"])
def test_the_whole_way_is_the_solver_itself(flow: bool, name: str) -> None:
    solver = TABLEAUS[name](sigmas_of(flow), flow=flow)
    asked = torch.linspace(float(solver.sigmas[0]), 0, 21)
    found = part_of(solver, asked, clock_of(flow))
    assert found.kind == "whole"
    assert found.solver is solver


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_euler_split_anywhere_is_euler(flow: bool, cut: int) -> None:
    problem, solver = mixture(flow=flow), TABLEAUS["euler"](sigmas_of(flow), flow=flow)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[None] * solver.sigmas[0]
    once = sample(problem.denoise, solver, x)
    halves = [part_of(solver, s.float(), clock_of(flow))
              for s in (solver.sigmas[:cut + 1], solver.sigmas[cut:])]
    assert [p.kind for p in halves] == ["piece", "piece"]
    assert [(p.first, p.last) for p in halves] == [(0, cut), (cut, 6)]
    middle = sample(problem.denoise, halves[0].solver, x)
    twice = sample(problem.denoise, halves[1].solver, middle)
    assert torch.allclose(once, twice, atol=ROUNDING * float(x.abs().max()))


def test_the_first_piece_of_any_solver_visits_the_same_states(flow: bool) -> None:
    problem, solver = mixture(flow=flow), free(TABLEAUS["deis"](sigmas_of(flow), flow=flow))
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[None] * solver.sigmas[0]
    visited: list[Tensor] = []
    sample(problem.denoise, solver, x, states=visited)
    middle = sample(problem.denoise, piece(solver, 0, 3), x)
    assert torch.allclose(middle, visited[3], atol=ROUNDING * float(x.abs().max()))


def test_a_later_piece_reads_its_rows_by_sigma_and_folds_what_is_missing(flow: bool) -> None:
    solver = TABLEAUS["ab3"](sigmas_of(flow), flow=flow)
    tail = part_of(solver, solver.sigmas[3:].float(), clock_of(flow))
    own, cut = increments(solver), increments(tail.solver)
    assert torch.allclose(cut[2], own[5, 3:], atol=ROUNDING)  # reads only outputs 3 to 5
    assert cut[1].tolist() == pytest.approx([float(own[4, 2] + own[4, 3]), float(own[4, 4]), 0])
    assert torch.allclose(cut.sum(dim=1), solver.sigmas[3:].diff(), atol=ROUNDING)


def test_a_solution_that_ends_in_a_constant_is_exact_on_every_part(flow: bool) -> None:
    solver = TABLEAUS["dpmpp_2m"](sigmas_of(flow), flow=flow)
    x, target = torch.full((1, 4), 3.0, dtype=torch.float64), torch.full((1, 4), 0.7)
    for asked in (solver.sigmas[2:], torch.tensor([float(solver.sigmas[2]) * 0.93, 0.1, 0]),
                  torch.linspace(float(solver.sigmas[3]), 0, 7)):
        found = part_of(solver, asked, clock_of(flow)).solver
        end = sample(lambda state, sigma: target.to(state), found, x)
        assert torch.allclose(end, target.to(end), atol=ROUNDING)


def test_denoise_keeps_the_number_of_steps_and_lies_in_the_part(flow: bool) -> None:
    solver = free(TABLEAUS["dpmpp_2m"](sigmas_of(flow), flow=flow))
    asked = torch.linspace(float(solver.sigmas[3]) * 1.1, 0, 7)
    found = part_of(solver, asked, clock_of(flow))
    assert (found.kind, found.solver.nfe) == ("stretched", 6)
    assert float(found.solver.sigmas[0]) == pytest.approx(float(asked[0]), rel=1e-6)
    assert float(found.solver.sigmas[-1]) == 0
    assert (found.solver.sigmas.diff() < 0).all()


def test_stretching_goes_over_into_the_solver_itself(flow: bool) -> None:
    solver = free(TABLEAUS["deis"](sigmas_of(flow), flow=flow))
    near = float(solver.sigmas[0]) * 0.98
    found = part_of(solver, torch.linspace(near, 0, 7), clock_of(flow)).solver
    assert torch.allclose(step_rows(found)[1], step_rows(solver)[1], atol=0.1)
    assert torch.allclose(found.sigmas, solver.sigmas, rtol=0.03, atol=1e-6)


def test_other_counts_are_placed_like_the_solver_with_ab2(flow: bool) -> None:
    solver = TABLEAUS["dpmpp_2m"](sigmas_of(flow), flow=flow)
    found = part_of(solver, torch.linspace(float(solver.sigmas[4]) * 1.02, 0, 5), clock_of(flow))
    assert (found.kind, found.solver.nfe) == ("placed", 4)
    same = placed(solver, float(solver.sigmas[0]), 0.0, 6, clock_of(flow))
    assert torch.allclose(same, solver.sigmas, atol=1e-9)


@pytest.mark.parametrize("level", [0.31, 0.55, 0.8, 0.95])
def test_two_passes_at_a_foreign_level_meet_there(flow: bool, level: float) -> None:
    solver = free(TABLEAUS["deis"](sigmas_of(flow), flow=flow))
    switch = float(solver.sigmas[0]) * level
    first = part_of(solver, torch.tensor([float(solver.sigmas[0]), switch * 1.01, switch]),
                    clock_of(flow))
    assert first.kind == "moved piece"
    assert float(first.solver.sigmas[-1]) == pytest.approx(switch)
    second = part_of(solver, torch.tensor([switch, switch / 2, 0.0]), clock_of(flow))
    assert float(second.solver.sigmas[0]) == pytest.approx(switch, rel=1e-6)


def test_every_part_lands_near_the_solution(flow: bool) -> None:
    problem, solver = gaussian(flow=flow), TABLEAUS["deis"](sigmas_of(flow), flow=flow)
    zero = torch.zeros((), dtype=torch.float64)
    for first, steps in ((0.4, 6), (0.4, 4), (0.6, 6), (0.6, 3)):
        begin = solver.sigmas[0] * first
        x = torch.linspace(-1, 1, 5, dtype=torch.float64)[None] * begin + 0.2
        found = part_of(solver, torch.linspace(float(begin), 0, steps + 1), clock_of(flow))
        end = sample(problem.denoise, found.solver, x)
        exact = gaussian_solution(problem, x, begin, zero)
        plain = sample(problem.denoise, TABLEAUS["euler"](
            torch.linspace(float(begin), 0, steps + 1, dtype=torch.float64), flow=flow), x)
        assert (end - exact).abs().max() < (plain - exact).abs().max()


def test_what_cannot_be_is_refused_in_words(flow: bool) -> None:
    solver = TABLEAUS["deis"](sigmas_of(flow), flow=flow)
    tail = piece(solver, 3, 6)
    with pytest.raises(SolverError, match="made for the end of the way"):
        part_of(tail, solver.sigmas, clock_of(flow))
    with pytest.raises(SolverError, match="must fall"):
        part_of(solver, torch.tensor([0.5]), clock_of(flow))
    with pytest.raises(SolverError, match="must fall"):
        part_of(solver, torch.tensor([0.0, 0.5]), clock_of(flow))


def test_inner_stages_are_replaced_by_steps(flow: bool) -> None:
    solver = TABLEAUS["heun"](sigmas_of(flow)[::2], flow=flow)
    assert (solver.sigmas.diff() == 0).any()
    found = part_of(solver, torch.linspace(float(solver.sigmas[0]) * 0.4, 0, 5), clock_of(flow))
    assert (found.kind, found.solver.nfe) == ("placed", 4)
