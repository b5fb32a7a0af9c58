"""What is particular to each published method: S4S, S4S-Alt, DLMS, GITS."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

from solver_search.begin import from_solver
from solver_search.clocks import arcsinh_clock, flow_clock
from solver_search.config import METHODS, SearchConfig
from solver_search.forms import denoised_steps
from solver_search.methods.dlms import DlmsSettings, Learner, accumulate, dlms
from solver_search.methods.gits import GitsSettings, cheapest_path, gits, jump_costs
from solver_search.methods.known import best_known
from solver_search.methods.s4s import S4SSettings, _Descent, s4s
from solver_search.parameters import Parameters, Space
from solver_search.run import Run, search
from solver_search.sample import sample
from solver_search.search import Budget, Problem, SearchError
from solver_search.solver import Solver
from solver_search.tableaus import TABLEAUS, denoised_adams
from solver_search.teacher import accurate_teacher

from .problems import mixture

TOP = {True: 1.0, False: 14.6}


def problem(flow: bool, *, steps: int = 5, dtype: torch.dtype = torch.float64) -> Problem:
    """A mixture of Gaussians with 16 starts to fit and 32 held out."""
    known, top = mixture(flow=flow), TOP[flow]
    noise = torch.randn(48, 5, generator=torch.Generator().manual_seed(3)).to(dtype)
    clock = flow_clock() if flow else arcsinh_clock(top)
    even = clock.sigma(torch.linspace(0, 1, steps + 1, dtype=torch.float64))
    return Problem(lambda x, sigma, items: known.denoise(x, sigma), noise * top, 16, flow, top,
                   {"even": even}, clock, clock)


def denoised_rows(solver: Solver) -> Tensor:
    return denoised_steps(solver)[1]


@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize("alternations", [0, 3])
def test_s4s_improves_on_its_start(flow: bool, alternations: int) -> None:
    run = Run(problem(flow))
    search(lambda r: s4s(r, S4SSettings(iterations=60, alternations=alternations)), run)
    assert run.best_error < 0.8 * run.curve[0][1]  # found 0.21 to 0.65


def test_s4s_keeps_the_schedule_and_the_order_and_alt_moves_it() -> None:
    for alternations in (0, 2):
        run = Run(problem(True))
        offered: list[Solver] = []
        run.on_event = lambda e, kept=offered: kept.append(e.solver) if e.solver else None
        search(lambda r, a=alternations: s4s(r, S4SSettings(iterations=8, order=2,
                                                            alternations=a)), run)
        last, sigmas = offered[-1], run.problem.schedules["even"]
        assert torch.allclose(last.sigmas, sigmas, atol=1e-12) == (alternations == 0)
        assert (denoised_rows(last).tril(-2).abs() < 1e-12).all()
        assert not torch.allclose(denoised_rows(last).sum(1),
                                  1 - last.sigmas[1:] / last.sigmas[:-1], atol=1e-4)


def test_relaxed_starts_stay_in_their_ball_and_radius_zero_keeps_them() -> None:
    for radius in (0.02, 0.0):
        run = Run(problem(False))
        settings = S4SSettings(iterations=20, radius=radius)
        run.trace(accurate_teacher(20, TOP[False], flow=False))
        start = denoised_adams(run.problem.schedules["even"], 3, flow=False)
        descent = _Descent(run, settings, start)
        descent.phase("coefficients", 20)
        moved = descent.moves.norm(dim=1)
        ball = radius * run.problem.starts[:16].norm(dim=1)
        assert (moved <= ball * (1 + 1e-5)).all()  # float32
        assert (moved > 0).any() == (radius > 0)


@pytest.mark.parametrize("flow", [True, False])
def test_denoised_adams_is_adams_bashforth_on_outputs(flow: bool) -> None:
    sigmas = problem(flow).schedules["even"]
    gaps = 1 - sigmas[1:] / sigmas[:-1]
    rows = denoised_rows(denoised_adams(sigmas, 3, flow=flow)) / gaps[:, None]
    expected = torch.tensor([5 / 12, -16 / 12, 23 / 12], dtype=torch.float64)
    assert torch.allclose(rows[3, 1:4], expected, atol=1e-12)
    assert torch.allclose(rows.sum(1), torch.ones(5, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("flow", [True, False])
def test_dlms_improves_on_euler(flow: bool) -> None:
    run = Run(problem(flow))
    search(lambda r: dlms(r, DlmsSettings(iterations=80, plms=False)), run)
    assert run.best_error < 0.7 * run.curve[0][1]  # found 0.11 and 0.13


def test_dlms_gradient_is_that_of_two_steps_and_one_model_call() -> None:
    """Algorithm 1's stop-gradients: each loss reaches two rows, two scales and one sigma."""
    run = Run(problem(True))
    run.trace(accurate_teacher(16, 1.0, flow=True), keep=1)
    space = Space(run.problem.clock, True)
    start = denoised_adams(run.problem.schedules["even"], 3, flow=True)
    raw = from_solver(start, space, scaled=True)
    items = torch.arange(4)
    whole = _gradients(run, raw, space, items)
    assert all(g.abs().max() > 0 for g in whole.tensors())
    calls = run.model_calls
    _gradients(run, raw, space, items)
    # teacher: 2 calls per step (one between), student: one
    assert run.model_calls - calls == 4 * (2 * 5 + 5)


def _gradients(run: Run, raw: Parameters, space: Space, items: Tensor) -> Parameters:
    leaves = {k: getattr(raw, k).clone().requires_grad_() for k in ("steps", "rows", "scales")}
    accumulate(run, Learner(raw, space, leaves), items, DlmsSettings())
    return replace(raw, **{k: t.grad for k, t in leaves.items()})


def test_dlms_first_row_learns_only_from_the_second_loss() -> None:
    """Row 0 has one entry, 1 - 0: it has no freedom, so no gradient; row 1's entry has one."""
    run = Run(problem(True))
    run.trace(accurate_teacher(16, 1.0, flow=True), keep=1)
    space = Space(run.problem.clock, True)
    start = denoised_adams(run.problem.schedules["even"], 3, flow=True)
    raw = from_solver(start, space, scaled=True)
    rows = _gradients(run, raw, space, torch.arange(4)).rows
    assert (rows[0] == 0).all() and (rows.triu() == 0).all()
    assert rows[1, 0] != 0
    assert (rows[4, :2] == 0).all()  # beyond the order


@pytest.mark.parametrize("name", ["learn_steps", "learn_scales", "learn_rows"])
def test_dlms_switches_keep_what_they_name(name: str) -> None:
    run = Run(problem(True))
    offered: list[Solver] = []
    run.on_event = lambda e: offered.append(e.solver) if e.solver else None
    search(lambda r: dlms(r, replace(DlmsSettings(iterations=6), **{name: False})), run)
    first, last = offered[0], offered[-1]
    same = {"learn_steps": torch.allclose(first.sigmas, last.sigmas, atol=1e-12),
            "learn_scales": torch.allclose(last.model_sigmas, last.sigmas[:-1], atol=1e-12)}
    if name == "learn_rows":
        gaps = [(1 - s.sigmas[1:] / s.sigmas[:-1])[:, None] for s in (first, last)]
        assert torch.allclose(denoised_rows(first) / gaps[0], denoised_rows(last) / gaps[1],
                              atol=1e-9)
    else:
        assert same.pop(name) and not any(same.values())


def test_dlms_measures_its_end_in_the_given_space() -> None:
    def broken(x: Tensor) -> Tensor:
        return x * float("nan")

    run = Run(problem(True))
    with pytest.raises(SearchError, match="loss became NaN at iteration 1"):
        search(lambda r: dlms(r, DlmsSettings(iterations=2, distance=broken)), run)
    assert run.best is not None


def test_cheapest_path_is_that_of_trying_all() -> None:
    generator = torch.Generator().manual_seed(1)
    cost = torch.rand(8, 8, generator=generator, dtype=torch.float64)
    cost = cost.where(torch.ones(8, 8).triu(1) > 0, torch.tensor(float("inf")).double())

    def total(path: list[int]) -> float:
        return sum(1.15 ** k * float(cost[i, j])
                   for k, (i, j) in enumerate(zip(path, path[1:], strict=False)))

    for steps in (1, 2, 4, 7):
        best = min(([0, *inner, 7] for inner in combinations(range(1, 7), steps - 1)), key=total)
        assert cheapest_path(cost, steps, 1.15) == best


def test_jump_costs_are_euler_errors_and_gits_beats_bad_steps() -> None:
    run = Run(problem(False))
    teacher = run.trace(accurate_teacher(30, TOP[False], flow=False))
    cost = jump_costs(teacher, run.fitted)
    step = float(teacher.sigmas[9] - teacher.sigmas[4])
    jump = teacher.states[4, :16] + step * teacher.directions[4, :16] - teacher.states[9, :16]
    assert float(cost[4, 9]) == pytest.approx(float(jump.norm(dim=1).mean()), rel=1e-5)  # float32
    assert torch.isinf(cost.tril()).all() | (cost.tril() == 0).any()
    other = Run(problem(False))
    search(lambda r: gits(r, GitsSettings()), other)
    bad = torch.linspace(TOP[False], 0, 6, dtype=torch.float64)
    known = TABLEAUS["euler"](bad, flow=False)
    assert other.best_error < 0.5 * float(run.errors(known, run.held_out).mean())


@pytest.mark.parametrize("flow", [True, False])
def test_dlms_analytic_first_step_costs_no_call_and_reads_no_output(flow: bool) -> None:
    """D(x_0) := 0: N calls make N + 1 steps, and the first is a change of scale."""
    run = Run(problem(flow))
    offered: list[Solver] = []
    run.on_event = lambda e: offered.append(e.solver) if e.solver else None
    search(lambda r: dlms(r, DlmsSettings(iterations=40, plms=False, analytic=True)), run)
    first, last = offered[0], offered[-1]
    for solver in (first, last):
        assert (solver.steps, solver.nfe) == (6, 5)
        assert (solver.weights[:, 0] == 0).all() and (solver.weights[0] == 0).all()
        gaps = (1 - solver.sigmas[1:] / solver.sigmas[:-1])[:, None]
        sums = (denoised_rows(solver) / gaps).sum(1)
        assert torch.allclose(sums, torch.tensor([0.0, 1, 1, 1, 1, 1]).double(), atol=1e-9)
    assert not torch.allclose(first.sigmas, last.sigmas, atol=1e-3)  # sigma 1 learns too
    visited: list[Tensor] = []
    x = run.problem.starts[:2]
    sample(run.denoise(torch.arange(2)), last, x, states=visited)
    assert torch.allclose(visited[1], x * (last.sigmas[1] / last.sigmas[0]), atol=1e-12)
    assert run.best_error < 0.9 * run.curve[0][1]


def test_dlms_begins_with_the_better_of_both_first_steps() -> None:
    for analytic in (False, True):
        run = Run(problem(True))
        search(lambda r, a=analytic: dlms(r, DlmsSettings(iterations=1, analytic=a)), run)
        known = run.curve[0][1]
        both = Run(problem(True))
        search(lambda r: dlms(r, DlmsSettings(iterations=1)), both)
        assert both.curve[int(analytic)][1] == pytest.approx(known, rel=1e-12)
        assert both.best_error <= known


@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize("name", ["s4s", "s4s_alt", "dlms", "dlms_designer"])
def test_on_the_node_they_begin_from_the_best_known_solver(flow: bool, name: str) -> None:
    """It is the first that is offered, so none ends behind it on held-out starts."""
    config = SearchConfig(5, name, "standard")
    settings = replace(METHODS[name].settings(config), iterations=8, offers=1)
    given, offered = problem(flow), []
    if METHODS[name].designer:
        newest: list[Tensor] = []
        given = replace(given, denoise=lambda x, sigma, items, inner=given.denoise: (
            newest.append(x) or inner(x, sigma, items)), feature=lambda: newest[-1].float())
    run = Run(given, Budget(20_000))
    run.on_event = lambda e: offered.append(e.solver) if e.solver is not None else None
    search(lambda r: METHODS[name].search(r, settings), run)
    again = Run(given, run.budget)
    teacher = again.trace(accurate_teacher(settings.teacher_calls, TOP[flow], flow=flow))
    best = best_known(again, teacher, again.fitted, settings.known)[0].solver
    assert best.consistent  # or DLMS would begin with another one
    torch.testing.assert_close(offered[0].weights, best.weights, rtol=0, atol=1e-9)
    assert torch.allclose(offered[0].sigmas, best.sigmas, atol=1e-9)
    assert run.best_error <= run.curve[0][1]
    moved = (offered[-1].weights - offered[0].weights).abs().max()
    assert moved > 1e-4


def test_what_a_known_start_reads_beyond_the_order_stays() -> None:
    """ipndm in denoised form reads every output; S4S of order 2 learns the newest two only."""
    run = Run(problem(True))
    run.trace(accurate_teacher(20, 1.0, flow=True))
    known = TABLEAUS["ipndm"](run.problem.schedules["even"], flow=True)
    descent = _Descent(run, S4SSettings(iterations=6, order=2), known)
    torch.testing.assert_close(descent.solver().weights, known.weights, rtol=0, atol=1e-12)
    before = denoised_rows(descent.solver()).clone()
    descent.check()
    descent.phase("coefficients", 6)
    after = denoised_rows(descent.solver())
    torch.testing.assert_close(after.tril(-2), before.tril(-2), rtol=0, atol=1e-12)
    assert before.tril(-2).abs().max() > 0.01
    assert (after - before).abs().max() > 1e-3
