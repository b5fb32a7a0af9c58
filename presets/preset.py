"""What a preset is: a solver, and what its author says about it.

The numbers decide the `id`; the words around them do not. Everything in `PresetInfo` is the
author's report: nothing in it is proof, and only `solver` changes a picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Annotated, get_type_hints

import numpy as np

from ..solver_search.solver import Solver
from .fields import Choice, Count, Date, FileName, Kind, Number, PresetError, Text
from .words import guidance_range, promise

# Sorted: also their order in the file.
TENSORS = ("designer_in", "designer_out", "mean_weights", "model_sigmas", "sigmas", "start",
           "weights")
MAX_STEPS = 64
SIGMA_RANGE = (1e-6, 1e5)  # widest known: zero terminal SNR at 4518; the last may also be 0
ERROR = Number(0, 1e9)


@dataclass(frozen=True)
class PresetInfo:
    """What the author says. "", 0 or None mean unknown.

    Raises:
        PresetError: a wrong type, text that is too long or not plain, a number out of range.
    """

    name: Annotated[str, Text(80)]
    prediction: Annotated[str, Choice(8, options=("eps", "v", "flow"))]
    author: Annotated[str, Text(80)] = ""
    created: Annotated[str, Date(10)] = ""
    licence: Annotated[str, Text(40)] = "CC0-1.0"
    notes: Annotated[str, Text(4000, lines=True)] = ""
    # The model it was searched on.
    family: Annotated[str, Text(80)] = ""  # ComfyUI's class: SD15, SDXL, SD3, Flux ...
    model_name: Annotated[str, FileName(255)] = ""
    latent_channels: Annotated[int, Count(4096)] = 0
    # Flow models only: the factor on sigma / (1 - sigma), so 3.16 for a Flux setting of 1.15.
    shift: Annotated[float | None, Number(1e-3, 1e3)] = None
    sigma_min: Annotated[float | None, Number(0, 1e6)] = None  # of the model, not of the solver
    sigma_max: Annotated[float | None, Number(0, 1e6)] = None
    # The setting it was searched at; sizes are of the latent.
    guidance: Annotated[float | None, Number(0, 1e3)] = None
    width: Annotated[int, Count(10**6)] = 0
    height: Annotated[int, Count(10**6)] = 0
    frames: Annotated[int, Count(10**6)] = 0
    denoise: Annotated[float | None, Number(0, 1)] = None  # share of the way, as KSampler's
    prompts: Annotated[int, Count(10**12)] = 0  # different ones the search learned from
    # How it was searched.
    method: Annotated[str, Text(80)] = ""
    teacher: Annotated[str, Text(200)] = ""  # such as "res_multistep 48 calls"
    trajectories: Annotated[int, Count(10**12)] = 0
    model_calls: Annotated[int, Count(10**12)] = 0  # spent by the search, not by the solver
    seconds: Annotated[float | None, Number(0, 1e9)] = None
    seed: Annotated[int | None, Count(2**64 - 1, unknown=None)] = None
    # What was measured on seeds the search never saw: mean relative error, and the half width
    # of its 95 % interval.
    error: Annotated[float | None, ERROR] = None
    error_interval: Annotated[float | None, ERROR] = None
    baseline: Annotated[str, Text(200)] = ""  # best ordinary sampler/scheduler/shift
    baseline_error: Annotated[float | None, ERROR] = None
    baseline_interval: Annotated[float | None, ERROR] = None
    # CFG scales between which it was better than the best ordinary setting at each scale; absent
    # beside `guidance_measured`: at none.
    guidance_low: Annotated[float | None, Number(0, 1e3)] = None
    guidance_high: Annotated[float | None, Number(0, 1e3)] = None
    guidance_measured: Annotated[str, Text(400)] = ""  # such as "3: 0.06 / 0.11, 4: 0.12 / 0.14"
    held_out_seeds: Annotated[int, Count(10**12)] = 0
    held_out_prompts: Annotated[int, Count(10**12)] = 0  # that the search never saw
    reference: Annotated[str, Text(200)] = ""  # what the error is measured against
    tool_version: Annotated[str, Text(40)] = ""
    torch_version: Annotated[str, Text(40)] = ""

    def __post_init__(self) -> None:
        for name, kind in kinds().items():
            value = getattr(self, name)
            if value is not None or kind.unknown is not None:
                object.__setattr__(self, name, kind.check(name, value))
        if not self.name.strip():
            raise PresetError("name must not be empty. Give the preset a name.")


@cache
def kinds() -> dict[str, Kind]:
    """Field name -> its kind, in the order of declaration."""
    hints = get_type_hints(PresetInfo, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(PresetInfo)}


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
        fitting = [p for p in (self, *self.siblings) if p.solver.nfe == steps] or [self]
        if first is None:
            return fitting[0]
        return min(fitting, key=lambda p: abs(float(p.solver.sigmas[0]) - first))

    @property
    def partial(self) -> bool:
        """Whether it is made for the end of the way only: image to image."""
        return self.info.denoise is not None and self.info.denoise < 1

    @property
    def top(self) -> float:
        """Highest noise level of the model it is made for; the solver may begin below."""
        first = float(self.solver.sigmas[0])
        return self.info.sigma_max or first if self.partial else first

    @property
    def promise(self) -> str:
        """What the author measured, and at which CFG it holds."""
        said = (promise(self.info, calls=self.solver.nfe), guidance_range(self.info))
        return " ".join(filter(None, said))


def tensors(solver: Solver) -> dict[str, np.ndarray]:
    """The solver's numbers by name, in the file's order, as little-endian float64."""
    present = {name: getattr(solver, name) for name in TENSORS}
    return {name: np.ascontiguousarray(value.detach().numpy().astype("<f8"))
            for name, value in present.items() if value is not None}


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
