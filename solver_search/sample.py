"""The one loop that runs any solver: handcrafted, published, searched or a stranger's."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .bends import Guidance, bends_of
from .canvas import PLAIN, Canvas
from .designer import Feature
from .history import History
from .plan import plan_of
from .solver import Solver

Denoise = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[int, Tensor, Tensor], None]

NOT_FINITE = ("The model's output at step {} of {} is not finite. Try a higher precision for the "
              "model or another preset.")


class DivergedError(RuntimeError):
    """The picture turned to NaN or infinity while sampling; the message says at which step."""


def sample(denoise: Denoise, solver: Solver, x: Tensor, callback: Callback | None = None, *,
           states: list[Tensor] | None = None, check: bool = False,
           feature: Feature | None = None, guidance: Guidance | None = None,
           canvas: Canvas = PLAIN) -> Tensor:
    """Run `solver` from state x to its last sigma.

    Args:
        denoise: (x, sigma) -> denoised; sigma is a 0-d tensor of x's dtype on x's device.
        solver: the table; exactly solver.nfe calls are made.
        x: (B, C, ...) state at solver.sigmas[0], any float dtype and device.
        callback: called as (row, x, denoised) after each model call; zeros where none is made.
        states: receives the N + 1 visited states, first and last included.
        check: stop at the first model output that is not finite.
        feature: (B, F) features of the newest model call, for a solver with a designer.
        guidance: denoised -> (B, C, ...) what guidance added in the model call that gave it, D
            minus the output for the positive prompt alone, for a solver that weighs it; None
            where that is not known: it counts as nothing.
        canvas: what lies where in x: several media, a mask.

    Returns:
        (B, C, ...) state at solver.sigmas[-1].

    Raises:
        DivergedError: with `check`, when the model's output is not finite.
        SolverError: when the solver needs a `feature` or `guidance`, and there is none.
    """
    plan, begun = plan_of(solver), x
    bends = bends_of(solver, plan, feature, guidance, canvas)
    sigmas, told = (_cast(t, x) for t in (solver.sigmas, told_levels(solver)))
    history = History(plan.rows, plan.ratio)
    if states is not None:
        states.append(x)
    for n in range(solver.steps):
        denoised = denoise(x, told[n]) if plan.called[n] else torch.zeros_like(x)
        if check:
            _check_finite(denoised, n, solver)
        if callback is not None:
            callback(n, x, denoised)
        x = history.onto(x, n, (x - denoised) / sigmas[n] if plan.direction else denoised)
        for bent in bends:
            x = bent(x, n, denoised)
        if n == solver.steps - 1:
            x = canvas.ended(solver, begun, x, denoised)
        if states is not None:
            states.append(x)
    return x


def told_levels(solver: Solver) -> Tensor:
    """(N + 1,) noise levels that the model is told in its calls, and the last one."""
    own = solver.sigmas[:-1] if solver.model_sigmas is None else solver.model_sigmas
    return torch.cat([own, solver.sigmas[-1:]])


def _check_finite(denoised: Tensor, n: int, solver: Solver) -> None:
    """In one pass without a mask: NaN and infinity survive a sum."""
    if not math.isfinite(float(denoised.sum(dtype=torch.float32))):
        raise DivergedError(NOT_FINITE.format(n + 1, solver.nfe))


def _cast(values: Tensor, x: Tensor) -> Tensor:
    """The one cast: float64 tables become the state's dtype before they reach its device."""
    return values.to(x.dtype).to(x.device)
