"""The one loop that runs any solver: handcrafted, published, searched or a stranger's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .canvas import PLAIN, Canvas
from .designer import Feature, bend, deviations, inputs
from .plan import Plan, plan_of
from .solver import Solver, SolverError

Denoise = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[int, Tensor, Tensor], None]

NOT_FINITE = ("The model's output at step {} of {} is not finite. Try a higher precision for the "
              "model or another preset.")


class DivergedError(RuntimeError):
    """The picture turned to NaN or infinity while sampling; the message says at which step."""


def sample(denoise: Denoise, solver: Solver, x: Tensor, callback: Callback | None = None, *,
           states: list[Tensor] | None = None, check: bool = False,
           feature: Feature | None = None, canvas: Canvas = PLAIN) -> Tensor:
    """Run `solver` from state x to its last sigma.

    Args:
        denoise: (x, sigma) -> denoised; sigma is a 0-d tensor of x's dtype on x's device.
        solver: the table; exactly solver.nfe calls are made.
        x: (B, C, ...) state at solver.sigmas[0], any float dtype and device.
        callback: called as (row, x, denoised) after each model call; zeros where none is made.
        states: receives the N + 1 visited states, first and last included.
        check: stop at the first model output that is not finite.
        feature: (B, F) features of the newest model call, for a solver with a designer.
        canvas: what lies where in x: several media, a mask.

    Returns:
        (B, C, ...) state at solver.sigmas[-1].

    Raises:
        DivergedError: with `check`, when the model's output is not finite.
        SolverError: when the solver has a designer and there is no `feature`.
    """
    plan, begun = plan_of(solver), x
    bends = _bends(solver, plan, feature, canvas)
    ratio, rows, sigmas, told = (_cast(t, x) for t in (plan.ratio, plan.rows, solver.sigmas,
                                                       told_levels(solver)))
    used = plan.used.tolist()
    history: dict[int, Tensor] = {}
    if states is not None:
        states.append(x)
    for n in range(solver.steps):
        denoised = denoise(x, told[n]) if plan.called[n] else torch.zeros_like(x)
        if check and not _finite(denoised):
            raise DivergedError(NOT_FINITE.format(n + 1, solver.nfe))
        if callback is not None:
            callback(n, x, denoised)
        history[n] = (x - denoised) / sigmas[n] if plan.direction else denoised
        x = _stepped(x if plan.direction else x * ratio[n], rows[n], used[n], history)
        for bent in bends:
            x = x + canvas.painted(bent(n, denoised))
        history = {j: h for j, h in history.items() if plan.last_use[j] > n}
        if n == solver.steps - 1:
            x = canvas.ended(solver, begun, x, denoised)
        if states is not None:
            states.append(x)
    return x


def _stepped(x: Tensor, row: Tensor, used: list[bool], history: dict[int, Tensor]) -> Tensor:
    for j, reads in enumerate(used):
        if reads:
            x = x + row[j] * history[j]
    return x


def told_levels(solver: Solver) -> Tensor:
    """(N + 1,) noise levels that the model is told in its calls, and the last one."""
    own = solver.sigmas[:-1] if solver.model_sigmas is None else solver.model_sigmas
    return torch.cat([own, solver.sigmas[-1:]])


def _bends(solver: Solver, plan: Plan, feature: Feature | None,
           canvas: Canvas) -> list[Callable[[int, Tensor], Tensor]]:
    """What else is added to the state after step n, given its model output."""
    bends = [] if plan.means is None else [_Means(plan.means, canvas).bent]
    return bends if solver.designer_in is None else [*bends, _Designed(solver, feature).bent]


class _Means:
    """The means of a run's outputs, and the rows that only they follow."""

    def __init__(self, rows: Tensor, canvas: Canvas) -> None:
        self.rows, self.canvas = rows.tolist(), canvas
        self.seen: list[Tensor] = []

    def bent(self, n: int, denoised: Tensor) -> Tensor:
        """What each channel's mean gets beside after step n."""
        self.seen.append(self.canvas.means(denoised))
        return sum(share * mean for share, mean in zip(self.rows[n], self.seen, strict=False))


class _Designed:
    """A run's designer with the outputs it may still use."""

    def __init__(self, solver: Solver, feature: Feature | None) -> None:
        if feature is None:
            raise SolverError("this solver reads features of the model while it samples, and here "
                              "are none. Use a preset without a designer network.")
        self.solver, self.feature = solver, feature
        self.recent: list[Tensor] = []

    def bent(self, n: int, denoised: Tensor) -> Tensor:
        """What the designer adds to the state after step n."""
        inner, outer, sigmas = (self.solver.designer_in, self.solver.designer_out,
                                self.solver.sigmas)
        self.recent = [*self.recent, denoised][-1 - len(outer):]
        feature = self.feature()
        if feature.shape[1] + 3 != inner.shape[1]:
            raise SolverError(f"this solver's designer reads {inner.shape[1] - 3} features, this "
                              f"model has {feature.shape[1]}. It belongs to another model.")
        shares = deviations(inner, outer, inputs(feature, sigmas[n], n / self.solver.nfe))
        return float(1 - sigmas[n + 1] / sigmas[n]) * bend(shares, self.recent)


def _finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite, in one pass without a mask: they survive a sum."""
    return bool(torch.isfinite(values.sum(dtype=torch.float32)))


def _cast(values: Tensor, x: Tensor) -> Tensor:
    """The one cast: float64 tables become the state's dtype before they reach its device."""
    return values.to(x.dtype).to(x.device)
