"""What the author of a preset says about it, field by field, each with its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, get_type_hints

from .fields import Choice, Count, Date, FileName, Hex, Kind, Number, PresetError, Text, blank
from .pictures import Picture

ERROR = Number(0, 1e9)
SHARE = Number(0, 1)


@dataclass(frozen=True)
class PresetInfo:
    """What the author says. "", 0 or None mean unknown.

    Raises:
        PresetError: a wrong type, text that is too long or not plain, a number out of range, a
            CFG range without two ends.
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
    # What was measured on seeds the search never saw: mean relative error, the half width of its
    # 95 % interval, the median, and the share of seeds that land on another picture.
    error: Annotated[float | None, ERROR] = None
    error_interval: Annotated[float | None, ERROR] = None
    error_median: Annotated[float | None, ERROR] = None
    error_elsewhere: Annotated[float | None, SHARE] = None
    baseline: Annotated[str, Text(200)] = ""  # best ordinary sampler/scheduler/shift
    baseline_error: Annotated[float | None, ERROR] = None
    baseline_interval: Annotated[float | None, ERROR] = None
    baseline_median: Annotated[float | None, ERROR] = None
    baseline_elsewhere: Annotated[float | None, SHARE] = None
    difference_interval: Annotated[float | None, ERROR] = None  # of error - baseline_error, paired
    builtin: Annotated[str, Text(200)] = ""  # whose table it is: the search found nothing better
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
    # What came out, and how sure it is.
    state: Annotated[str, Choice(20, options=("", "unfinished"))] = ""  # stopped early, unmeasured
    picture: Annotated[str, Picture()] = ""  # made with it, as base64
    reference_picture: Annotated[str, Picture()] = ""  # of the same start, by the teacher
    # Which model and search exactly: equal digits, equal thing.
    search_key: Annotated[str, Hex(64)] = ""  # of all a search depends on
    architecture: Annotated[str, Hex(16)] = ""  # of the network's parameter names and shapes
    header_hash: Annotated[str, Hex(64)] = ""  # sha256 of the checkpoint's safetensors header
    model_bytes: Annotated[int, Count(10**15)] = 0  # of the checkpoint's file
    model_hash: Annotated[str, Hex(64)] = ""  # sha256 of all of it; AutoV2 is its first ten digits
    precision: Annotated[str, Text(40)] = ""  # such as "float16, stored float8_e4m3fn"
    patches: Annotated[str, Text(400)] = ""  # such as "LoRA: 2 patches"
    measured: Annotated[str, Text(2000, lines=True)] = ""  # by others than the author, a line each

    def __post_init__(self) -> None:
        for name, kind in kinds().items():
            value = getattr(self, name)
            if value is not None or kind.unknown is not None:
                object.__setattr__(self, name, kind.check(name, value))
        if blank(self.name):
            raise PresetError("name must not be empty. Give the preset a name.")
        low, high = self.guidance_low, self.guidance_high
        if (low is None) != (high is None) or low is not None and low > high:
            raise PresetError("guidance_low and guidance_high must come together, the lower one "
                              f"first, found {_end(low)} and {_end(high)}. Leave both out if "
                              "unknown.")


def _end(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


@cache
def kinds() -> dict[str, Kind | Picture]:
    """Field name -> its kind, in the order of declaration."""
    hints = get_type_hints(PresetInfo, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(PresetInfo)}
