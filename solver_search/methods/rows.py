r"""Rows by sequential ridge least squares on the student's own trajectory: no gradients.

With r = sigma'/sigma and the teacher's state x* the row of a step minimises

    consistent  |x*(sigma') -   r x - (1 - r) sum_j w_j D_j|^2 + ridge ...,  sum_j w_j = 1
    free        |x*(sigma') - k r x - (1 - r) sum_j w_j D_j|^2 + ridge ...

where ridge pulls w to DPM++ 2M's row and k to 1. Only small Gram matrices are kept; x then moves
by the solved row, so later rows mend earlier errors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..forms import denoised_steps, from_denoised_rows
from ..search import Run
from ..solver import Solver
from ..tableaus import TABLEAUS
from ..teacher import Trajectory

RIDGE = {False: 1e-4, True: 1e-3}  # free rows have more freedom: measured on both demo models


@torch.no_grad()
def fit_rows(run: Run, teacher: Trajectory, sigmas: Tensor, items: Tensor, *,
             free: bool = False, ridge: float | None = None) -> tuple[Solver, Tensor]:
    """The solver with fitted rows on given sigmas.

    Args:
        teacher: its first starts are those of the run.
        sigmas: (N + 1,) falling to 0.
        items: starts to fit on.
        free: row sums and the state's factor are fitted too.
        ridge: pull to the known row, relative to an output's square; None: RIDGE.

    Returns:
        the solver and its end points (len(items), C, ...).

    Raises:
        SolverError: if free rows grow beyond what a solver may hold.
    """
    x, denoise = run.problem.starts[items], run.denoise(items)
    prior = _prior_rows(sigmas, flow=run.problem.flow)
    outputs: list[Tensor] = []
    rows, keep = torch.zeros_like(prior), torch.ones(len(prior), dtype=torch.float64)
    pull = RIDGE[free] if ridge is None else ridge
    for n in range(len(sigmas) - 1):
        outputs.append(denoise(x, sigmas[n].to(x.dtype).to(x.device)))
        r = float(sigmas[n + 1] / sigmas[n])
        target = teacher.at(float(sigmas[n + 1]), items).to(x)
        row, factor = _row(x, outputs, r, target, prior[n, : n + 1], pull, free=free)
        rows[n, : n + 1], keep[n] = row, factor
        x = factor * r * x + (1 - r) * blend(row, outputs)
    start = keep if free else None
    return from_denoised_rows(sigmas, rows, flow=run.problem.flow, start=start), x


def _row(x: Tensor, outputs: list[Tensor], r: float, target: Tensor, prior: Tensor,
         ridge: float, *, free: bool) -> tuple[Tensor, float]:
    """Weights of the outputs and the state's extra factor."""
    rest = target - r * x - (1 - r) * blend(prior, outputs)
    columns = [(1 - r) * d for d in outputs] if free else [
        (1 - r) * (d - outputs[-1]) for d in outputs[:-1]]
    sizes = [(1 - r) ** 2 * float(outputs[-1].square().sum())] * len(columns)
    if free and r > 0:
        columns, sizes = [*columns, r * x], [*sizes, r ** 2 * float(x.square().sum())]
    if not columns:
        return prior.clone(), 1.0
    gram, slope = _gram(columns, rest)
    change = torch.linalg.solve(
        gram + ridge * torch.diag(torch.tensor(sizes, dtype=torch.float64)), slope)
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
