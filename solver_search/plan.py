"""What the loop does step by step: the cheapest of a solver's forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .bases import BASIS, Basis
from .canvas import Canvas
from .forms import denoised_steps, increments
from .history import most_kept, reads
from .solver import Solver


@dataclass(frozen=True)
class Plan:
    """A table ready for the loop: x' = ratio[n] * x + sum_j rows[n, j] * history[j].

    Args:
        ratio: (N,) factor on the current state.
        rows: (N, N) factors on kept outputs; exact zeros are never touched.
        called: for each row, whether its model call is made; all while the table is learned.
        direction: history holds d = (x - D) / sigma if true, else D.
        beside: by name of a further basis, (N, N) what its values add to the state.
    """

    ratio: Tensor
    rows: Tensor
    called: list[bool]
    direction: bool
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Most outputs alive at once."""
        return most_kept(self.rows)

    @property
    def order(self) -> int:
        """Most model outputs that one step combines: 1 for Euler, 2 for DPM++ 2M."""
        return int(reads(self.rows).sum(dim=1).max())


def beside_rows(solver: Solver) -> dict[str, Tensor]:
    """By name, (N, N) what the values of each further basis add to the state, where the part
    they stand for has already followed the table that they replace."""
    return {name: denoised_steps(solver, name)[1] - denoised_steps(solver, BASIS[name].instead)[1]
            for name in solver.beside}


def values_of(basis: Basis, denoised: Tensor, guidance: Tensor, canvas: Canvas) -> Tensor:
    """What a basis sees of one model call; may be added to a state."""
    seen = guidance if basis.guidance else denoised
    return canvas.means(seen) if basis.mean else seen


def plan_of(solver: Solver) -> Plan:
    """The step form that keeps the fewest outputs in memory.

    What further bases or a designer add to a state must not enter later directions: denoised
    form.
    """
    ratio, rows = denoised_steps(solver)
    called = [True] * solver.steps if rows.requires_grad else solver.read.tolist()
    plan = Plan(ratio, rows, called, direction=False, beside=beside_rows(solver))
    if not solver.consistent or solver.beside or solver.designer_in is not None:
        return plan
    ones = torch.ones(solver.steps, dtype=torch.float64)
    other = Plan(ones, increments(solver), called, direction=True)
    return other if other.kept <= plan.kept else plan
