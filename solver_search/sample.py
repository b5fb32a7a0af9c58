"""The one loop that runs any solver: handcrafted, published, searched or a stranger's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .canvas import PLAIN, Canvas
from .designer import Feature, bend, deviations, inputs
from .history import History
from .plan import Plan, plan_of, values_of
from .solver import BASIS, Solver, SolverError

Denoise = Callable[[Tensor, Tensor], Tensor]
Guidance = Callable[[Tensor], Tensor | None]
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
    bends = _bends(solver, plan, feature, guidance, canvas)
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


def _bends(solver: Solver, plan: Plan, feature: Feature | None, guidance: Guidance | None,
           canvas: Canvas) -> list[Callable[[Tensor, int, Tensor], Tensor]]:
    """What else is done to the state after step n, given its model output."""
    bends = [_Beside(plan, guidance, canvas).bent] if plan.beside else []
    return bends if solver.designer_in is None else [*bends,
                                                     _Designed(solver, feature, canvas).bent]


class _Beside:
    """What the further bases saw in a run, and the rows over it."""

    def __init__(self, plan: Plan, guidance: Guidance | None, canvas: Canvas) -> None:
        if guidance is None and any(BASIS[name].guidance for name in plan.beside):
            raise SolverError("this solver weighs what guidance adds to a picture, and here that "
                              "cannot be seen. Use a preset without guidance weights.")
        self.called, self.guidance, self.canvas = plan.called, guidance, canvas
        self.histories = {BASIS[name]: History(rows) for name, rows in plan.beside.items()}

    def bent(self, x: Tensor, n: int, denoised: Tensor) -> Tensor:
        """The state after step n with what the further bases add to it."""
        guided = self.guidance(denoised) if self.guidance and self.called[n] else None
        guided = torch.zeros_like(denoised) if guided is None else guided
        for basis, history in self.histories.items():
            value = values_of(basis, denoised, guided, self.canvas)
            if self.canvas.mask is None and not basis.mean:
                x = history.onto(x, n, value)
            else:
                x = x + self.canvas.painted(history.onto(torch.zeros_like(value), n, value))
        return x


class _Designed:
    """A run's designer with the outputs it may still use."""

    def __init__(self, solver: Solver, feature: Feature | None, canvas: Canvas) -> None:
        if feature is None:
            raise SolverError("this solver reads features of the model while it samples, and here "
                              "are none. Use a preset without a designer network.")
        self.solver, self.feature, self.canvas = solver, feature, canvas
        self.recent: list[Tensor] = []

    def bent(self, x: Tensor, n: int, denoised: Tensor) -> Tensor:
        """The state after step n with what the designer adds to it."""
        inner, outer, sigmas = (self.solver.designer_in, self.solver.designer_out,
                                self.solver.sigmas)
        self.recent = [*self.recent, denoised][-1 - len(outer):]
        feature = self.feature()
        if feature.shape[1] + 3 != inner.shape[1]:
            raise SolverError(f"this solver's designer reads {inner.shape[1] - 3} features, this "
                              f"model has {feature.shape[1]}. It belongs to another model.")
        shares = deviations(inner, outer, inputs(feature, sigmas[n], n / self.solver.nfe))
        change = float(1 - sigmas[n + 1] / sigmas[n]) * bend(shares, self.recent)
        return x + self.canvas.painted(change)


def _check_finite(denoised: Tensor, n: int, solver: Solver) -> None:
    """In one pass without a mask: NaN and infinity survive a sum."""
    if not torch.isfinite(denoised.sum(dtype=torch.float32)):
        raise DivergedError(NOT_FINITE.format(n + 1, solver.nfe))


def _cast(values: Tensor, x: Tensor) -> Tensor:
    """The one cast: float64 tables become the state's dtype before they reach its device."""
    return values.to(x.dtype).to(x.device)
