"""What a preset states of its search before that begins."""

from __future__ import annotations

import datetime
from typing import Any

import torch

from ..presets.preset import PresetInfo
from ..solver_search.config import SearchConfig
from .comfy_bridge.latents import first_medium
from .comfy_bridge.model import ModelFacts
from .saving import plain
from .version import VERSION


def stated(model: ModelFacts, latent: Any, config: SearchConfig, name: str,  # noqa: ANN401
           guidance: float, key: str) -> PresetInfo:
    """Facts of an unfinished preset.

    Args:
        model: of the search.
        latent: its shape is the picture size.
        config: of its number of steps.
        name: of the preset.
        guidance: CFG scale.
        key: of all that the search depends on.

    Raises:
        PresetError: for what a preset cannot state.
    """
    first = first_medium(latent)
    *_, height, width = first.shape
    return PresetInfo(
        name=name, created=datetime.date.today().isoformat(),
        family=model.family, prediction=model.prediction,
        latent_channels=model.latent_channels, shift=model.shift,
        sigma_min=model.sigma_min, sigma_max=model.sigma_max,
        model_name=plain(model.file_name, 255), guidance=guidance, width=width,
        height=height, frames=first.shape[2] if first.ndim == 5 else 0,
        denoise=config.denoise if config.denoise < 1 else None,
        method=config.method, seed=config.seed,
        architecture=model.architecture, header_hash=model.header_hash,
        model_bytes=model.file_bytes,
        precision=plain(model.precision, 40), patches=plain(model.patches, 400),
        search_key=key, state="unfinished", tool_version=VERSION,
        torch_version=str(torch.__version__))
