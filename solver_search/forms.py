r"""The same table in the three forms of the literature, and the way between them.

* canonical (stored): weights over D, see solver.py;
* direction form: x' = x + sum_j increments[n, j] * d[j], d = (x - D) / sigma, where row n sums
  to sigma[n+1] - sigma[n] (Euler, Adams-Bashforth, deis, DSS on flow);
* denoised form: x' = (sigma'/sigma) * x + (1 - sigma'/sigma) * sum_j rows[n, j] * D[j] for eps
  and v and for flow alike (DPM++, UniPC, DSS on VP), rows summing to 1.

With a = sigma/sigma[0] the conversions are exact linear recursions over the steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .bases import WEIGHTS
from .solver import Solver

ROUNDING = 1e-13  # float64 recursions of 1000 rows leave up to 2e-15 of what was subtracted


def alpha(sigmas: Tensor, *, flow: bool) -> Tensor:
    """Share of the picture in a state: 1 - sigma for flow models, else 1. Shape as sigmas."""
    return 1 - sigmas if flow else torch.ones_like(sigmas)


def reach(sigmas: Tensor, *, flow: bool) -> Tensor:
    """(N,) total weight of the denoised outputs in each state after the start."""
    a = alpha(sigmas, flow=flow)
    return a[1:] - sigmas[1:] / sigmas[0] * a[0]


def from_increments(sigmas: Tensor, increments: Tensor, *, flow: bool) -> Solver:
    """Solver from direction-form rows.

    Args:
        sigmas: (N + 1,) noise levels.
        increments: (N, N) lower-triangular; row n sums to sigmas[n+1] - sigmas[n].
        flow: see Solver.

    Raises:
        SolverError: if the rows do not make a consistent solver.
    """
    sigmas, increments = sigmas.double(), increments.double()
    outputs = [torch.zeros(len(increments), dtype=torch.float64)]  # rows B[n] over D
    eye = torch.eye(len(increments), dtype=torch.float64)
    for n in range(len(increments)):
        scaled = increments[n, : n + 1] / sigmas[: n + 1]
        d_rows = torch.stack(outputs) - eye[: n + 1]
        outputs.append(outputs[n] + scaled @ d_rows)
    return _consistent(sigmas, torch.stack(outputs[1:]), flow=flow)


def from_weights(sigmas: Tensor, weights: Tensor, *, flow: bool) -> Solver:
    """Solver from direction-form rows that each sum to 1 (weights times the step)."""
    return from_increments(sigmas, weights * (sigmas[1:] - sigmas[:-1])[:, None], flow=flow)


def from_denoised_rows(sigmas: Tensor, rows: Tensor, *, flow: bool,
                       start: Tensor | None = None,
                       model_sigmas: Tensor | None = None) -> Solver:
    """Solver from denoised-form rows.

    Args:
        sigmas: (N + 1,) noise levels.
        rows: (N, N) lower-triangular; each sums to 1 unless `start` is given.
        flow: see Solver.
        start: (N,) extra factor on sigma'/sigma of each step: free rows. None: consistent.
        model_sigmas: see Solver.
    """
    sigmas = sigmas.double()
    total = None if start is None else start.double().cumprod(0)
    return Solver(sigmas, gathered(sigmas, rows, flow=flow, start=start), flow, total,
                  model_sigmas)


def gathered(sigmas: Tensor, rows: Tensor, *, flow: bool, start: Tensor | None = None) -> Tensor:
    """(N, N) canonical weights of denoised-form rows, of whatever sum; see from_denoised_rows."""
    ratio, rows = sigmas[1:] / sigmas[:-1], rows.double()
    outputs = torch.zeros(len(rows), dtype=torch.float64)
    collected = []
    for n in range(len(rows)):
        keep = ratio[n] if start is None else ratio[n] * start[n]
        outputs = keep * outputs + (1 - ratio[n]) * rows[n]
        collected.append(outputs)
    return torch.stack(collected) / reach(sigmas, flow=flow)[:, None]


def increments(solver: Solver) -> Tensor:
    """(N, N) direction-form rows of a consistent solver; row n sums to the step in sigma."""
    outputs = solver.weights * reach(solver.sigmas, flow=solver.flow)[:, None]
    # x[n] = x[0] + from_start[n] @ d
    from_start = [torch.zeros(solver.steps, dtype=torch.float64)]
    magnitudes = [from_start[0]]
    for n in range(solver.steps):
        b, before = outputs[n], torch.stack(from_start)
        from_start.append(b[: n + 1] @ before - b * solver.sigmas[:-1])
        magnitudes.append(b[: n + 1].abs() @ before.abs() + b.abs() * solver.sigmas[:-1])
    total, size = torch.stack(from_start), torch.stack(magnitudes)
    return _snap(total[1:] - total[:-1], size[1:] + size[:-1])


def denoised_steps(solver: Solver, table: str | None = WEIGHTS) -> tuple[Tensor, Tensor]:
    """Denoised form of any solver: x' = ratio[n] * x + sum_j rows[n, j] * D[j].

    Args:
        table: of which basis; see Solver.table.

    Returns:
        ratio (N,) and rows (N, N), unnormalised.
    """
    share = solver.sigmas[1:] / solver.sigmas[0]
    share = share if solver.start is None else share * solver.start
    before = torch.cat([torch.ones(1, dtype=torch.float64), share[:-1]])
    ratio = share / before
    outputs = solver.table(table) * reach(solver.sigmas, flow=solver.flow)[:, None]
    earlier = torch.cat([torch.zeros(1, solver.steps, dtype=torch.float64), outputs[:-1]])
    kept = ratio[:, None] * earlier
    return ratio, _snap(outputs - kept, outputs.abs() + kept.abs())


def _consistent(sigmas: Tensor, outputs: Tensor, *, flow: bool) -> Solver:
    return Solver(sigmas, outputs / reach(sigmas, flow=flow)[:, None], flow)


def _snap(rows: Tensor, size: Tensor) -> Tensor:
    """Set what is only rounding to exact zero, so that the loop need not keep it.

    `size` is what each entry is a difference of: from sigma 4519 (zero terminal SNR) down, what
    rounding leaves exceeds 1e-11 of the row itself. A table being learned keeps all entries: a
    skipped one would have no gradient.
    """
    if rows.requires_grad:
        return rows
    return torch.where(rows.abs() > ROUNDING * size, rows, torch.zeros_like(rows))
