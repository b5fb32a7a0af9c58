"""Clocks (progress <-> sigma) and the one map from raw numbers to a solver and back."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from solver_search.bases import BASIS
from solver_search.begin import from_solver
from solver_search.clocks import arcsinh_clock, flow_clock, time_clock
from solver_search.parameters import Parameters, Space, to_solver, uniform_parameters
from solver_search.solver import Solver, SolverError
from solver_search.tableaus import TABLEAUS

TABLE = torch.logspace(-1.5, 1.16, 1000, dtype=torch.float64)  # about SD1.5's range
CLOCKS = {
    "flow": (flow_clock(), 1.0),
    "flow, shift 3": (flow_clock(3.0), 1.0),
    "eps": (arcsinh_clock(14.6), 14.6),
    "zero terminal SNR": (arcsinh_clock(4518.8), 4518.8),
    "model time": (time_clock(TABLE), float(TABLE[-1])),
}
SPACES = {
    "flow, direction": Space(flow_clock(), True, "direction"),
    "flow, denoised": Space(flow_clock(3.0), True),
    "eps, direction": Space(arcsinh_clock(14.6), False, "direction"),
    "eps, denoised": Space(arcsinh_clock(14.6), False),
    "eps, model time": Space(time_clock(TABLE), False, floor=0.02),
}


def doubles(*shape: int, seed: int = 0, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_undoes_itself_from_either_side(name: str) -> None:
    clock, top = CLOCKS[name]
    progress = torch.linspace(0, 0.998, 500, dtype=torch.float64)
    sigmas = clock.sigma(progress)
    # Float64 rounding; near sigma_max 4518 a rounding of sinh costs six more digits of nothing.
    assert torch.allclose(clock.progress(sigmas), progress, atol=1e-10)
    assert torch.allclose(clock.sigma(clock.progress(sigmas)), sigmas, rtol=1e-9)
    assert float(sigmas[0]) == pytest.approx(top, rel=1e-12)
    ends = torch.tensor([0.0, top], dtype=torch.float64)
    assert torch.allclose(clock.progress(ends), torch.tensor([1.0, 0.0]).double(), atol=1e-12)
    assert float(clock.sigma(torch.ones(1, dtype=torch.float64))) == 0


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_only_goes_forward(name: str) -> None:
    clock, top = CLOCKS[name]
    last = 1 - 1 / len(TABLE)  # model time stands at the first entry before it falls to 0
    sigmas = clock.sigma(torch.linspace(0, last, 3001, dtype=torch.float64))
    assert (sigmas.diff() < 0).all()
    assert (clock.sigma(torch.linspace(last, 1, 50, dtype=torch.float64)).diff() <= 0).all()
    levels = torch.logspace(-1.4, 1, 500, dtype=torch.float64).clamp(max=top).unique()
    assert (clock.progress(levels).diff() < 0).all()


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_has_right_slopes(name: str) -> None:
    clock, _ = CLOCKS[name]
    # Between the knots of a table: at a knot the slope jumps.
    inside = (torch.tensor([30.0, 250.0, 700.0, 900.0], dtype=torch.float64) + 0.4) / 1000
    for move, at in ((clock.sigma, inside), (clock.progress, clock.sigma(inside))):
        at = at.clone().requires_grad_()
        slope, = torch.autograd.grad(move(at).sum(), at)
        step = 1e-6 * at.detach()
        measured = (move(at + step) - move(at - step)).detach() / (2 * step)
        assert torch.allclose(slope, measured, rtol=1e-6, atol=0)  # error of differences


@pytest.mark.parametrize("zero_snr", [False, True])
def test_model_time_is_comfyuis(comfy: ModuleType, zero_snr: bool) -> None:
    sampling = comfy.model_sampling.ModelSamplingDiscrete(zsnr=zero_snr)
    count = len(sampling.sigmas)
    times = torch.arange(count, dtype=torch.float64)
    clock = time_clock(sampling.sigmas)
    between = torch.tensor([0.5, 3.25, 511.75, 998.5], dtype=torch.float64)
    for t in (times, between):
        ours = clock.sigma((count - 1 - t) / count)
        theirs = sampling.sigma(t.float()).double()
        assert torch.allclose(ours, theirs, rtol=2e-6)  # its logarithms, up to 8.4, are float32
    back = clock.progress(sampling.sigmas.double())
    assert torch.allclose(count - 1 - count * back, times, atol=1e-6)  # float64 rounding


@pytest.mark.parametrize("name", SPACES)
def test_zeros_are_euler_with_equal_progress(name: str) -> None:
    space = replace(SPACES[name], floor=0.0)
    solver = to_solver(uniform_parameters(6), space)
    expected = space.clock.sigma(torch.linspace(0, 1, 7, dtype=torch.float64))
    assert torch.allclose(solver.sigmas, expected, atol=1e-12)
    euler = TABLEAUS["euler"](expected, flow=space.flow)
    assert torch.allclose(solver.weights, euler.weights, atol=1e-12)
    assert solver.consistent
    assert solver.model_sigmas is None


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", ["flow, denoised", "eps, denoised"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("means", [False, True])
def test_numbers_survive_the_way_to_a_solver_and_back(name: str, free: bool, scaled: bool,
                                                      means: bool) -> None:
    space = SPACES[name]
    raw = Parameters(doubles(5), doubles(5, 5, seed=1, size=0.3),
                     doubles(5, seed=2, size=0.2) if free else None,
                     doubles(5, seed=3, size=0.2) if scaled else None,
                     {"mean_weights": doubles(5, 5, seed=4, size=0.3)} if means else {})
    solver = to_solver(raw, space)
    again = from_solver(solver, space)
    kinds = (again.start is None, again.scales is None, not again.beside)
    assert kinds == (not free, not scaled, not means)
    closed = to_solver(again, space)
    assert solver.tensors.keys() == closed.tensors.keys()
    for part in solver.tensors.keys() - {"start"}:  # float64 recursions
        assert torch.allclose(solver.tensors[part], closed.tensors[part], atol=1e-9)
    if free:  # the last step forgets the state: its factor stands for nothing
        assert torch.allclose(solver.start[:-1], closed.start[:-1], atol=1e-9)
    gaps = raw.steps - raw.steps.logsumexp(0)
    assert torch.allclose(again.steps - again.steps.logsumexp(0), gaps, atol=1e-8)
    inside = torch.ones(5, 5).tril(0 if free else -1).bool()
    assert torch.allclose(again.rows[inside], raw.rows[inside], atol=1e-8)
    if means:
        assert torch.allclose(again.beside["mean_weights"][inside],
                              raw.beside["mean_weights"][inside], atol=1e-8)


def test_free_numbers_start_at_the_consistent_solver() -> None:
    space = SPACES["eps, denoised"]
    sigmas = space.clock.sigma(torch.linspace(0, 1, 6, dtype=torch.float64))
    solver = TABLEAUS["deis"](sigmas, flow=False)
    raw = from_solver(solver, space, free=True, scaled=True)
    # deis rows sum to 1 within 2e-7 here (numeric integrals), and free rows keep that.
    assert torch.allclose(raw.start, torch.zeros(5).double(), atol=1e-12)
    assert torch.allclose(raw.rows.diagonal(), torch.zeros(5).double(), atol=1e-6)
    opened = to_solver(raw, space)
    assert torch.allclose(opened.weights, solver.weights, atol=1e-10)
    assert torch.allclose(opened.model_sigmas, sigmas[:-1], atol=1e-10)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_the_map_has_right_gradients(name: str, free: bool) -> None:
    space = SPACES[name]
    if free and space.form == "direction":
        return
    kind = Parameters(doubles(4, size=0.5), doubles(4, 4, seed=1, size=0.2),
                      doubles(4, seed=2, size=0.1) if free else None,
                      doubles(4, seed=3, size=0.1),
                      {} if space.form == "direction" else {
                          name: doubles(4, 4, seed=4 + i, size=0.2)
                          for i, name in enumerate(BASIS)})
    raw = kind.tensors()

    def numbers(*tensors: Tensor) -> tuple[Tensor, ...]:
        made = to_solver(kind.with_tensors(list(tensors)), space)
        return tuple(made.tensors.values())

    assert torch.autograd.gradcheck(numbers, [t.requires_grad_() for t in raw])


@pytest.mark.parametrize("floor", [0.01, 0.05, 0.2])
def test_no_gap_falls_below_the_floor(floor: float) -> None:
    space = Space(flow_clock(), True, floor=floor)
    for logits in (doubles(4, size=3.0), torch.tensor([60.0, -60.0, 0.0, -60.0]).double()):
        raw = replace(uniform_parameters(4), steps=logits)
        gaps = flow_clock().progress(to_solver(raw, space).sigmas).diff()
        assert float(gaps.min()) >= floor - 1e-12  # float64 rounding
        assert float(gaps.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("change", "space", "sentence"), [
    ({"start": torch.zeros(3).double()}, Space(flow_clock(), True, "direction"),
     "need the denoised form, found the direction form"),
    ({"beside": {"mean_weights": torch.zeros(3, 3).double()}},
     Space(flow_clock(), True, "direction"),
     "need the denoised form, found the direction form"),
    ({"start": torch.full((3,), 5.0).double()}, Space(flow_clock(), True), "start must lie in"),
    ({"rows": torch.full((3, 3), 3e4).double()}, Space(flow_clock(), True), "within 10000"),
    ({"steps": torch.tensor([0.0, float("nan"), 0.0]).double()}, Space(flow_clock(), True),
     "holds NaN or infinity"),
])
def test_numbers_out_of_bounds_are_refused_in_words(change: dict, space: Space,
                                                    sentence: str) -> None:
    with pytest.raises(SolverError, match=sentence):
        to_solver(replace(uniform_parameters(3), **change), space)


def euler(*sigmas: float, flow: bool = True) -> Solver:
    return TABLEAUS["euler"](torch.tensor(sigmas, dtype=torch.float64), flow=flow)


@pytest.mark.parametrize(("solver", "sentence"), [
    (TABLEAUS["heun"](torch.tensor([1.0, 0.5, 0.0]).double(), flow=True), "inner stages"),
    (euler(1.0, 0.5, 0.1), "must end at 0"),
    (euler(0.9, 0.5, 0.0), "must begin at the clock's first sigma"),
])
def test_a_search_cannot_start_from_what_the_map_cannot_say(solver: Solver,
                                                            sentence: str) -> None:
    with pytest.raises(SolverError, match=sentence):
        from_solver(solver, Space(flow_clock(), True))


def test_parameters_keep_their_kind() -> None:
    full = Parameters(*(doubles(*shape) for shape in ((3,), (3, 3), (3,), (3,))))
    for raw in (full, replace(full, start=None), replace(full, scales=None),
                replace(full, start=None, scales=None)):
        doubled = raw.with_tensors([2 * t for t in raw.tensors()])
        assert (doubled.start is None, doubled.scales is None) == (raw.start is None,
                                                                   raw.scales is None)
        assert all(torch.equal(two, 2 * one)
                   for one, two in zip(raw.tensors(), doubled.tensors(), strict=True))
