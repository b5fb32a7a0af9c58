r"""A solver is noise levels plus a lower-triangular table.

Every explicit deterministic sampler that calls the model N times visits N + 1 states

    x[n+1] = start[n] * (sigma[n+1]/sigma[0]) * x[0]
             + (alpha[n+1] - (sigma[n+1]/sigma[0]) * alpha[0]) * sum_j weights[n, j] * D[j]

with D[j] = denoise(x[j], model_sigma[j]), j <= n, and alpha = 1 for eps and v models
(x = x0 + sigma * noise) or 1 - sigma for flow models (x = (1 - sigma) * x0 + sigma * noise).
Rows of a *consistent* solver sum to 1 and start = 1: constant D and pure noise are then exact,
and the weights do not change when a flow model's shift does. A row is one model call, so Heun's
or UniPC's inner stages are rows too; an output that no row reads is not computed (DLMS's analytic
first step). Source: non-stationary solvers, Shaul et al. 2024 (arXiv 2403.01329), written over
denoised outputs.

Further tables act on a *basis* beside D: what guidance adds, and channel means (bases.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .bases import BASES, BASIS, WEIGHTS
from .checks import SolverError, check

TENSORS = ("sigmas", "weights", "start", "model_sigmas", "designer_in", "designer_out")


@dataclass(frozen=True, eq=False)
class Solver:
    """Noise levels and the table of a deterministic sampler.

    Args:
        sigmas: (N + 1,) noise levels of the visited states, never rising, float64 on the CPU.
            Equal neighbours are stages of one step. Only the last may be 0.
        weights: (N, N) lower-triangular, over denoised outputs (see the module's formula).
        flow: whether the state is (1 - sigma) * x0 + sigma * noise (else x0 + sigma * noise).
        start: (N,) factors on the start's share of each state, or None for 1: consistent rows.
        model_sigmas: (N,) noise level handed to the model in each call, or None for sigmas[:-1].
            Convention: D = denoise(x, model_sigma); state and table keep the true sigma.
        beside: (N, N) weights over further bases, by the names in BASES.
        designer_in, designer_out: (H, F + 3) and (K, H + 1), or None: a network that bends the
            rows for each picture (designer.py); needs features of the model's calls.

    Raises:
        SolverError: wrong shapes, not finite, out of order, rows that do not sum to 1.
    """

    sigmas: Tensor
    weights: Tensor
    flow: bool
    start: Tensor | None = None
    model_sigmas: Tensor | None = None
    designer_in: Tensor | None = None
    designer_out: Tensor | None = None
    beside: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in TENSORS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _double(name, value))
        tables = {b.name: _double(b.name, self.beside[b.name]) for b in BASES
                  if b.name in self.beside}
        object.__setattr__(self, "beside", tables)
        check(self.tensors, flow=self.flow)

    @property
    def steps(self) -> int:
        """N, the number of rows."""
        return self.weights.shape[0]

    @property
    def nfe(self) -> int:
        """Model calls of one run: outputs that some row reads. A call with CFG counts one."""
        return int(self.read.sum())

    @property
    def read(self) -> Tensor:
        """(N,) whether some row reads a row's own output; else its model call is not made."""
        tables = [t.detach() for t in (self.weights, *self.beside.values())]
        return torch.stack([(t != 0).any(dim=0) for t in tables]).any(dim=0)

    @property
    def consistent(self) -> bool:
        """Whether rows sum to 1, so that the table may move to another shift or range."""
        return self.start is None

    @property
    def guided(self) -> bool:
        """Whether it weighs what guidance adds."""
        return any(BASIS[name].guidance for name in self.beside)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All its numbers by name."""
        own = {name: getattr(self, name) for name in TENSORS}
        return {name: t for name, t in own.items() if t is not None} | dict(self.beside)

    def table(self, name: str | None) -> Tensor:
        """(N, N) what a basis follows: its own table, or the one it has none beside."""
        if name is None:
            return torch.zeros_like(self.weights)
        if name == WEIGHTS:
            return self.weights
        return self.beside[name] if name in self.beside else self.table(BASIS[name].instead)

    def alone(self, name: str) -> Solver:
        """The solver that has the table of a basis as its weights, and no other."""
        free = BASIS[name].guidance if name in BASIS else False
        ones = torch.ones(self.steps, dtype=torch.float64)
        start = ones if free and self.start is None else self.start
        return replace(self, weights=self.table(name), start=start, beside={}, designer_in=None,
                       designer_out=None)

    def without(self, *, guidance: bool = False, mean: bool = False) -> Solver:
        """This solver without the tables over G, or over means: these parts then follow what
        they follow without."""
        kept = {name: t for name, t in self.beside.items()
                if not (guidance and BASIS[name].guidance or mean and BASIS[name].mean)}
        return replace(self, beside=kept)

    def detach(self) -> Solver:
        """The same numbers, free of any autograd graph."""
        return make_solver({name: t.detach().clone() for name, t in self.tensors.items()},
                           flow=self.flow)


def make_solver(tensors: Mapping[str, Tensor], *, flow: bool) -> Solver:
    """The solver with these numbers by name; see Solver.tensors.

    Raises:
        SolverError: see Solver.
    """
    beside = {name: t for name, t in tensors.items() if name in BASIS}
    own = {name: t for name, t in tensors.items() if name not in BASIS}
    return Solver(flow=flow, beside=beside, **own)


def _double(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise SolverError(f"{name} must be a tensor of numbers, found {type(value).__name__}.")
    value = value.to("cpu", torch.float64)
    if not torch.isfinite(value.detach()).all():
        raise SolverError(f"{name} holds NaN or infinity; every entry must be finite. "
                          "The file or the search that made it is broken: make it again.")
    return value
