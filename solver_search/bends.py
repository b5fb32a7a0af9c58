"""What is done to a state beside the rows over D: further bases, and a designer network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .bases import BASIS
from .canvas import Canvas
from .designer import Feature, bend, deviations, inputs
from .history import History
from .plan import Plan, values_of
from .solver import Solver, SolverError

Guidance = Callable[[Tensor], Tensor | None]


def bends_of(solver: Solver, plan: Plan, feature: Feature | None, guidance: Guidance | None,
             canvas: Canvas) -> list[Callable[[Tensor, int, Tensor], Tensor]]:
    """What else is done to the state after step n, given its model output.

    Args:
        plan: of the solver.
        feature, guidance, canvas: see sample().

    Raises:
        SolverError: when the solver needs a `feature` or `guidance`, and there is none.
    """
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
