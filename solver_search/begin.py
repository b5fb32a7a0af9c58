"""The raw numbers that stand for a given solver: where a search begins."""

from __future__ import annotations

import torch
from torch import Tensor

from .bases import BASIS, WEIGHTS
from .forms import denoised_steps
from .parameters import Parameters, Space
from .solver import Solver, SolverError

SPAN_TOLERANCE = 1e-5  # sigma_max passes through float32


def from_solver(solver: Solver, space: Space, *, free: bool = False,
                scaled: bool = False) -> Parameters:
    """Raw numbers whose map is `solver` (denoised form, without a floor): a search's start.

    Args:
        solver: any solver with strictly falling sigmas that ends at 0.
        free: make row sums and the state's factor free.
        scaled: make the sigma told to the model free.

    Raises:
        SolverError: if the solver repeats a sigma (inner stages): such a table has no steps; or
            if it does not span the clock: the map always does.
    """
    _check_start(solver, space)
    gaps = space.clock.progress(solver.sigmas).diff().clamp_min(1e-9)
    ratio, _ = denoised_steps(solver)
    plain = solver.sigmas[1:] / solver.sigmas[:-1]
    beside = {name: _raw_rows(solver, name) - _raw_rows(solver, BASIS[name].instead)
              for name in solver.beside}
    free = free or not solver.consistent
    zeros = torch.zeros(solver.steps, dtype=torch.float64)
    scales = None
    if solver.model_sigmas is not None:
        scales = (solver.model_sigmas / solver.sigmas[:-1]).log()
    elif scaled:
        scales = zeros.clone()
    start = None
    if free:
        start = zeros.clone()
        start[:-1] = (ratio[:-1] / plain[:-1]).log()  # the last step forgets the state
    return Parameters(gaps.log(), _raw_rows(solver, WEIGHTS), start, scales, beside)


def _raw_rows(solver: Solver, table: str | None) -> Tensor:
    """(N, N) the raw rows that the weights of a basis stand for."""
    _, rows = denoised_steps(solver, table)
    rows = rows / (1 - solver.sigmas[1:] / solver.sigmas[:-1])[:, None]
    if table is None or table in BASIS and BASIS[table].guidance:
        return rows
    return rows.tril(-1) + torch.diag(rows.sum(dim=1) - 1)


def _check_start(solver: Solver, space: Space) -> None:
    if not (solver.sigmas.diff() < 0).all():
        raise SolverError("this solver has inner stages (equal sigmas); a search starts from a "
                          "multistep solver such as dpmpp_2m.")
    first, last = (float(s) for s in solver.sigmas[[0, -1]])
    top = float(space.clock.sigma(torch.zeros(1, dtype=torch.float64)))
    if last != 0:
        raise SolverError(f"a search's start must end at 0, its last sigma is {last:.4g}.")
    if abs(first - top) > SPAN_TOLERANCE * top:
        raise SolverError(f"a search's start must begin at the clock's first sigma {top:.6g}, "
                          f"found {first:.6g}.")
