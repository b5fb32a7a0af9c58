r"""A solver on a part of its way: image-to-image, split steps, a second pass, two experts.

Rows are found by sigma, never by position. Asked for noise levels from `first` to `last`:

* the solver's own list, or a piece of it: its own rows. Outputs from before the piece are not
  there; each row's weights on them go to the oldest output that is;
* a two-pass split at a foreign level: the piece of the solver that is nearest, ends moved;
* the last part of the way (denoise below 1) with as many steps as the solver has: all its steps
  are laid into the part, evenly in model time, and its rows bend toward `ab2`:

      row = share * own + (1 - share) * ab2,   share = part of the model time that is left.

  A searched row corrects what happens at high noise; near the picture ab2 is the better one.
  Measured in docs/decisions/parts.md;
* any other count, and solvers with inner stages (Heun): steps placed like the solver's,
  integrated with `ab2`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from .bases import BASIS, WEIGHTS
from .clocks import Clock
from .forms import denoised_steps, from_denoised_rows, from_weights, increments, reach
from .plan import plan_of
from .solver import Solver, SolverError
from .tableaus import TABLEAUS

Kind = Literal["whole", "piece", "moved piece", "stretched", "placed"]
FALLBACK = "ab2"
SAME_SIGMA = 1e-3  # sigmas pass through float32 and through other nodes' arithmetic
SAME_END = 0.01  # published tables round sigma_max to three digits
MOST_STRETCH = 1.25  # beyond it a solver made for a part of the way knows nothing of the rest


@dataclass(frozen=True)
class Part:
    """A solver for the noise levels that were asked for.

    Args:
        solver: ready for the loop.
        kind: how it was made; see the module.
        first, last: which of the original's steps it takes (0-based, last not included).
        share: of a stretched solver: how much of the original's way it has to go, in model time.
    """

    solver: Solver
    kind: Kind
    first: int
    last: int
    share: float = 1.0


def part_of(solver: Solver, asked: Tensor, clock: Clock) -> Part:
    """The solver that goes from asked[0] to asked[-1].

    Args:
        solver: any solver.
        asked: (n + 1,) falling noise levels; those between the ends only say how many steps.
        clock: uniform model time, as ComfyUI's denoise counts it.

    Raises:
        SolverError: if the solver is for a later part of the way, has a designer network and is
            asked for a part, or nothing is asked.
    """
    asked = asked.detach().to("cpu", torch.float64)
    n, steps = len(asked) - 1, solver.steps
    if n < 1 or float(asked[0]) <= float(asked[-1]):
        raise SolverError("the noise levels to sample must fall, found "
                          f"{[round(float(s), 4) for s in asked]}.")
    if _is_whole(solver, asked):
        return Part(solver, "whole", 0, steps)
    if solver.designer_in is not None:
        raise SolverError("this solver's designer network works on the whole way only. Set "
                          "denoise to 1 and do not split the steps, or use another preset.")
    i = _match(solver.sigmas, asked)
    if i is not None and _has_steps(solver):
        return _part(solver, lambda s, _: piece(s, i, i + n), "piece", (i, i + n))
    return _fitted(solver, asked, clock)


def _part(solver: Solver, made: Callable[[Solver, str | None], Solver], kind: Kind,
          steps: tuple[int, int], share: float = 1.0) -> Part:
    """The same done to the table of each basis; `made` gets a solver of it alone, and the sampler
    that its rows bend toward."""
    beside = {name: made(solver.alone(name), None if BASIS[name].guidance else FALLBACK).weights
              for name in solver.beside}
    return Part(replace(made(solver.alone(WEIGHTS), FALLBACK), beside=beside), kind, *steps, share)


def piece(solver: Solver, i: int, k: int, ends: tuple[float, float] | None = None) -> Solver:
    """Steps i to k - 1 of a solver without inner stages; see the module.

    Weights on outputs before i are moved to output i, in the form that reads fewer outputs:
    Adams-Bashforth rows stay themselves.

    Args:
        ends: noise levels to begin and end at instead of the solver's own.
    """
    sigmas = solver.sigmas[i:k + 1] if ends is None else _with_ends(solver.sigmas[i:k + 1], *ends)
    told = None
    if solver.model_sigmas is not None:
        told = solver.model_sigmas[i:k] * sigmas[:-1] / solver.sigmas[i:k]
    if solver.consistent and plan_of(solver).direction:
        weights = _fold(increments(solver) / solver.sigmas.diff()[:, None], i, k)
        return replace(from_weights(sigmas, weights, flow=solver.flow), model_sigmas=told)
    if ends is None:
        ratio, rows = denoised_steps(solver)
        return _from_steps(solver, sigmas, ratio[i:k], _fold(rows, i, k), told)
    start, rows = step_rows(solver)
    return from_denoised_rows(sigmas, _fold(rows, i, k), flow=solver.flow, model_sigmas=told,
                              start=None if solver.consistent else start[i:k])


def stretched(solver: Solver, first: float, clock: Clock,
              toward: str | None = FALLBACK) -> Solver:
    """All steps laid into the last part of the way, from `first`; rows bend toward a sampler's,
    or toward 0."""
    own = clock.progress(solver.sigmas)
    begin = clock.progress(torch.tensor(first, dtype=torch.float64))
    sigmas = clock.sigma(begin + (1 - begin) * (own - own[0]) / (1 - own[0]))
    sigmas = _with_ends(sigmas, first, 0.0)
    keep = min(1.0, share_from(solver, first, clock))
    start, rows = step_rows(solver)
    other = torch.zeros_like(rows)
    if toward is not None:
        _, other = step_rows(TABLEAUS[toward](sigmas, flow=solver.flow))
    told = None
    if solver.model_sigmas is not None:
        told = sigmas[:-1] * (solver.model_sigmas / solver.sigmas[:-1]) ** keep
    return from_denoised_rows(sigmas, keep * rows + (1 - keep) * other, flow=solver.flow,
                              start=None if solver.consistent else start ** keep,
                              model_sigmas=told)


def share_from(solver: Solver, first: float, clock: Clock) -> float:
    """How much of the solver's way is left at sigma `first`, in model time."""
    begin = clock.progress(torch.tensor(first, dtype=torch.float64))
    return float((1 - begin) / (1 - clock.progress(solver.sigmas[0])))


def placed(solver: Solver, first: float, last: float, steps: int, clock: Clock) -> Tensor:
    """(steps + 1,) noise levels from `first` to `last`, spaced as the solver's own."""
    own = clock.progress(solver.sigmas.unique(sorted=True).flip(0))
    begin, end = (clock.progress(torch.tensor(s, dtype=torch.float64)) for s in (first, last))
    at = torch.linspace(float(_place(own, begin)), float(_place(own, end)), steps + 1,
                        dtype=torch.float64)
    low = at.floor().long().clamp(max=len(own) - 2)
    return _with_ends(clock.sigma(torch.lerp(own[low], own[low + 1], at - low)), first, last)


def step_rows(solver: Solver) -> tuple[Tensor, Tensor]:
    """Denoised form in shares: x' = start * (s'/s) * x + (1 - s'/s) * rows @ D.

    Returns:
        start (N,), 1 where consistent, and rows (N, N). Needs strictly falling sigmas.
    """
    ratio, rows = denoised_steps(solver)
    plain = solver.sigmas[1:] / solver.sigmas[:-1]
    start = torch.where(plain > 0, ratio / plain.clamp_min(1e-300), torch.ones_like(plain))
    return start, rows / (1 - plain)[:, None]


def _fitted(solver: Solver, asked: Tensor, clock: Clock) -> Part:
    """Levels that are not the solver's: a moved piece, all steps stretched, or ab2."""
    first, last, n = float(asked[0]), float(asked[-1]), len(asked) - 1
    _check_reach(solver, first, clock)
    if _has_steps(solver):
        i, k = (_nearest(solver, s, clock) for s in (first, last))
        if last > 0:
            i, k = _apart(i, k, solver.steps)
        if last > 0 or 0 < n <= k - i:
            return _part(solver, lambda s, _: piece(s, i, k, (first, last)), "moved piece", (i, k))
        if n in (solver.steps, solver.nfe):
            return _part(solver, lambda s, to: stretched(s, first, clock, to), "stretched",
                         (0, solver.steps), share_from(solver, first, clock))
    sigmas = placed(solver, first, last, n, clock)
    return Part(TABLEAUS[FALLBACK](sigmas, flow=solver.flow), "placed", 0, n)


def _check_reach(solver: Solver, first: float, clock: Clock) -> None:
    if share_from(solver, first, clock) > MOST_STRETCH:
        raise SolverError(f"this solver is made for the end of the way, from sigma "
                          f"{float(solver.sigmas[0]):.4g}, and is asked to begin at {first:.4g}. "
                          "Lower denoise, or use a preset made for more of the way.")


def _is_whole(solver: Solver, asked: Tensor) -> bool:
    ends = float(asked[-1]) == 0 == float(solver.sigmas[-1])
    top = float(solver.sigmas[0])
    return ends and abs(float(asked[0]) - top) <= SAME_END * top


def _has_steps(solver: Solver) -> bool:
    """Whether each row is a step of its own: no inner stages, as Heun has."""
    return bool((solver.sigmas.diff() < 0).all())


def _match(own: Tensor, asked: Tensor) -> int | None:
    """Where `asked` lies within `own`, if it does."""
    for i in range(len(own) - len(asked) + 1):
        if torch.allclose(own[i:i + len(asked)], asked, rtol=SAME_SIGMA, atol=1e-6):
            return i
    return None


def _nearest(solver: Solver, sigma: float, clock: Clock) -> int:
    wanted = clock.progress(torch.tensor(sigma, dtype=torch.float64))
    return int((clock.progress(solver.sigmas) - wanted).abs().argmin())


def _apart(i: int, k: int, steps: int) -> tuple[int, int]:
    """At least one step; the last step of all belongs to the pass that ends at 0."""
    k = min(max(k, i + 1), max(steps - 1, 1))
    return min(i, k - 1), k


def _place(knots: Tensor, value: Tensor) -> Tensor:
    """Index, with fraction, of a value between rising knots."""
    high = torch.searchsorted(knots, value).clamp(1, len(knots) - 1)
    return high - 1 + (value - knots[high - 1]) / (knots[high] - knots[high - 1])


def _with_ends(sigmas: Tensor, first: float, last: float) -> Tensor:
    sigmas = sigmas.clone()
    sigmas[0], sigmas[-1] = first, last
    return sigmas


def _fold(rows: Tensor, i: int, k: int) -> Tensor:
    kept = rows[i:k, i:k].clone()
    kept[:, 0] += rows[i:k, :i].sum(dim=1)
    return kept


def _from_steps(solver: Solver, sigmas: Tensor, ratio: Tensor, rows: Tensor,
                told: Tensor | None) -> Solver:
    """Solver from x' = ratio * x + rows @ D, exactly as it is."""
    outputs, collected = torch.zeros(len(rows), dtype=torch.float64), []
    for n in range(len(rows)):
        outputs = ratio[n] * outputs + rows[n]
        collected.append(outputs)
    weights = torch.stack(collected) / reach(sigmas, flow=solver.flow)[:, None]
    if solver.consistent:
        return Solver(sigmas, weights, solver.flow, None, told)
    share = sigmas[1:] / sigmas[0]
    start = torch.where(share > 0, ratio.cumprod(0) / share.clamp_min(1e-300),
                        torch.ones_like(share))
    return Solver(sigmas, weights, solver.flow, start, told)
