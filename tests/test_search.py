"""What a search promises: its book-keeping, how it ends, and that its algebra is exact.

That it finds better solvers is in test_searching.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from solver_search import search as searching
from solver_search.clocks import arcsinh_clock, flow_clock
from solver_search.config import EFFORTS, METHODS, SearchConfig
from solver_search.forms import denoised_steps
from solver_search.methods import dss as learning
from solver_search.methods import refine as fitting
from solver_search.methods.dlms import DlmsSettings, dlms
from solver_search.methods.dss import DssSettings, beyond_paper, dss
from solver_search.methods.fit import FitSettings, fit
from solver_search.methods.gits import GitsSettings, gits
from solver_search.methods.rows import fit_rows
from solver_search.methods.s4s import S4SSettings, s4s
from solver_search.metrics import relative_errors
from solver_search.parameters import Space, from_solver, to_solver, uniform_parameters
from solver_search.search import Budget, Event, Method, Problem, Run, SearchError, search
from solver_search.tableaus import TABLEAUS
from solver_search.teacher import Trajectory, accurate_teacher, trace

from .problems import gaussian, gaussian_solution, mixture

TOP = {True: 1.0, False: 14.6}
SHORT_FIT = FitSettings(teacher_calls=16, starts=1, iterations=2, screened=2, part=1)
SHORT_DSS = DssSettings(iterations=6, batch=4, teacher_calls=16, offers=3)
SHORT_S4S = S4SSettings(iterations=6, batch=4, teacher_calls=16, offers=3)
METHODS_SHORT: dict[str, Method] = {
    "fit": lambda run: fit(run, SHORT_FIT),
    "dss": lambda run: dss(run, SHORT_DSS),
    "dss, beyond": lambda run: dss(run, replace(beyond_paper(SHORT_DSS), teacher_calls=16)),
    "s4s": lambda run: s4s(run, SHORT_S4S),
    "s4s_alt": lambda run: s4s(run, replace(SHORT_S4S, alternations=2)),
    "dlms": lambda run: dlms(run, DlmsSettings(iterations=6, batch=4, teacher_calls=16, offers=3)),
    "gits": lambda run: gits(run, GitsSettings(teacher_calls=50)),
}


def each_own(flow: bool, calls: list[int] | None = None) -> Callable[..., Tensor]:
    """A mixture of Gaussians whose picture is shifted by its start's number: its own prompt."""
    known = mixture(flow=flow)

    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        if calls is not None:
            calls.append(len(x))
        sigma = sigma.reshape(-1).expand(len(x))
        offset = (0.05 * items.to(x.dtype)).view(-1, 1)
        share = (1 - sigma).view(-1, 1) if flow else 1.0
        return offset + known.denoise(x - share * offset, sigma)
    return denoise


def problem(flow: bool = True, *, steps: int = 4, fit_count: int = 8, held_out: int = 4,
            batch: int = 64, calls: list[int] | None = None,
            denoise: Callable[..., Tensor] | None = None) -> Problem:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(fit_count + held_out, 5, generator=generator, dtype=torch.float64)
    clock = flow_clock() if flow else arcsinh_clock(TOP[False])
    progress = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    known = {"even": clock.sigma(progress), "late": clock.sigma(progress ** 0.8)}
    return Problem(denoise or each_own(flow, calls), TOP[flow] * noise, fit_count, flow, TOP[flow],
                   known, clock, clock, batch=batch)


def finished(name: str, *, flow: bool = True, **changes: object) -> Run:
    return search(METHODS_SHORT[name], Run(problem(flow), **changes))


@pytest.mark.parametrize("name", METHODS_SHORT)
@pytest.mark.parametrize("flow", [True, False])
def test_every_call_is_counted_and_equal_seeds_give_equal_bytes(name: str, flow: bool) -> None:
    calls: list[int] = []
    told: list[int] = []
    run = search(METHODS_SHORT[name], Run(problem(flow, calls=calls), on_call=told.append))
    counted = run.model_calls
    again = finished(name, flow=flow)
    assert counted == sum(calls) == told[-1] == again.model_calls  # backward's calls included
    assert told == sorted(told)
    for part in ("sigmas", "weights", "start", "model_sigmas"):
        one, two = getattr(run.best, part), getattr(again.best, part)
        assert one is two is None or one.numpy().tobytes() == two.numpy().tobytes()
    assert run.curve == again.curve


@pytest.mark.parametrize("name", METHODS_SHORT)
@pytest.mark.parametrize("flow", [True, False])
def test_the_best_is_the_least_of_all_offers_on_held_out_starts(name: str, flow: bool) -> None:
    events: list[Event] = []
    run = finished(name, flow=flow, on_event=events.append)
    offers = [e for e in events if e.solver is not None]
    assert [(e.model_calls, e.error) for e in offers] == run.curve
    least = float("inf")
    for event in offers:
        assert event.improved == (event.error < least)
        least = min(least, event.error)
        assert event.best == least
        assert event.picture.shape == (1, 5)
        assert not event.solver.weights.requires_grad
    assert run.best_error == least <= run.curve[0][1]
    measured = run.errors(run.best, run.held_out)
    assert torch.equal(measured, run.best_errors)
    assert float(measured.mean()) == run.best_error
    assert run.ended_by == "finished"
    assert run.best_label == next(e.phase for e in offers if e.error == least)


@pytest.mark.parametrize("name", METHODS_SHORT)
def test_a_budget_of_calls_is_never_passed(name: str) -> None:
    whole = finished(name).model_calls
    run = finished(name, budget=Budget(model_calls=whole - 1))
    assert run.ended_by == f"budget of {whole - 1} model calls is spent"
    assert run.model_calls < whole
    assert run.best_error == min(error for _, error in run.curve)
    assert finished(name, budget=Budget(model_calls=whole)).ended_by == "finished"


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at the clock takes one second."""
    seconds = count(1)
    monkeypatch.setattr(searching, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    yield


@pytest.mark.parametrize("name", METHODS_SHORT)
def test_a_budget_of_seconds_ends_a_search_with_its_best(name: str, ticking: None) -> None:
    run = finished(name, budget=Budget(seconds=60), started=0.0)
    assert run.ended_by == "budget of 60 seconds is spent"
    assert run.best is not None
    assert 60 < run.seconds <= 63  # the clock is read twice or thrice around the refused call
    assert run.seconds == run.seconds  # and stands still after the end


@pytest.mark.parametrize("name", METHODS_SHORT)
def test_stop_is_asked_before_every_call(name: str) -> None:
    calls: list[int] = []
    run = Run(problem(calls=calls))
    run.stop = lambda: len(run.curve) >= 2
    made: list[int] = []
    run.on_event = lambda event: made.append(len(calls)) if len(run.curve) == 2 else None
    search(METHODS_SHORT[name], run)
    assert run.ended_by == "stopped by the user"
    assert len(run.curve) == 2
    assert len(calls) == made[0]  # not one more


def test_a_search_stopped_before_its_first_solver_says_so() -> None:
    run = Run(problem(), stop=lambda: True)
    with pytest.raises(SearchError, match="before it had any solver: stopped by the user"):
        search(METHODS_SHORT["fit"], run)
    assert run.ended is not None
    assert run.model_calls == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("name", METHODS_SHORT)
def test_foreign_exceptions_pass_at_once_and_leave_the_best(name: str,
                                                            error: type[BaseException]) -> None:
    run = Run(problem())
    after: list[int] = []

    def break_after_two_offers(calls: int) -> None:
        if len(run.curve) >= 2:
            after.append(calls)
            raise error

    run.on_call = break_after_two_offers
    with pytest.raises(error):
        search(METHODS_SHORT[name], run)
    assert len(after) == 1
    assert run.best_error == min(e for _, e in run.curve)
    assert float(run.best_errors.mean()) == run.best_error
    assert run.ended is not None


@pytest.mark.parametrize("late", range(1, 9))
def test_a_cancel_during_the_backward_pass_is_itself(late: int) -> None:
    """ComfyUI cancels by a BaseException from a model call; backward passes make calls, too."""
    class Cancelled(BaseException):
        pass

    run = Run(problem())
    graded = 0

    def cancel(calls: int) -> None:
        nonlocal graded
        graded += torch.is_grad_enabled() and len(run.curve) == 2
        if graded == late:
            raise Cancelled

    run.on_call = cancel
    with pytest.raises(Cancelled):
        search(METHODS_SHORT["dss"], run)
    assert run.best is not None


@pytest.mark.parametrize("name", METHODS_SHORT)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_model_is_a_sentence_and_leaves_the_best(name: str, value: float) -> None:
    run = Run(problem())
    sound = run.problem.denoise

    def breaks(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        denoised = sound(x, sigma, items)
        return torch.full_like(denoised, value) if len(run.curve) >= 2 else denoised

    run.problem = replace(run.problem, denoise=breaks)
    with pytest.raises(SearchError, match="NaN or infinity at sigma .* is kept"):
        search(METHODS_SHORT[name], run)
    assert run.best_error == min(e for _, e in run.curve)


def test_batches_keep_each_start_its_own_items_and_sigma() -> None:
    sizes: list[int] = []
    small = Run(problem(batch=3, calls=sizes))
    x, items = small.problem.starts, torch.arange(12).flip(0)
    sigma = torch.linspace(0.2, 0.9, 12, dtype=torch.float64)
    together = small.call(x, sigma, items)
    assert sizes == [3, 3, 3, 3]
    assert small.model_calls == 12
    whole = small.problem.denoise(x, sigma, items)
    assert torch.allclose(together, whole, atol=1e-14)  # exp of 15 or of 60 numbers at once
    same = small.call(x, torch.tensor(0.4).double(), items)
    assert torch.allclose(same, small.problem.denoise(x, torch.tensor(0.4).double(), items),
                          atol=1e-14)
    assert not torch.equal(together, small.call(x, sigma, items.flip(0)))


def test_errors_need_a_teacher_first() -> None:
    run = Run(problem())
    with pytest.raises(SearchError, match="call trace"):
        run.errors(TABLEAUS["euler"](run.problem.schedules["even"], flow=True), run.held_out)


@pytest.mark.parametrize("flow", [True, False])
def test_dss_has_no_loss_where_its_start_is_its_teacher(flow: bool) -> None:
    run = Run(problem(flow))
    settings = replace(SHORT_DSS, teacher_calls=4)
    space = learning._space(run, settings)
    teacher = run.trace(learning._teacher(run, settings))
    mask = torch.ones(4, 4, dtype=torch.float64).tril(-1)
    loss = learning._loss(run, teacher, space, mask, settings)
    raw = uniform_parameters(4)
    # Float64 rounding, squared on the path and times 500 inside the Huber's square.
    assert float(loss(raw, run.fitted).detach()) < 1e-20
    other = replace(raw, steps=torch.arange(4).double() / 9)
    assert float(loss(other, run.fitted).detach()) > 1e-3


def test_dss_meets_the_teacher_where_its_own_steps_are() -> None:
    """Interpolated targets: at the sigmas visited; published ones: the nearest by progress."""
    run = Run(problem())
    raw = replace(uniform_parameters(4), steps=torch.tensor([0.3, -0.4, 0.2, 0.1]).double())
    for settings in (SHORT_DSS, beyond_paper(SHORT_DSS)):
        space = learning._space(run, settings)
        teacher = run.trace(accurate_teacher(16, 1.0, flow=True))
        sigmas = to_solver(raw, space).sigmas[1:]
        targets = learning._targets(teacher, to_solver(raw, space), space, run.fitted, settings)
        for sigma, target in zip(sigmas[:-1], targets, strict=False):
            expected = (teacher.at(float(sigma)) if settings.interpolate
                        else teacher.states[round(16 * (1 - float(sigma)))])
            assert torch.equal(target, expected[run.fitted])
        assert torch.equal(targets[-1], teacher.end[run.fitted])


class _Weaker(torch.autograd.Function):
    """Right values, but 0.6 of the gradient: an operation that drops a path."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return 0.6 * gradient


def drops_state(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
    return each_own(False)(_Weaker.apply(x), sigma, items)


def drops_time(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
    return each_own(False)(x, sigma.detach(), items)


@pytest.mark.parametrize("name", ["dss", "s4s_alt", "dlms"])
@pytest.mark.parametrize("denoise", [drops_state, drops_time])
def test_a_dropped_path_is_found_before_the_first_step(denoise: Callable[..., Tensor],
                                                       name: str) -> None:
    run = Run(problem(False, denoise=denoise))
    with pytest.raises(SearchError, match="gradient is wrong.*Use the method 'fit'"):
        search(METHODS_SHORT[name], run)
    assert len(run.curve) == (2 if name == "dlms" else 1)  # its starts only
    assert search(METHODS_SHORT["fit"], Run(problem(False, denoise=denoise))).best is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["dss", "dss, beyond", "s4s", "s4s_alt", "dlms"])
@pytest.mark.parametrize("flow", [True, False])
def test_a_right_gradient_passes_the_spot_check(flow: bool, name: str, dtype: torch.dtype) -> None:
    chosen = problem(flow)
    run = search(METHODS_SHORT[name], Run(replace(chosen, starts=chosen.starts.to(dtype))))
    assert run.ended_by == "finished"
    assert run.best.weights.dtype == torch.float64


def test_the_defaults_are_the_published_search() -> None:
    """arXiv 2505.21114: Lion at 0.01, a teacher of 100 Euler steps in uniform time."""
    published = DssSettings()
    added = {"accurate_teacher", "interpolate", "floor", "decay", "average", "learn_model_sigmas"}
    assert not any(getattr(published, name) for name in added)
    assert (published.learning_rate, published.teacher_calls, published.cap_order) == (
        0.01, 100, True)
    assert published.batch == 8
    teacher = learning._teacher(Run(problem()), published)
    assert torch.allclose(teacher.sigmas, torch.linspace(1, 0, 101, dtype=torch.float64))
    assert teacher.order == 1
    changed = {f.name for f in fields(published)
               if getattr(published, f.name) != getattr(beyond_paper(published), f.name)}
    assert changed == {*added, "cap_order", "teacher_calls"}
    rates = [learning._rate(published, i) for i in (1, 200, 400)]
    assert rates == [0.01] * 3


@pytest.mark.parametrize(("steps", "used"), [
    (2, [0, 1]), (3, [0, 1, 1]), (4, [0, 1, 1, 1]), (6, [0, 1, 2, 3, 1, 1]),
    (7, [0, 1, 2, 3, 4, 5, 6]),
])
def test_the_last_two_rows_of_few_steps_look_back_once(steps: int, used: list[int]) -> None:
    """As the released code: rows N-2 and N-1 keep one earlier output when N <= 6."""
    mask = learning._row_mask(steps, cap=True)
    kept = [[j for j in range(steps) if mask[n, j]] for n in range(steps)]
    assert [len(row) for row in kept] == used
    assert all(row == list(range(n - len(row), n)) for n, row in enumerate(kept))
    free = learning._row_mask(steps, cap=False)
    assert torch.equal(free, torch.ones(steps, steps, dtype=torch.float64).tril(-1))


def test_the_learning_rate_falls_to_zero_along_a_cosine() -> None:
    settings = replace(DssSettings(), decay=True, iterations=100)
    rates = [learning._rate(settings, i) for i in (1, 50, 100)]
    assert rates == pytest.approx([0.01, 0.005, 0.0], abs=1e-5)  # the first is one step in


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
def test_the_linearisation_equals_differences_of_whole_runs(flow: bool, free: bool) -> None:
    """Shared prefixes and batches change nothing: J'WJ and J'Wr are those of brute force."""
    run = Run(problem(flow, fit_count=7, batch=8))  # two starts per linearised batch
    space = Space(run.problem.clock, flow)
    run.trace(accurate_teacher(16, TOP[flow], flow=flow))
    raw = from_solver(TABLEAUS["dpmpp_2m"](run.problem.schedules["late"], flow=flow), space,
                      free=free, scaled=True)
    along = fitting.coordinates(raw, fitting._progress(raw), 1e-3)
    assert len(along) == 3 + 4 + (10 + 3 if free else 6)  # progress, scales, rows and start
    calls = run.model_calls
    found = fitting._linearised(run, raw, space, along, run.fitted)
    if free:
        assert run.model_calls - calls == 7 * fitting.linearisation_calls(4)
    hessian, slope = brute_force(run, raw, space, along)
    size = float(hessian.abs().max())
    # States agree to 1e-14; differences over a step of 2e-4 (progress) keep 1e-9 of it.
    assert torch.allclose(found.hessian, hessian, atol=1e-8 * size)
    assert torch.allclose(found.slope, slope, atol=1e-8 * float(slope.abs().max()))
    assert torch.equal(found.centre, fitting._values(raw, along))


def brute_force(run: Run, raw: object, space: Space,
                along: list[fitting.Coordinate]) -> tuple[Tensor, Tensor]:
    """Weighted normal equations from one whole run per coordinate."""
    base = run.ends(to_solver(raw, space), run.fitted)
    target = run.reference_of(run.fitted)
    size = target.norm(dim=1).square().mean().sqrt()
    columns = []
    for k, coordinate in enumerate(along):
        change = torch.zeros(len(along), dtype=torch.float64)
        change[k] = coordinate.step
        there = run.ends(to_solver(fitting.moved(raw, space, along, change), space), run.fitted)
        columns.append((there - base) / size / coordinate.step)
    jacobian, residual = torch.stack(columns), (base - target) / size
    weight = 1 / (residual.square().sum(1) + fitting.ROBUST_ERROR ** 2).sqrt()
    hessian = torch.einsum("psd,qsd,s->pq", jacobian, jacobian, weight) / len(residual)
    return hessian, torch.einsum("psd,sd,s->p", jacobian, residual, weight) / len(residual)


def test_a_linearised_coordinate_moves_what_it_names() -> None:
    run = Run(problem(False))
    space = Space(run.problem.clock, False)
    raw = from_solver(TABLEAUS["ab2"](run.problem.schedules["even"], flow=False), space, free=True,
                      scaled=True)
    along = fitting.coordinates(raw, fitting._progress(raw), 1e-3)
    before = to_solver(raw, space)
    for k, coordinate in enumerate(along):
        change = torch.zeros(len(along), dtype=torch.float64)
        change[k] = coordinate.limit
        after = to_solver(fitting.moved(raw, space, along, change), space)
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


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"method": "magic"}, "method must be one of fit, dss, .* found 'magic'"),
    ({"effort": "huge"}, "effort must be one of quick, standard, thorough, found 'huge'"),
    ({"steps": 1}, "steps must be 2 to 32, found 1"),
    ({"steps": 33}, "steps must be 2 to 32, found 33"),
])
def test_a_request_that_cannot_be_is_refused_in_words(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SearchConfig(**{"steps": 6, **changes})


def test_efforts_rise_and_methods_say_what_they_are() -> None:
    quick, standard, thorough = (EFFORTS[name] for name in ("quick", "standard", "thorough"))
    for field in fields(quick):
        values = [getattr(e, field.name) for e in (quick, standard, thorough)]
        assert values == sorted(values), field.name
    assert {name for name, m in METHODS.items() if not m.gradient} == {"fit", "gits"}
    assert list(METHODS)[0] == SearchConfig(6).method
    assert SearchConfig(6).budget == Budget(model_calls=standard.model_calls)
    assert SearchConfig(6, "dss").budget == Budget()
