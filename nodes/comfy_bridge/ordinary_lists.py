"""Noise levels of ordinary schedules, from what a preset file says of its model."""

from __future__ import annotations

import comfy.model_sampling as sampling
from torch import nn

from ...presets.info import PresetInfo
from .ordinary import schedules

NAMES = ("simple", "normal", "karras", "exponential", "sgm_uniform", "beta", "ddim_uniform",
         "kl_optimal", "linear_quadratic")
CLOSE = 1e-3  # relative: sigma_max of the same betas


def ordinary_lists(info: PresetInfo, steps: int) -> dict[str, list[float]]:
    """Sigma lists of ComfyUI's schedules at as many steps; none where the model is not known.

    Args:
        info: whose shift or sigma_max say which noise levels the model has.
        steps: of each list.
    """
    ms = _sampling(info)
    if ms is None:
        return {}
    end = "" if info.shift is None else f"@{info.shift:.4g}"
    found = schedules(ms, steps, denoise=info.denoise or 1.0)
    return {name: found[name + end].tolist() for name in NAMES if name + end in found}


def _sampling(info: PresetInfo) -> nn.Module | None:
    if info.shift is not None:
        flow = _Flow()
        flow.set_parameters(shift=info.shift)
        return flow
    usual = sampling.ModelSamplingDiscrete()
    top = float(usual.sigma_max)
    known = info.sigma_max is not None and abs(info.sigma_max - top) < CLOSE * top
    return usual if known else None


class _Flow(sampling.ModelSamplingDiscreteFlow, sampling.CONST):
    """Noise levels of a flow model; its shift is a factor."""
