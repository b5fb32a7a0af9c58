"""A teacher is as long as its problem asks for, found by measurement and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from solver_search.canvas import PLAIN
from solver_search.metrics import relative_errors
from solver_search.run import Run
from solver_search.search import Budget
from solver_search.settled import CHECKED, SHARE, checked_teacher, lengths, settled
from solver_search.tableaus import TABLEAUS
from solver_search.teacher import accurate_teacher

from .problems import mixture
from .searches import problem

LENGTHS = [12, 18, 27, 40, 60, 90, 135]


def guided(scale: float) -> Callable[..., Tensor]:
    """Guidance away from a mixture towards a Gaussian: the stronger, the stiffer."""
    wanted, other = mixture(flow=True), replace(mixture(flow=True), means=(-0.6, 0.5))

    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        sigma = sigma.reshape(-1).expand(len(x))
        plain = other.denoise(x, sigma)
        return plain + scale * (wanted.denoise(x, sigma) - plain)
    return denoise


def teacher_of(scale: float, budget: float = float("inf")) -> tuple[Run, int, float]:
    """(run, calls of the teacher, its true error over that of the solver to be beaten)."""
    run = Run(problem(denoise=guided(scale)), Budget(model_calls=budget))
    known = TABLEAUS["euler"](run.problem.schedules["even"], flow=True)
    found = checked_teacher(run, 12, [known])
    few = run.fitted[:CHECKED]
    exact = run.ends(accurate_teacher(800, 1.0, flow=True), few)
    off, judged = (float(relative_errors(run.ends(s, few), exact).mean()) for s in (found, known))
    return run, found.nfe, off / judged


def test_a_stiff_problem_gets_a_longer_teacher_than_an_easy_one() -> None:
    easy, stiff = teacher_of(1.0), teacher_of(25.0)
    assert easy[1] == 12 < stiff[1]
    for _, calls, share in (easy, stiff):
        assert calls in LENGTHS
        assert share < 3 * SHARE  # the difference of two lengths is a half or more of the error


def test_the_budget_ends_the_lengthening_and_the_check_is_counted() -> None:
    calls: list[int] = []
    inner = guided(25.0)

    def counted(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        calls.append(len(x))
        return inner(x, sigma, items)

    said: list[str] = []
    run = Run(problem(denoise=counted), Budget(model_calls=600),
              on_event=lambda event: said.append(event.phase))
    known = TABLEAUS["euler"](run.problem.schedules["even"], flow=True)
    teacher = checked_teacher(run, 12, [known])
    assert teacher.nfe == 18  # 27 calls for each of 12 starts would be more than 0.4 of 600
    assert run.model_calls == sum(calls) == CHECKED * (4 + 12 + 18)
    assert "no longer one was allowed" in said[-1]


@pytest.mark.parametrize(("off", "expected", "agreed"), [
    ({}, 12, True), ({12: 1.0}, 18, True), ({12: 1.0, 18: 3.0}, 27, False)])
def test_the_shortest_that_agrees_is_taken(off: dict[int, float], expected: int,
                                           agreed: bool) -> None:
    asked: list[int] = []

    def ends_of(calls: int) -> Tensor:
        asked.append(calls)
        return torch.ones(2, 3) * (1 + off.get(calls, 0.0))

    found = settled(ends_of, lambda reference: 0.3, 12, 27, PLAIN)
    assert (found.calls, found.agreed) == (expected, agreed)
    assert asked == lengths(12, 27)[:len(asked)]
    assert lengths(12, 27) == [12, 18, 27]
