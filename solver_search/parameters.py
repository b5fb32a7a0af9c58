r"""The one map from raw, unconstrained numbers to a Solver.

    progress gaps = floor + (1 - N * floor) * softmax(raw_steps)          DSS, eq. 13
    rows[n, j]    = raw_rows[n, j] for j < n,  rows[n, n] = 1 - the rest  DSS, eq. 12
    free rows:      rows[n, n] += raw_rows[n, n],  start[n] = exp(raw_start[n])
    model_sigma   = sigma * exp(raw_scales)
    rows of a further basis = those it stands instead of + raw_beside; of D's means their diagonal
                              as that of the rows, over G every entry is free

Rows act on directions d (as DSS on flow) or on denoised outputs D (as DSS on VP). All zeros in
raw_rows is Euler = DDIM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from .bases import BASES, BASIS, WEIGHTS
from .clocks import Clock
from .forms import from_denoised_rows, from_weights, gathered
from .solver import Solver, SolverError

Form = Literal["direction", "denoised"]


@dataclass(frozen=True)
class Space:
    """What raw numbers mean.

    Args:
        clock: map from progress to sigma.
        flow: see Solver.
        form: whether rows act on directions or on denoised outputs.
        floor: smallest gap in progress (0: as DSS published).
    """

    clock: Clock
    flow: bool
    form: Form = "denoised"
    floor: float = 0.0


@dataclass(frozen=True)
class Parameters:
    """Raw numbers of an N-step solver, float64, any value allowed.

    Args:
        steps: (N,) logits of the progress gaps.
        rows: (N, N); the upper triangle is ignored, and the diagonal too unless `start` is set.
        start: (N,) log factors on the state, or None for consistent rows (denoised form only).
        scales: (N,) log factors on the sigma told to the model, or None.
        beside: by name of a further basis, (N, N) what its rows have beside those it stands
            instead of (denoised form only).
    """

    steps: Tensor
    rows: Tensor
    start: Tensor | None = None
    scales: Tensor | None = None
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """The raw tensors in use."""
        every = (self.steps, self.rows, self.start, self.scales, *self.beside.values())
        return [t for t in every if t is not None]

    def with_tensors(self, tensors: list[Tensor]) -> Parameters:
        """The same kind of parameters with other values, in the order of tensors()."""
        steps, rows, *rest = tensors
        values = iter(rest)
        start, scales = (None if t is None else next(values) for t in (self.start, self.scales))
        return Parameters(steps, rows, start, scales, {name: next(values) for name in self.beside})


def uniform_parameters(steps: int) -> Parameters:
    """Euler with equal progress: the start of DSS. All raw numbers are 0."""
    zeros = torch.zeros(steps, dtype=torch.float64)
    return Parameters(zeros, torch.zeros(steps, steps, dtype=torch.float64))


def to_solver(raw: Parameters, space: Space) -> Solver:
    """The solver that raw numbers stand for; differentiable in all of them.

    Raises:
        SolverError: if numbers grew beyond what a solver may hold, or free rows are asked for
            in the direction form.
    """
    sigmas = _sigmas(raw.steps, space)
    scaled = None if raw.scales is None else sigmas[:-1] * raw.scales.exp()
    rows = _table(raw.rows, free=raw.start is not None)
    if space.form == "denoised":
        start = None if raw.start is None else raw.start.exp()
        solver = from_denoised_rows(sigmas, rows, flow=space.flow, start=start,
                                    model_sigmas=scaled)
        return replace(solver, beside={
            name: gathered(sigmas, table, flow=space.flow, start=start)
            for name, table in _tables_beside(raw).items()})
    if raw.start is not None or raw.beside:
        raise SolverError("free rows and rows over further bases need the denoised form, found "
                          "the direction form.")
    solver = from_weights(sigmas, rows, flow=space.flow)
    return solver if scaled is None else replace(solver, model_sigmas=scaled)


def _tables_beside(raw: Parameters) -> dict[str, Tensor]:
    """By name, (N, N) rows of the further bases."""
    every = {WEIGHTS: raw.rows, None: torch.zeros_like(raw.rows)}
    for basis in BASES:
        every[basis.name] = every[basis.instead] + raw.beside.get(basis.name, 0)
    return {name: every[name].tril() if BASIS[name].guidance
            else _table(every[name], free=raw.start is not None) for name in raw.beside}


def _table(raw_rows: Tensor, *, free: bool) -> Tensor:
    """(N, N) rows with their diagonal."""
    lower = raw_rows.tril(-1)
    diagonal = 1 - lower.sum(dim=1)
    return lower + torch.diag(diagonal + raw_rows.diagonal() if free else diagonal)


def _sigmas(raw_steps: Tensor, space: Space) -> Tensor:
    count = len(raw_steps)
    gaps = space.floor + (1 - count * space.floor) * raw_steps.softmax(0)
    progress = torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0)[:-1],
                          torch.ones(1, dtype=torch.float64)])
    return space.clock.sigma(progress)
