"""What a preset is: a solver, and what its author says about it.

The numbers decide the `id`; the words around them do not. Everything in `PresetInfo` is the
author's report: nothing in it is proof, and only `solver` changes a picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..solver_search.solver import BASIS, WEIGHTS, Solver
from ..solver_search.solver import TENSORS as solver_tensors
from .fields import PresetError
from .info import PresetInfo
from .words import guidance_range, promise

TENSORS = sorted((*solver_tensors, *BASIS))  # also their order in the file
MAX_STEPS = 64
MAX_ROW = 100.0  # row sum of sizes; published solvers need at most 17.1, searched ones 1.2
SIGMA_RANGE = (1e-6, 1e5)  # widest known: zero terminal SNR at 4518; the last may also be 0


@dataclass(frozen=True, eq=False)
class Preset:
    """A solver and what is said about it.

    Args:
        siblings: presets for other numbers of steps or another denoise, of which a sampler may
            take the one that fits what it is asked for. Not in the file.

    Raises:
        PresetError: steps outside 1 to 64, sigmas outside any model's range, or an info that
            contradicts the solver (prediction, shift).
    """

    solver: Solver
    info: PresetInfo
    siblings: tuple[Preset, ...] = ()

    def __post_init__(self) -> None:
        _check_range(self.solver)
        _check_prediction(self.solver.flow, self.info)

    @cached_property
    def id(self) -> str:
        """16 hex digits that name these numbers.

        The first 16 of sha256 over `flow=1` or `flow=0` and a line feed, then for each tensor
        present, in alphabetical order: its name, a space, its shape joined by `x`, a line feed,
        its entries row by row as little-endian float64.
        """
        digest = hashlib.sha256(b"flow=1\n" if self.solver.flow else b"flow=0\n")
        for name, values in tensors(self.solver).items():
            digest.update(f"{name} {'x'.join(map(str, values.shape))}\n".encode())
            digest.update(values.tobytes())
        return digest.hexdigest()[:16]

    def member(self, steps: int, first: float | None = None) -> Preset:
        """This preset, or the sibling that fits better.

        Args:
            steps: as many are wanted; when none has so many, this preset itself is taken.
            first: noise level to begin at; of several with as many steps the nearest is taken.
        """
        fitting = [p for p in (self, *self.siblings) if p.steps == steps] or [self]
        if first is None:
            return fitting[0]
        return min(fitting, key=lambda p: abs(float(p.solver.sigmas[0]) - first))

    @property
    def partial(self) -> bool:
        """Whether it is made for the end of the way only: image to image."""
        return self.info.denoise is not None and self.info.denoise < 1

    @cached_property
    def steps(self) -> int:
        """Model calls of a sampling, as a KSampler counts its steps."""
        return self.solver.nfe

    @cached_property
    def top(self) -> float:
        """Highest noise level of the model it is made for; the solver may begin below."""
        first = float(self.solver.sigmas[0])
        return self.info.sigma_max or first if self.partial else first

    @property
    def promise(self) -> str:
        """What the author measured, and at which CFG it holds."""
        said = (promise(self.info, calls=self.steps), guidance_range(self.info))
        return " ".join(filter(None, said))


def tensors(solver: Solver) -> dict[str, np.ndarray]:
    """The solver's numbers by name, in the file's order, as little-endian float64."""
    return {name: np.ascontiguousarray(value.detach().numpy().astype("<f8"))
            for name, value in sorted(solver.tensors.items())}


def check_rows(solver: Solver) -> None:
    """Refuse tables that blow a picture up: asked where files are read and written.

    A search may try such a solver, but no file may carry one.

    Raises:
        PresetError: the sizes of a row's weights sum to more than 100.
    """
    for name in (WEIGHTS, *solver.beside):
        sums = solver.table(name).detach().abs().sum(dim=1)
        if sums.max() > MAX_ROW:
            row = int(sums.argmax())
            raise PresetError(f"The sizes of each row of {name} must sum to at most "
                              f"{MAX_ROW:g}, row {row} sums to {float(sums[row]):.6g}: pictures "
                              "would break. Fetch another preset, or search again.")


def _check_range(solver: Solver) -> None:
    if not 1 <= solver.nfe <= MAX_STEPS:
        raise PresetError(f"A preset must have 1 to {MAX_STEPS} model calls, found "
                          f"{solver.nfe}.")
    called = [solver.sigmas[:-1], solver.sigmas[-1:][solver.sigmas[-1:] != 0]]
    called += [] if solver.model_sigmas is None else [solver.model_sigmas]
    low, high = SIGMA_RANGE
    for values in called:
        if ((values < low) | (values > high)).any():
            raise PresetError(f"sigmas and model_sigmas must lie in {low:g} to {high:g} (the "
                              "last sigma may be 0): no model has others.")


def _check_prediction(flow: bool, info: PresetInfo) -> None:
    if flow != (info.prediction == "flow"):
        kind = "a flow" if flow else "an eps or v"
        raise PresetError(f"prediction must agree with the solver, which is for {kind} model, "
                          f"found {info.prediction}.")
    if flow and info.shift is None:
        raise PresetError("shift must be given for a flow model: without it nobody can tell "
                          "where the sigmas hold. Write 1 if the model has none.")
    if not flow and info.shift is not None:
        raise PresetError(f"shift belongs to flow models, found {info.shift:g} with prediction "
                          f"{info.prediction}. Leave it out.")
