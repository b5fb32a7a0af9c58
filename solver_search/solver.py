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

Further tables act on a *basis* beside D. Two of them are parts of one sum: D and what guidance
adds, G[j] = D[j] - C[j] with C the output for the positive prompt alone, (CFG - 1)(C - U) where
CFG is plain. Rows over G have no condition on their sum. The others let each channel's mean over
all places follow a table of its own *instead* of the one over D or G.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

MAX_ROWS = 1024
MAX_WEIGHT = 1e4
ROW_SUM_TOLERANCE = 1e-4  # ComfyUI's deis integrates numerically: its rows sum to 1 within 9e-6
START_RANGE = (0.1, 10.0)
MAX_DESIGNER = 1e3
TENSORS = ("sigmas", "weights", "start", "model_sigmas", "designer_in", "designer_out")


class Basis(NamedTuple):
    """What a further table of weights acts on.

    Args:
        name: of the table, and of its tensor in a file.
        guidance: G, what guidance adds to the output for the positive prompt; else D.
        mean: only the channel means of it.
        instead: the table that this part follows where it has none of its own; None: nothing.
    """

    name: str
    guidance: bool
    mean: bool
    instead: str | None


WEIGHTS = "weights"
BASES = (
    Basis("mean_weights", guidance=False, mean=True, instead=WEIGHTS),
    Basis("guidance_weights", guidance=True, mean=False, instead=None),
    Basis("guidance_mean_weights", guidance=True, mean=True, instead="guidance_weights"),
)
BASIS = {basis.name: basis for basis in BASES}


class SolverError(ValueError):
    """A solver that cannot be: the message says what, expected, found and what to do."""


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
        _check_shapes(self)
        _check_sigmas(self.sigmas.detach(), self.flow)
        _check_weights(self)
        _check_designer(self)

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


def _check_shapes(solver: Solver) -> None:
    n = solver.sigmas.numel() - 1
    if solver.sigmas.ndim != 1 or not 1 <= n <= MAX_ROWS:
        raise SolverError(f"sigmas must be a list of 2 to {MAX_ROWS + 1} numbers, found shape "
                          f"{tuple(solver.sigmas.shape)}.")
    square = dict.fromkeys((WEIGHTS, *BASIS), (n, n))
    expected = {**square, "start": (n,), "model_sigmas": (n,)}
    for name, value in solver.tensors.items():
        shape = expected.get(name, tuple(value.shape))
        if tuple(value.shape) != shape:
            raise SolverError(f"{name} must have shape {shape} to go with {n + 1} sigmas, "
                              f"found {tuple(value.shape)}.")


def _check_sigmas(sigmas: Tensor, flow: bool) -> None:
    if (sigmas[:-1] <= 0).any() or sigmas[-1] < 0:
        raise SolverError("sigmas must be positive (the last may be 0), found "
                          f"{_numbers(sigmas)}.")
    if (sigmas[1:] > sigmas[:-1]).any():
        raise SolverError(f"sigmas must never rise, found {_numbers(sigmas)}.")
    if flow and sigmas[0] > 1:
        raise SolverError(f"sigmas of a flow model end at 1, found {float(sigmas[0]):.6g}. "
                          "This table is perhaps for an eps or v model.")


def _check_weights(solver: Solver) -> None:
    for name in (WEIGHTS, *solver.beside):
        sums = solver.consistent and not (name in BASIS and BASIS[name].guidance)
        _check_table(name, solver.table(name).detach(), consistent=sums)
    low, high = START_RANGE
    if solver.start is not None and not ((solver.start >= low) & (solver.start <= high)).all():
        raise SolverError(f"start must lie in {START_RANGE}, found {_numbers(solver.start)}.")
    if solver.model_sigmas is not None and (solver.model_sigmas <= 0).any():
        raise SolverError(f"model_sigmas must be positive, found {_numbers(solver.model_sigmas)}.")


def _check_table(name: str, table: Tensor, *, consistent: bool) -> None:
    if table.triu(1).any():
        raise SolverError(f"{name} must be lower-triangular: a step can only use outputs that "
                          "are already there.")
    if table.abs().max() > MAX_WEIGHT:
        raise SolverError(f"{name} must stay within {MAX_WEIGHT:g} in size, found "
                          f"{float(table.abs().max()):.6g}.")
    off = (table.sum(dim=1) - 1).abs()
    if consistent and off.max() > ROW_SUM_TOLERANCE:
        row = int(off.argmax())
        raise SolverError(f"each row of {name} must sum to 1 within {ROW_SUM_TOLERANCE:g}, row "
                          f"{row} sums to {float(table[row].sum()):.6g}.")


def _check_designer(solver: Solver) -> None:
    inner, outer = solver.designer_in, solver.designer_out
    if inner is None and outer is None:
        return
    if inner is None or outer is None or solver.start is not None:
        raise SolverError("designer_in and designer_out must come together, with rows that sum "
                          "to 1 (no start).")
    shapes = inner.ndim == outer.ndim == 2 and inner.shape[1] > 3
    if not shapes or outer.shape[1] != inner.shape[0] + 1 or outer.shape[0] > solver.steps:
        raise SolverError("designer_in must have shape (H, F + 3), designer_out (K, H + 1) with "
                          f"K at most {solver.steps}, found {tuple(inner.shape)} and "
                          f"{tuple(outer.shape)}.")
    largest = max(float(inner.detach().abs().max()), float(outer.detach().abs().max()))
    if largest > MAX_DESIGNER:
        raise SolverError(f"designer entries must stay within {MAX_DESIGNER:g} in size, found "
                          f"{largest:.6g}.")


def _numbers(values: Tensor) -> str:
    shown = [f"{float(v):.5g}" for v in values[:12]]
    return "[" + ", ".join(shown) + (", ...]" if values.numel() > 12 else "]")
