"""What a search is: a problem, a budget, events, and the best solver so far.

A method is a function (problem, run, settings) that offers solvers to the Run. The Run (run.py)
counts model calls, measures each offer on held-out starts, keeps the best and stops the method by
an exception; whatever ends a search, run.best is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .canvas import PLAIN, Canvas
from .clocks import Clock
from .designer import Feature
from .sample import DivergedError
from .solver import Solver

STOPPED = "stopped by the user"
RowDenoise = Callable[[Tensor, Tensor, Tensor], Tensor]


class SearchStopped(Exception):
    """Ends a search in an orderly way; the message is the reason."""


class SearchError(RuntimeError):
    """A search that cannot go on; the message says what is wrong and what to do."""


class GradientError(SearchError):
    """The model has no gradient, or a wrong one; the message says how that was seen."""


def is_autograd(error: RuntimeError) -> bool:
    """Whether a descent failed for want of a gradient, so that one without can go on."""
    other = SearchError, DivergedError, torch.OutOfMemoryError
    return isinstance(error, GradientError) or not isinstance(error, other)


@dataclass(frozen=True)
class Problem:
    """One model under one setting, as a search sees it.

    Args:
        denoise: (x, sigma, items) -> denoised; items (B,) says which starts the rows of x belong
            to, so that each start keeps its own prompt. sigma is 0-d or (B,). Takes and gives
            states in main memory: the device holds what one call needs, however many there are.
        starts: (S, C, ...) states at sigma_max; the first `fit` are searched on, the others
            held out.
        fit: number of starts to fit.
        flow: see Solver.
        sigma_max: first sigma of every solver.
        schedules: name -> (N + 1,) sigmas of the ordinary schedules for this model and N.
        clock: progress in which steps move; `time` is uniform model time (as DSS).
        batch: most rows in one model call.
        difference: finite-difference step that the model's precision allows: 2e-3 for float32,
            1e-2 float16, 3e-2 bfloat16.
        feature: (B, F) features of the newest call of `denoise`, where a method asks for them.
        guidance: (B, C, ...) what guidance added in the newest call of `denoise` (see sample), or
            None where nobody says.
        canvas: which media lie in a state; each of about the same norm (Canvas.balance).
        balance: (1 or S, C, ...) factors, of all starts or of each, by which states are those of
            the model; None: they are. Tables are linear in a state, so a search in other units
            finds a table that holds in the model's; starts with larger units weigh more.
        told: name -> (N,) noise levels that the model is told on a schedule, where these are not
            its own.
        near: name of a schedule that is no ordinary one but a neighbour's levels.
    """

    denoise: RowDenoise
    starts: Tensor
    fit: int
    flow: bool
    sigma_max: float
    schedules: Mapping[str, Tensor]
    clock: Clock
    time: Clock
    batch: int = 64
    difference: float = 2e-3
    feature: Feature | None = None
    guidance: Callable[[], Tensor | None] = lambda: None
    canvas: Canvas = PLAIN
    balance: Tensor | None = None
    told: Mapping[str, Tensor] = field(default_factory=dict)
    near: str = ""

    def named(self, label: str) -> str:
        """table/schedule where it is a setting of ComfyUI's own samplers, else ""."""
        return "" if label.partition("/")[2] == self.near else label

    def shown(self, x: Tensor, items: Tensor) -> Tensor:
        """(B, C, ...) what people look at of states of these starts, in the model's units: the
        first medium."""
        factors = factors_of(self.balance, items)
        return self.canvas.parts(x if factors is None else x / factors)[0]

    @property
    def steps(self) -> int:
        """N, the number of model calls of the wanted solver."""
        return len(next(iter(self.schedules.values()))) - 1


def factors_of(balance: Tensor | None, items: Tensor) -> Tensor | None:
    """(1 or B, C, ...) a problem's `balance` for states of these starts, (B,)."""
    return balance if balance is None or len(balance) == 1 else balance[items]


@dataclass(frozen=True)
class Budget:
    """What a search may spend; a model call is one start through the model once (CFG included)."""

    model_calls: float = float("inf")
    seconds: float = float("inf")


@dataclass(frozen=True)
class Event:
    """Progress of a search, for bars, curves and previews."""

    phase: str
    model_calls: int
    seconds: float
    error: float | None = None  # what Run.offer returned of the newest offer
    best: float | None = None
    improved: bool = False
    stage: str = ""  # what is being done: see Run.stage
    builtin: str = ""  # the offer is this setting of ComfyUI's own samplers
    solver: Solver | None = None
    picture: Tensor | None = None  # (1, C, ...) the offer's end of a held-out start; None: it was
    #                               # measured before the search was ended, and goes on now
