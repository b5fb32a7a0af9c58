"""What a solver must know of the loaded model."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import comfy.model_sampling as sampling
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from ...solver_search.clocks import Clock, arcsinh_clock, flow_clock, time_clock
from .identity import (
    architecture,
    checkpoint_path,
    file_bytes,
    header_hash,
    patches,
    precision,
)

MODEL_SAMPLING = "model_sampling"
COMPILED = "torch.compile"  # ComfyUI's name of the wrapper


class UnsuitableModelError(ValueError):
    """This model cannot be sampled by a table of sigmas; the message says why."""


@dataclass(frozen=True)
class ModelFacts:
    """Identity and noise range of a loaded model.

    Args:
        family: ComfyUI's name of the architecture ("SD15", "SD3", ...).
        prediction: "eps", "v" or "flow".
        shift: a flow model's time shift as the factor on sigma / (1 - sigma), else None.
        sigma_min, sigma_max: noise range.
        latent_channels: of the latent format.
        file_name: name of the checkpoint file, "" if the loader does not say.
        dtype: the network computes in; weights may be stored in fewer bits.
        architecture, header_hash, precision, patches: see identity.py; "" where unknown.
        file_bytes: size of the checkpoint file, 0 where unknown.
    """

    family: str
    prediction: str
    shift: float | None
    sigma_min: float
    sigma_max: float
    latent_channels: int
    file_name: str
    dtype: torch.dtype
    architecture: str = ""
    header_hash: str = ""
    precision: str = ""
    patches: str = ""
    file_bytes: int = 0

    @property
    def flow(self) -> bool:
        """Whether states are (1 - sigma) * x0 + sigma * noise."""
        return self.prediction == "flow"


def facts(model: ModelPatcher) -> ModelFacts:
    """Read the facts of a MODEL, patches such as ModelSamplingSD3 included.

    Raises:
        UnsuitableModelError: for models whose states follow no noise level (image-to-image).
    """
    ms, path, computed = (model.get_model_object(MODEL_SAMPLING), checkpoint_path(model),
                          _compute_dtype(model))
    return ModelFacts(
        family=type(model.model.model_config).__name__,
        prediction=prediction(ms),
        shift=flow_shift(ms),
        sigma_min=float(ms.sigma_min),
        sigma_max=float(ms.sigma_max),
        latent_channels=model.get_model_object("latent_format").latent_channels,
        file_name=path.replace("\\", "/").rsplit("/", 1)[-1],
        dtype=computed,
        architecture=architecture(model),
        header_hash=header_hash(path),
        precision=precision(model, computed),
        patches=patches(model),
        file_bytes=file_bytes(path),
    )


def prediction(ms: nn.Module) -> str:
    """Prediction type of a model_sampling object."""
    if isinstance(ms, (sampling.IMG_TO_IMG, sampling.IMG_TO_IMG_FLOW)):
        raise UnsuitableModelError("This model turns one picture into another in its own way and "
                                   "has no noise levels to place; use its own sampler.")
    if isinstance(ms, sampling.CONST):
        return "flow"
    velocity = (sampling.V_PREDICTION, getattr(sampling, "V_PREDICTION_DDPM", ()))
    return "v" if isinstance(ms, velocity) else "eps"


def flow_shift(ms: nn.Module) -> float | None:
    """Shift of a flow model as a factor on sigma / (1 - sigma); None for eps and v models."""
    if not isinstance(ms, sampling.CONST):
        return None
    shift = float(getattr(ms, "shift", 1.0))
    return math.exp(shift) if isinstance(ms, sampling.ModelSamplingFlux) else shift


def with_shift(ms: nn.Module, shift: float) -> nn.Module:
    """A copy of a flow model's sampling at another shift, for schedules."""
    moved = copy.deepcopy(ms)
    if isinstance(ms, sampling.ModelSamplingFlux):
        moved.set_parameters(shift=math.log(shift))
    else:
        moved.set_parameters(shift=shift, multiplier=getattr(ms, "multiplier", 1000))
    return moved


def clocks(ms: nn.Module) -> tuple[Clock, Clock]:
    """The clock a search moves steps in, and uniform model time (as DSS)."""
    if isinstance(ms, sampling.CONST):
        return flow_clock(), flow_clock()
    smooth = arcsinh_clock(float(ms.sigma_max))
    return smooth, time_clock(ms.sigmas) if hasattr(ms, "sigmas") else smooth


def time(ms: nn.Module) -> Clock:
    """Uniform model time at the model's own shift: what ComfyUI's denoise counts in."""
    shift = flow_shift(ms)
    return clocks(ms)[1] if shift is None else flow_clock(shift)


def first_sigma(ms: nn.Module, denoise: float) -> float:
    """Noise level at which this share of the model's time is left, as KSampler's denoise."""
    top = float(ms.sigma_max)
    return top if denoise >= 1 else min(top, float(ms.percent_to_sigma(1 - denoise)))


def plain_schedule(ms: nn.Module, steps: int) -> Tensor:
    """ComfyUI's "simple" schedule."""
    return comfy.samplers.calculate_sigmas(ms, "simple", steps)


def is_compiled(model: ModelPatcher) -> bool:
    """Whether torch.compile is around the network or a part of it: by ComfyUI's own node, by
    patches of other packs, or in place. Such code is made anew for each number of pictures."""
    parts = [*model.model.modules(), *model.object_patches.values()]
    return bool(model.get_wrappers(WrappersMP.APPLY_MODEL, COMPILED)) or any(
        hasattr(part, "_torchdynamo_orig_callable") or getattr(part, "_compiled_call_impl", None)
        for part in parts)


def is_discrete(ms: nn.Module) -> bool:
    """Whether the model's time is an integer found by rounding sigma."""
    return type(ms).timestep is sampling.ModelSamplingDiscrete.timestep


def smooth_time(ms: nn.Module) -> nn.Module:
    """The same sampling with model time interpolated instead of rounded to an integer.

    Searches need it: a rounded time has no gradient and makes the error a staircase.
    """
    smooth = copy.copy(ms)
    smooth.__class__ = type(type(ms).__name__, (_SmoothTime, type(ms)), {})
    return smooth


class _SmoothTime:
    log_sigmas: Tensor

    def timestep(self, sigma: Tensor) -> Tensor:
        logs = self.log_sigmas.to(sigma.device)
        wanted = sigma.log().reshape(-1)
        high = torch.searchsorted(logs, wanted.detach()).clamp(1, len(logs) - 1)
        low = logs[high - 1]
        place = high - 1 + (wanted - low) / (logs[high] - low)
        return place.clamp(0, len(logs) - 1).view(sigma.shape)


def _compute_dtype(model: ModelPatcher) -> torch.dtype:
    cast = getattr(model.model, "manual_cast_dtype", None)
    return cast if cast is not None else model.model_dtype()
