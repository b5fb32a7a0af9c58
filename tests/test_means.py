"""Solvers that weigh each channel's mean apart: the engine, the search and the file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from solver_search.canvas import channel_means
from solver_search.clocks import arcsinh_clock, flow_clock
from solver_search.forms import alpha
from solver_search.methods.fit import fit
from solver_search.methods.rows import Apart, fit_rows
from solver_search.metrics import relative_errors
from solver_search.part import part_of
from solver_search.run import Run, search
from solver_search.sample import sample
from solver_search.search import Event, Problem
from solver_search.solver import Solver
from solver_search.tableaus import TABLEAUS

from .pack import load, preset_of
from .problems import Counted, Mixture, mixture
from .searches import SHORT_FIT, TOP, problem, with_means, with_places

ROUNDING = 1e-12  # float64, a few dozen operations


def sigmas_of(flow: bool, steps: int = 5) -> Tensor:
    share = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return share if flow else 14.6 * share ** 3


def apart(flow: bool, rest: str = "ab2", means: str = "dpmpp_3m") -> Solver:
    sigmas = sigmas_of(flow)
    return with_means(TABLEAUS[rest](sigmas, flow=flow), TABLEAUS[means](sigmas, flow=flow))


def start(flow: bool, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return TOP[flow] * torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture(params=[True, False], ids=["flow", "eps"])
def flow(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 3, 2, 2), (2, 3, 7), (2, 3)])
def test_the_loop_is_the_formula_for_the_rest_and_for_the_means(flow: bool,
                                                               shape: tuple[int, ...]) -> None:
    """FORMAT.md: closed form from the start, with a table for each of the two parts."""
    solver, x = apart(flow), start(flow, *shape)
    sigmas, outputs, states = solver.sigmas, [], []
    sample(mixture(flow=flow).denoise, solver, x,
           lambda row, state, denoised: outputs.append(denoised), states=states)
    shares = alpha(sigmas, flow=flow)
    for n, found in enumerate(states[1:]):
        ratio = sigmas[n + 1] / sigmas[0]
        expected = ratio * x
        for j, d in enumerate(outputs[:n + 1]):
            m = channel_means(d)
            both = solver.weights[n, j] * (d - m) + solver.beside["mean_weights"][n, j] * m
            expected = expected + (shares[n + 1] - ratio * shares[0]) * both
        torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_equal_tables_are_the_plain_solver(flow: bool) -> None:
    known = TABLEAUS["deis"](sigmas_of(flow), flow=flow)
    x = start(flow, 2, 3, 4, 4)
    both = [sample(mixture(flow=flow).denoise, s, x) for s in (known, with_means(known, known))]
    torch.testing.assert_close(*both, rtol=ROUNDING, atol=ROUNDING)


def test_an_output_that_only_the_means_read_is_computed() -> None:
    sigmas = sigmas_of(True, 2)
    unread = torch.tensor([[1.0, 0], [1.0, 0]], dtype=torch.float64)
    plain = Solver(sigmas, unread, True)
    both = with_means(plain, TABLEAUS["euler"](sigmas, flow=True))
    for solver, calls in ((plain, 1), (both, 2)):
        counted = Counted(mixture(flow=True).denoise)
        sample(counted, solver, start(True, 1, 2, 3, 3))
        assert (len(counted.points), solver.nfe, solver.steps) == (calls, calls, 2)


@pytest.mark.parametrize("asked", ["piece", "moved piece", "stretched", "placed"])
def test_a_part_of_the_way_takes_both_tables_along(flow: bool, asked: str) -> None:
    solver = apart(flow)
    own, clock = solver.sigmas, flow_clock() if flow else arcsinh_clock(14.6)
    first, last = float(own[1]) * 0.9, float(own[3]) * 0.9
    levels = {"piece": own[2:5], "moved piece": torch.tensor([first, last]).double(),
              "stretched": torch.linspace(first, 0, 6).double(),
              "placed": torch.linspace(first, 0, 8).double()}[asked]
    found = part_of(solver, levels, clock)
    assert found.kind == asked
    if asked == "placed":  # another count: a plain rule, for all
        assert found.solver.beside == {}
        return
    means = part_of(solver.alone("mean_weights"), levels, clock).solver
    assert torch.equal(found.solver.beside["mean_weights"], means.weights)
    assert not torch.equal(found.solver.beside["mean_weights"], found.solver.weights)


@pytest.mark.parametrize("free", [False, True])
def test_row_fitting_recovers_both_tables(flow: bool, free: bool) -> None:
    run = Run(with_places(problem(flow, fit_count=24)))
    sigmas = run.problem.schedules["even"]
    hidden = with_means(TABLEAUS["ab3"](sigmas, flow=flow), TABLEAUS["euler"](sigmas, flow=flow))
    teacher = run.trace(hidden)
    found, end = fit_rows(run, teacher, sigmas, run.fitted, free=free, apart=Apart(means=True),
                          ridge=1e-14)
    if not free:  # free factors and rows can trade: from pure noise, outputs hardly differ
        # Outputs on one trajectory are nearly collinear: normal equations lose half the digits.
        assert torch.allclose(found.weights, hidden.weights, atol=1e-3)
        assert torch.allclose(found.table("mean_weights"), hidden.table("mean_weights"), atol=1e-3)
    assert float(relative_errors(end, teacher.end[run.fitted]).max()) < 1e-6
    alone, _ = fit_rows(run, teacher, sigmas, run.fitted, free=free, ridge=1e-14)
    assert not alone.beside
    errors = [float(run.errors(s, run.held_out).mean()) for s in (found, alone)]
    assert errors[0] < 1e-3 * errors[1]  # one table cannot do what two do


def drawn_apart(flow: bool) -> Problem:
    """Each start's mean is drawn to one Gaussian, the rest to another, 0.3 times as wide."""
    known = with_places(problem(flow, fit_count=16, held_out=8))
    of_mean, of_rest = (Mixture((0.0,), (width,), (1.0,), flow) for width in (0.8, 0.24))

    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        mean = channel_means(x)
        return of_mean.denoise(mean, sigma) + of_rest.denoise(x - mean, sigma)
    return replace(known, denoise=denoise)


def offers(known: Problem, means: bool) -> list[Event]:
    found: list[Event] = []
    search(lambda r: fit(r, replace(SHORT_FIT, means=means)), Run(known, on_event=found.append))
    return [event for event in found if event.solver is not None]


def test_a_search_weighs_means_apart_where_fitted_rows_gain_by_it(flow: bool) -> None:
    ours, plain = (offers(drawn_apart(flow), means) for means in (True, False))
    fitted, alone = (next(e for e in events if e.phase.startswith("rows fitted"))
                     for events in (ours, plain))
    assert "mean_weights" in fitted.solver.beside
    assert "mean_weights" in ours[-1].solver.beside  # refined as such
    assert all(not e.solver.beside for e in plain)
    assert fitted.error < 0.2 * alone.error  # found: 0.02 and 0.03


def test_a_search_leaves_means_where_they_are_all_the_same() -> None:
    """One mixture for all numbers: rows of their own leave 0.994 of the error."""
    found = offers(with_places(problem(False)), True)
    assert all(not e.solver.beside for e in found)


def test_a_state_of_one_place_has_no_means_apart(flow: bool) -> None:
    known = problem(flow)
    found = search(lambda r: fit(r, SHORT_FIT), Run(replace(known, starts=known.starts[:, :1])))
    assert not found.best.beside


def test_a_preset_keeps_both_tables_bit_for_bit() -> None:
    file = load("presets.file")
    both, plain = (preset_of(s, load("presets.preset"))
                   for s in (apart(True), apart(True).without(mean=True)))
    again = file.parse(file.dump(both))
    assert again.id == both.id != plain.id
    assert torch.equal(again.solver.beside["mean_weights"], both.solver.beside["mean_weights"])
    assert b"mean_weights" not in file.dump(plain)
