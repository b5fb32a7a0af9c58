"""The Run every method works in: counts, budgets, stops, failures, the best so far; requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from solver_search import calls as counting
from solver_search.config import EFFORTS, METHODS, SearchConfig
from solver_search.run import MANY, Run, search
from solver_search.search import Budget, Event, SearchError
from solver_search.tableaus import TABLEAUS

from .searches import METHODS_SHORT, finished, problem, with_places


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
    assert torch.equal(measured, run.best_errors[: len(measured)])
    assert geometric(run.best_errors) == run.best_error
    assert run.ended_by == "finished"
    assert run.best_label == next(e.phase for e in offers if e.error == least)


@pytest.mark.parametrize("name", METHODS_SHORT)
def test_a_budget_of_calls_is_never_passed(name: str) -> None:
    whole = finished(name).model_calls
    run = finished(name, budget=Budget(model_calls=whole - 1))
    assert run.model_calls < whole
    assert run.best_error == min(error for _, error in run.curve)
    # All but one plan with what there is.
    paced = name != "gits"
    assert run.ended_by == ("finished" if paced else f"budget of {whole - 1} model calls is spent")
    assert finished(name, budget=Budget(model_calls=whole + 100)).model_calls <= whole


DESCENTS = [name for name, info in METHODS.items() if info.gradient and not info.designer]


@pytest.mark.parametrize(("effort", "steps"), [("quick", 4), ("quick", 8), ("standard", 6)])
@pytest.mark.parametrize("name", DESCENTS)
def test_a_descent_spends_its_effort_and_measures_its_last_iterate(name: str, effort: str,
                                                                    steps: int) -> None:
    config = SearchConfig(steps, name, effort)
    sizes = config.sizes
    run = Run(problem(steps=steps, fit_count=sizes.fit, held_out=sizes.held_out), config.budget)
    events: list[Event] = []
    run.on_event = events.append
    search(lambda run: METHODS[name].run(run, config), run)
    assert run.ended_by == "finished"
    assert 0.8 * sizes.model_calls < run.model_calls <= sizes.model_calls
    last = [e for e in events if e.error is not None][-1]
    done, _, planned = last.phase.rpartition(" ")[2].partition("/")
    assert done == planned
    assert len(run.curve) <= 23  # 20 offers and the starts, phases beside


@pytest.mark.parametrize("steps", [10, 12])
@pytest.mark.parametrize("flow", [True, False])
def test_what_a_quick_search_fits_is_also_measured(flow: bool, steps: int) -> None:
    """Thirty schedules of many steps once spent the budget before any fitted table was offered."""
    quick = SearchConfig(steps, effort="quick")
    few = problem(flow, steps=steps, fit_count=quick.sizes.fit, held_out=quick.sizes.held_out)
    progress = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    known = {f"bent {k}": few.clock.sigma(progress ** (0.7 + k / 50)) for k in range(30)}
    run = Run(replace(with_places(few), schedules=known), quick.budget)
    events: list[Event] = []
    run.on_event = events.append
    search(lambda run: METHODS["fit"].run(run, quick), run)
    assert any(e.phase.startswith("rows fitted on") and e.error is not None for e in events)
    assert run.model_calls <= 1500


@pytest.mark.parametrize("name", [name for name, info in METHODS.items() if not info.designer])
def test_a_quick_search_of_the_most_steps_has_a_solver(name: str) -> None:
    """Trying 30 schedules of 32 steps on two starts each costs more than quick may spend."""
    config = SearchConfig(32, name, "quick")
    few = problem(steps=32, fit_count=config.sizes.fit, held_out=config.sizes.held_out)
    progress = torch.linspace(0, 1, 33, dtype=torch.float64)
    known = {f"bent {k}": few.clock.sigma(progress ** (0.7 + k / 50)) for k in range(30)}
    run = Run(replace(few, schedules=known), config.budget)
    search(lambda run: METHODS[name].run(run, config), run)
    assert run.best.nfe == 32
    assert run.model_calls <= 1500


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each look at the clock takes one second."""
    seconds = count(1)
    monkeypatch.setattr(counting, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    yield


@pytest.mark.parametrize("name", METHODS_SHORT)
def test_a_budget_of_seconds_ends_a_search_with_its_best(name: str, ticking: None) -> None:
    most = 120 if name == "fit" else 60  # fit looks twice at its teacher first
    run = finished(name, budget=Budget(seconds=most), started=0.0)
    assert run.ended_by == f"budget of {most} seconds is spent"
    assert run.best is not None
    assert most < run.seconds <= most + 3  # the clock is read up to thrice around that call
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
    run = search(METHODS_SHORT["fit"], Run(problem(), stop=lambda: True))
    assert run.stopped and run.best is None
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
    assert geometric(run.best_errors) == run.best_error
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
    for name in METHODS:
        assert SearchConfig(6, name).budget == Budget(model_calls=standard.model_calls)


def test_starts_searched_on_count_when_the_best_is_chosen() -> None:
    """Four held-out starts alone choose worse ones where some seeds end elsewhere."""
    run = finished("fit")
    worse = TABLEAUS["euler"](next(iter(run.problem.schedules.values())), flow=run.problem.flow)
    held_out, seen = run.errors(worse, run.held_out), torch.full((64,), 1e-6)
    assert geometric(held_out) > run.best_error
    assert run.offer(worse, "not seen") == geometric(held_out)
    assert run.best_label != "not seen"
    assert run.offer(worse, "seen", searched=seen) == geometric(torch.cat([held_out, seen]))
    assert run.best_label == "seen"


def test_one_start_that_ends_elsewhere_does_not_choose_alone() -> None:
    run = finished("fit")
    own = run.errors(run.best, run.held_out)
    even, lost = own.new_full((8,), 0.1), own.new_tensor([0.05] * 7 + [1.0])
    assert lost.mean() > even.mean()
    run.best_error = float("inf")
    worse = run.offer(run.best, "even", searched=even)
    assert run.offer(run.best, "better on all but one", searched=lost) < worse
    assert run.best_label == "better on all but one"


def test_on_many_starts_the_mean_chooses() -> None:
    run, errors = finished("fit"), torch.tensor([0.05, 0.05, 2.0])
    few, starts = run.counted(errors), run.problem.starts
    run.problem = replace(run.problem, starts=starts.repeat(1 + MANY // len(starts), 1))
    assert few == geometric(errors)
    assert run.counted(errors) == float(errors.mean())


def geometric(errors: torch.Tensor) -> float:
    return float(errors.log().mean().exp())
