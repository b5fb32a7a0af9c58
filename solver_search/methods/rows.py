r"""Rows by sequential ridge least squares on the student's own trajectory: no gradients.

With r = sigma'/sigma and the teacher's state x* the row of a step minimises

    consistent  |x*(sigma') -   r x - (1 - r) sum_j w_j D_j|^2 + ridge ...,  sum_j w_j = 1
    free        |x*(sigma') - k r x - (1 - r) sum_j w_j D_j|^2 + ridge ...

where ridge pulls w to DPM++ 2M's row and k to 1. Where each channel's mean has rows of its own,
the rest of the states is fitted first, then the means, pulled to that row. Only small Gram
matrices are kept; x then moves by the solved row, so later rows mend earlier errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..canvas import Canvas
from ..forms import denoised_steps, from_denoised_rows
from ..search import Run
from ..solver import Solver
from ..tableaus import TABLEAUS
from ..teacher import Trajectory

NOTHING = 1e-30  # keeps the equations solvable where an output is exactly zero
RIDGE = {False: 1e-4, True: 1e-3}  # free rows have more freedom: measured on both demo models


@torch.no_grad()
def fit_rows(run: Run, teacher: Trajectory, sigmas: Tensor, items: Tensor, *,
             free: bool = False, means: bool = False, ridge: float | None = None,
             told: Tensor | None = None) -> tuple[Solver, Tensor]:
    """The solver with fitted rows on given sigmas.

    Args:
        teacher: its first starts are those of the run.
        sigmas: (N + 1,) falling to 0.
        items: starts to fit on.
        free: row sums and the state's factor are fitted too.
        means: each channel's mean gets rows of its own.
        ridge: pull to the known row, relative to an output's square; None: RIDGE.
        told: (N,) noise levels told to the model; None: those of the states.

    Returns:
        the solver and its end points (len(items), C, ...).

    Raises:
        SolverError: if free rows grow beyond what a solver may hold.
    """
    x, denoise = run.problem.starts[items], run.denoise(items)
    prior = _prior_rows(sigmas, flow=run.problem.flow)
    outputs: list[Tensor] = []
    rows, keep = torch.zeros(2, *prior.shape).double(), torch.ones(len(prior)).double()
    for n in range(len(sigmas) - 1):
        asked = sigmas[n] if told is None else told[n]
        outputs.append(denoise(x, asked.to(x.dtype).to(x.device)))
        r = float(sigmas[n + 1] / sigmas[n])
        target = teacher.at(float(sigmas[n + 1]), items).to(x)
        step = _Step(x, outputs, target, r, RIDGE[free] if ridge is None else ridge,
                     run.problem.canvas)
        x, keep[n], *fitted = step.fitted(prior[n, : n + 1], free=free, means=means)
        rows[0, n, : n + 1], rows[1, n, : n + 1] = fitted
    start = keep if free else None
    solver, other = (from_denoised_rows(sigmas, table, flow=run.problem.flow, start=start,
                                        model_sigmas=told) for table in rows)
    return solver.with_means(other if means else None), x


@dataclass(frozen=True)
class _Step:
    """Where one step begins, the outputs it may use, where the teacher is after it, the ridge,
    and which media lie in a state.

    Starts lie along the first dimension of x, outputs and target; r is sigma' / sigma.
    """

    x: Tensor
    outputs: list[Tensor]
    target: Tensor
    r: float
    ridge: float
    canvas: Canvas

    def fitted(self, prior: Tensor, *, free: bool, means: bool,
               ) -> tuple[Tensor, float, Tensor, Tensor]:
        """The next state, the state's factor, the row and that of the means."""
        if not means:
            row, factor = self.row(prior, free=free, scaled=free)
            return self.after(row, factor), factor, row, row
        mean_of = self.canvas.means
        rest, mean = self.of(lambda x: x - mean_of(x)), self.of(mean_of)
        row, factor = rest.row(prior, free=free, scaled=free)
        mean = replace(mean, x=factor * mean.x)
        own, _ = mean.row(row, free=free, scaled=False)
        return rest.after(row, factor) + mean.after(own, 1.0), factor, row, own

    def of(self, part: Callable[[Tensor], Tensor]) -> _Step:
        """The same for a part of each state."""
        return replace(self, x=part(self.x), outputs=[part(d) for d in self.outputs],
                       target=part(self.target))

    def after(self, row: Tensor, factor: float) -> Tensor:
        """The state that a row leads to."""
        return factor * self.r * self.x + (1 - self.r) * blend(row, self.outputs)

    def row(self, prior: Tensor, *, free: bool, scaled: bool) -> tuple[Tensor, float]:
        """Weights of the outputs and, where `scaled`, the state's extra factor."""
        outputs, share = self.outputs, 1 - self.r
        columns = [share * d for d in outputs] if free else [
            share * (d - outputs[-1]) for d in outputs[:-1]]
        sizes = [share ** 2 * float(outputs[-1].square().sum())] * len(columns)
        if scaled and self.r > 0:
            columns = [*columns, self.r * self.x]
            sizes = [*sizes, self.r ** 2 * float(self.x.square().sum())]
        if not columns:
            return prior.clone(), 1.0
        gram, slope = _gram(columns, self.target - self.after(prior, 1.0))
        least = torch.tensor(sizes, dtype=torch.float64).clamp_min(NOTHING)
        pull = self.ridge * torch.diag(least)
        change = torch.linalg.solve(gram + pull, slope)
        if not free:
            return prior + torch.cat([change, -change.sum()[None]]), 1.0
        return prior + change[: len(prior)], 1 + float(change[len(prior):].sum())


def _gram(columns: list[Tensor], rest: Tensor) -> tuple[Tensor, Tensor]:
    """(P, P) and (P,) inner products in float64, one start at a time."""
    gram = torch.zeros(len(columns), len(columns), dtype=torch.float64)
    slope = torch.zeros(len(columns), dtype=torch.float64)
    for s in range(len(rest)):
        a = precise(torch.stack([c[s].flatten() for c in columns]))
        gram += (a @ a.T).double()
        slope += (a @ precise(rest[s].flatten())).double()
    return gram, slope


def precise(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def blend(row: Tensor, outputs: list[Tensor]) -> Tensor:
    """sum_j row[j] * outputs[j]."""
    terms = [float(w) * d for w, d in zip(row, outputs, strict=False)]
    return torch.stack(terms).sum(0)


def _prior_rows(sigmas: Tensor, *, flow: bool) -> Tensor:
    _, rows = denoised_steps(TABLEAUS["dpmpp_2m"](sigmas, flow=flow))
    return rows / (1 - sigmas[1:] / sigmas[:-1])[:, None]
