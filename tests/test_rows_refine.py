"""Teacher states, rows by least squares, and the linearised end point."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solver_search.begin import from_solver
from solver_search.forms import denoised_steps
from solver_search.methods import coordinates
from solver_search.methods import refine as fitting
from solver_search.methods.rows import fit_rows
from solver_search.metrics import relative_errors
from solver_search.parameters import Space, to_solver
from solver_search.run import Run
from solver_search.tableaus import TABLEAUS
from solver_search.teacher import Trajectory, accurate_teacher, trace

from .problems import gaussian, gaussian_solution
from .searches import TOP, problem, with_means, with_places


def exact_trajectory(calls: int, *, flow: bool) -> tuple[Trajectory, Tensor]:
    """States and slopes of one Gaussian's ODE in closed form: no solver error in them."""
    known, top = gaussian(flow=flow), torch.tensor(TOP[flow]).double()
    x = top * torch.linspace(-2, 2, 5, dtype=torch.float64)[None]
    sigmas = torch.linspace(float(top), 0, calls + 1, dtype=torch.float64)
    states = [gaussian_solution(known, x, top, s) for s in sigmas]
    slopes = [(state - known.denoise(state, s)) / s
              for state, s in zip(states, sigmas[:-1], strict=False)]
    return Trajectory(sigmas, torch.stack(states), torch.stack(slopes)), x


@pytest.mark.parametrize(("place", "order"), [(0.6, 4), (1.0, 3)])
def test_interpolation_is_of_fourth_order_and_third_where_the_end_has_no_slope(
        place: float, order: int) -> None:
    """Each halving of the steps divides the error by 2^order."""
    errors = []
    for calls in (40, 80):
        known, x = exact_trajectory(calls, flow=True)
        interval = min(int(place * calls), calls - 1)
        sigma = known.sigmas[interval:interval + 2].mean()
        exact = gaussian_solution(gaussian(flow=True), x, torch.ones_like(sigma), sigma)
        errors.append(float((known.at(float(sigma)) - exact).norm()))
    found = float(torch.tensor(errors[0] / errors[1]).log2())
    assert found == pytest.approx(order, abs=0.5)  # the next order's term; steps of 1/40


def test_interpolation_meets_the_states_themselves() -> None:
    known, _ = exact_trajectory(10, flow=False)
    for i, sigma in enumerate(known.sigmas):
        # Float64 rounding of a state of size 30.
        assert torch.allclose(known.at(float(sigma)), known.states[i], atol=1e-12)
    for progress, index in ((0.0, 0), (0.04, 0), (0.06, 1), (0.72, 7), (1.0, 10)):
        assert torch.equal(known.nearest(progress), known.states[index])
    assert torch.equal(known.end, known.states[10])


@pytest.mark.parametrize("name", ["ab3", "deis", "ipndm_v", "euler"])
@pytest.mark.parametrize("flow", [True, False])
def test_row_fitting_recovers_the_table_that_made_the_targets(name: str, flow: bool) -> None:
    run = Run(problem(flow, steps=5, fit_count=16))
    sigmas = run.problem.schedules["even"]
    hidden = TABLEAUS[name](sigmas, flow=flow)
    teacher = run.trace(hidden)
    found, end = fit_rows(run, teacher, sigmas, run.fitted, ridge=1e-16)
    _, expected = denoised_steps(hidden)
    _, rows = denoised_steps(found)
    # Outputs on one trajectory are nearly collinear: normal equations lose half the digits.
    # deis adds its own row sums, right to 9e-6, which consistent rows cannot copy.
    assert torch.allclose(rows, expected, atol=1e-3 if name == "deis" else 2e-4)
    errors = relative_errors(end, teacher.end[run.fitted])
    assert float(errors.max()) < (2e-5 if name == "deis" else 1e-8)


@pytest.mark.parametrize("flow", [True, False])
def test_row_fitting_beats_the_rows_it_leans_on(flow: bool) -> None:
    run = Run(problem(flow, steps=5, fit_count=16, held_out=64))
    teacher = run.trace(accurate_teacher(48, TOP[flow], flow=flow))
    for sigmas in run.problem.schedules.values():
        fitted, _ = fit_rows(run, teacher, sigmas, run.fitted)
        known = TABLEAUS["dpmpp_2m"](sigmas, flow=flow)
        ours, theirs = (float(run.errors(s, run.held_out).mean()) for s in (fitted, known))
        assert ours < 0.9 * theirs  # found 0.1 to 0.8: a gain, not the noise of 64 starts


@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize("free", [True, False])
def test_rows_may_lean_on_a_table_whose_rows_sum_to_anything(flow: bool, free: bool) -> None:
    """As ipndm_v's do. Pulled hard, free rows are that table; others get sums of 1."""
    known = problem(flow, steps=6)
    run, sigmas = Run(known), known.clock.sigma(torch.linspace(0, 1, 7).double() ** 1.3)
    table = TABLEAUS["ipndm_v"](sigmas, flow=flow)
    sums = denoised_steps(table)[1].sum(1) / (1 - sigmas[1:] / sigmas[:-1])
    assert float((sums - 1).abs().max()) > 1e-3
    run.tables = ("ipndm_v",)
    teacher = run.trace(accurate_teacher(32, known.sigma_max, flow=flow), keep=8)
    found, end = fit_rows(run, teacher, sigmas, run.fitted[:8], free=free, ridge=1e12)
    assert torch.isfinite(end).all()
    ratio, rows = denoised_steps(found)
    if free:
        for ours, theirs in zip((ratio, rows), denoised_steps(table), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    else:
        even = 1 - sigmas[1:] / sigmas[:-1]
        torch.testing.assert_close(rows.sum(1), even, rtol=0, atol=1e-9)


@pytest.mark.parametrize("flow", [True, False])
@pytest.mark.parametrize("free", [True, False])
def test_the_linearisation_equals_differences_of_whole_runs(flow: bool, free: bool) -> None:
    """Shared prefixes and batches change nothing: J'WJ and J'Wr are those of brute force."""
    run = Run(with_places(problem(flow, fit_count=7, batch=8)))  # two starts in a batch
    space = Space(run.problem.clock, flow)
    run.trace(accurate_teacher(16, TOP[flow], flow=flow))
    known = TABLEAUS["dpmpp_2m"](run.problem.schedules["late"], flow=flow)
    means = TABLEAUS["ab3"](run.problem.schedules["late"], flow=flow)
    raw = from_solver(with_means(known, means), space, free=free, scaled=True)
    along = coordinates.coordinates(raw, 1e-3)
    # progress, scales, rows and start; what the means have beside stays
    assert len(along) == 3 + 4 + (10 + 3 if free else 6)
    calls = run.model_calls
    found = fitting._linearised(run, raw, space, along, run.fitted)
    if free:
        assert run.model_calls - calls == 7 * coordinates.linearisation_calls(4)
    hessian, slope = brute_force(run, raw, space, along)
    size = float(hessian.abs().max())
    # States agree to 1e-14; differences over a step of 2e-4 (progress) keep 1e-9 of it.
    assert torch.allclose(found.hessian, hessian, atol=1e-8 * size)
    assert torch.allclose(found.slope, slope, atol=1e-8 * float(slope.abs().max()))
    assert torch.equal(found.centre, coordinates.values(raw, along))


def brute_force(run: Run, raw: object, space: Space,
                along: list[coordinates.Coordinate]) -> tuple[Tensor, Tensor]:
    """Weighted normal equations from one whole run per coordinate."""
    base = run.ends(to_solver(raw, space), run.fitted)
    target = run.reference_of(run.fitted)
    base, target = base.flatten(1), target.flatten(1)
    size = target.norm(dim=1).square().mean().sqrt()
    columns = []
    for k, coordinate in enumerate(along):
        change = torch.zeros(len(along), dtype=torch.float64)
        change[k] = coordinate.step
        tried = to_solver(coordinates.moved(raw, space, along, change), space)
        there = run.ends(tried, run.fitted)
        columns.append((there.flatten(1) - base) / size / coordinate.step)
    jacobian, residual = torch.stack(columns), (base - target) / size
    weight = 1 / (residual.square().sum(1) + fitting.ROBUST_ERROR ** 2).sqrt()
    hessian = torch.einsum("psd,qsd,s->pq", jacobian, jacobian, weight) / len(residual)
    return hessian, torch.einsum("psd,sd,s->p", jacobian, residual, weight) / len(residual)


def test_a_linearised_coordinate_moves_what_it_names() -> None:
    run = Run(problem(False))
    space = Space(run.problem.clock, False)
    known = TABLEAUS["ab2"](run.problem.schedules["even"], flow=False)
    raw = from_solver(with_means(known, known), space, free=True, scaled=True)
    along = coordinates.coordinates(raw, 1e-3)
    before = to_solver(raw, space)
    for k, coordinate in enumerate(along):
        change = torch.zeros(len(along), dtype=torch.float64)
        change[k] = coordinate.limit
        after = to_solver(coordinates.moved(raw, space, along, change), space)
        moved = (after.sigmas - before.sigmas).abs() > 1e-9
        expected = [coordinate.index[0]] if coordinate.kind == "progress" else []
        assert moved.nonzero().flatten().tolist() == expected
        told = (after.model_sigmas - before.model_sigmas).abs() > 1e-9
        first = told.nonzero().flatten().tolist()
        assert first == ([coordinate.index[0]] if coordinate.kind in ("progress", "scale") else [])
        outputs = (after.weights - before.weights).abs().amax(dim=1) > 1e-9
        touched = outputs.nonzero().flatten().tolist()
        if coordinate.kind == "row":
            assert touched[0] == coordinate.index[0] == coordinate.call - 1
        if coordinate.kind == "scale":
            assert touched == []


def test_the_teachers_end_does_not_depend_on_how_it_is_reached() -> None:
    run = Run(problem())
    long = run.trace(accurate_teacher(64, 1.0, flow=True)).end
    longer = trace(run.denoise(torch.arange(12)), accurate_teacher(128, 1.0, flow=True),
                   run.problem.starts).end
    # Third order: 64 calls leave about 1e-5 of error, eight times that of 128.
    assert float(relative_errors(long, longer).max()) < 1e-3
