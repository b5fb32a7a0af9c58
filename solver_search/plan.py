"""What the loop does step by step: the cheapest of a solver's forms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .forms import denoised_steps, increments
from .solver import Solver


@dataclass(frozen=True)
class Plan:
    """A table ready for the loop: x' = ratio[n] * x + sum_j rows[n, j] * history[j].

    Args:
        ratio: (N,) factor on the current state.
        rows: (N, N) factors on kept outputs; exact zeros are never touched.
        called: for each row, whether its model call is made; all while the table is learned.
        direction: history holds d = (x - D) / sigma if true, else D.
        means: (N, N) what each channel's mean gets beside, of the means of D; None: nothing.
    """

    ratio: Tensor
    rows: Tensor
    called: list[bool]
    direction: bool
    means: Tensor | None = None

    @cached_property
    def used(self) -> Tensor:
        """(N, N) which outputs a row reads; all earlier ones while the table is learned."""
        learned = self.rows.requires_grad
        return (torch.ones_like(self.rows).tril() if learned else self.rows) != 0

    @cached_property
    def last_use(self) -> list[int]:
        """For each output, the last row that reads it (-1: none)."""
        used = self.used
        return [int(column.nonzero().max()) if column.any() else -1 for column in used.T]

    @property
    def kept(self) -> int:
        """Most outputs alive at once."""
        return max(sum(last >= n for last in self.last_use[: n + 1])
                   for n in range(len(self.last_use)))

    @property
    def order(self) -> int:
        """Most model outputs that one step combines: 1 for Euler, 2 for DPM++ 2M."""
        return int(self.used.sum(dim=1).max())


def mean_rows(solver: Solver) -> Tensor | None:
    """(N, N) what each channel's mean gets beside its rows in denoised_steps; None: nothing."""
    if solver.of_means is None:
        return None
    return denoised_steps(solver.of_means)[1] - denoised_steps(solver)[1]


def plan_of(solver: Solver) -> Plan:
    """The step form that keeps the fewest outputs in memory.

    What means or a designer add to a state must not enter later directions: denoised form.
    """
    ratio, rows = denoised_steps(solver)
    means = mean_rows(solver)
    called = [True] * solver.steps if rows.requires_grad else solver.read.tolist()
    plan = Plan(ratio, rows, called, direction=False, means=means)
    if not solver.consistent or means is not None or solver.designer_in is not None:
        return plan
    ones = torch.ones(solver.steps, dtype=torch.float64)
    other = Plan(ones, increments(solver), called, direction=True)
    return other if other.kept <= plan.kept else plan
