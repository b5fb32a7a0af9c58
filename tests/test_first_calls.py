"""At the starts the model is asked once, whoever begins there; a checked teacher is not run twice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from solver_search import first_calls, settled
from solver_search.config import SearchConfig
from solver_search.family import begun_from
from solver_search.methods.fit import fit
from solver_search.run import Run, search
from solver_search.search import Budget, Problem
from solver_search.settled import CHECKED, checked_teacher
from solver_search.tableaus import TABLEAUS

from .searches import METHODS_SHORT, SHORT_FIT, problem

Asked = Counter[tuple[bytes, float, int]]


def watched(known: Problem) -> tuple[Problem, Asked]:
    """The problem, and how often its model is asked each question."""
    asked: Asked = Counter()

    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        levels = sigma.detach().expand(len(x))
        for row, level, item in zip(x.detach(), levels, items, strict=True):
            asked[row.numpy().tobytes(), float(level), int(item)] += 1
        return known.denoise(x, sigma, items)
    return replace(known, denoise=denoise), asked


def at_the_starts(known: Problem, asked: Asked) -> Asked:
    """Questions at a start, told its noise level."""
    starts = {row.numpy().tobytes() for row in known.starts}
    return Counter({key: count for key, count in asked.items()
                    if key[0] in starts and key[1] == known.sigma_max})


@pytest.mark.parametrize("name", ["fit", "gits"])  # others learn the level that is told
def test_a_search_asks_once_at_each_start(name: str) -> None:
    known, asked = watched(problem(batch=5))
    run = search(METHODS_SHORT[name], Run(known))
    own = at_the_starts(known, asked)
    assert len(own) == len(known.starts) and set(own.values()) == {1}
    assert run.model_calls == sum(asked.values())


@pytest.mark.parametrize("guided", [False, True])
def test_what_is_found_is_the_same_for_fewer_calls(guided: bool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the budget is no bound. In float64, other batches are added in another order."""
    def found() -> Run:
        known = problem(batch=5)
        newest: list[Tensor] = [torch.zeros(0)]

        def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
            answer = known.denoise(x, sigma, items)
            newest[0] = 0.3 * torch.tanh(answer) * sigma.reshape(-1).expand(len(x))[:, None]
            return answer + newest[0]

        wanted = replace(known, denoise=denoise, guidance=lambda: newest[0]) if guided else known
        return search(METHODS_SHORT["fit"], Run(wanted))

    once = found()
    monkeypatch.setattr(first_calls, "MOST_BYTES", 0)
    monkeypatch.setattr(settled, "MOST_HELD", 0)
    again = found()
    assert once.first is not None and again.first is None
    assert once.model_calls < 0.9 * again.model_calls
    assert once.best_label == again.best_label
    assert [e for _, e in once.curve] == pytest.approx([e for _, e in again.curve], rel=1e-9)
    for name, values in again.best.tensors.items():
        assert torch.allclose(once.best.tensors[name], values, atol=1e-9), name


def test_the_next_of_a_family_asks_nothing_at_the_starts() -> None:
    known, asked = watched(problem())
    first = search(lambda run: fit(run, SHORT_FIT), Run(known))
    asked.clear()
    search(lambda run: fit(run, SHORT_FIT), begun_from(first, problem(steps=6).schedules,
                                                       Budget()))
    assert asked and not at_the_starts(known, asked)


def test_another_question_is_asked() -> None:
    known, asked = watched(problem())
    run = Run(known)
    run.begin()
    top, items = torch.tensor(known.sigma_max).double(), torch.tensor([2, 5])
    x = known.starts[items]
    exact = known.denoise(x, top, items)
    spent = run.model_calls
    asked.clear()
    assert torch.allclose(run.call(x, top, items), exact) and not asked
    assert torch.allclose(run.call(x, top.expand(2), items), exact) and not asked
    learned = top.clone().requires_grad_()
    assert run.call(x, learned, items).requires_grad
    assert run.call(x.clone().requires_grad_(), top, items).requires_grad
    for others in ((x, 0.9 * top, items), (0.9 * x, top, items), (x, top, items.flip(0)),
                   (x, torch.stack([top, 0.9 * top]), items)):
        run.call(*others)
    assert run.model_calls == spent + 6 * 2


def test_features_are_those_of_a_call() -> None:
    run = Run(replace(problem(), feature=lambda: torch.zeros(1)))
    run.begin()
    assert run.first is None and run.model_calls == 0


def test_a_checked_teacher_goes_on_where_it_was_checked() -> None:
    known, asked = watched(problem())
    run = Run(known)
    run.begin()
    euler = TABLEAUS["euler"](known.schedules["even"], flow=True)
    teacher = checked_teacher(run, 12, [euler])
    spent = run.model_calls
    trajectory = run.trace(teacher, keep=CHECKED + 1)
    rest = len(known.starts) - CHECKED
    assert run.model_calls == spent + rest * (teacher.nfe - 1)
    fresh = Run(problem())
    exact = fresh.trace(teacher, keep=CHECKED + 1)
    for name in ("states", "directions"):  # other batches are added in another order
        assert torch.allclose(getattr(trajectory, name), getattr(exact, name), atol=1e-12)
    assert torch.allclose(run.reference, fresh.reference, atol=1e-12)
    assert torch.allclose(run.sizes, fresh.sizes, atol=1e-12)


def test_more_trajectories_than_asked_for_are_no_harm() -> None:
    run = Run(problem())
    euler = TABLEAUS["euler"](run.problem.schedules["even"], flow=True)
    teacher = checked_teacher(run, 12, [euler])
    assert run.trace(teacher, keep=1).end.shape[0] == CHECKED
    assert torch.equal(run.trace(teacher, keep=1).end, run.reference[:CHECKED])


@pytest.mark.parametrize("steps", [5, 6, 8])
def test_a_quick_search_asks_hardly_anything_twice(steps: int) -> None:
    """What is left: rows that were fitted and are then refined, and the new base of a step; 2.0 to
    2.5 %. (At 4 steps the best known solver here is the one that is offered first, 6.1 %.)"""
    config = SearchConfig(steps, "fit", "quick")
    sizes = config.sizes
    known, asked = watched(problem(steps=steps, fit_count=sizes.fit, held_out=sizes.held_out))
    run = search(lambda run: fit(run, SHORT_FIT), Run(known, config.budget))
    twice = sum(count - 1 for count in asked.values())
    assert twice < 0.03 * run.model_calls
