"""The empty latent of a model for a size in pixels, as ComfyUI's nodes for its family make it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..presets.info import PresetInfo
from .exits import Exit, Refusal


def empty(model: Any, width: int, height: int, frames: int,  # noqa: ANN401  comfy's own type
          batch: int) -> dict[str, Tensor]:
    """LATENT of zeros.

    Args:
        model: MODEL, whose latent format says channels, dimensions and ratios.
        width, height: in pixels.
        frames: pictures of a video; 1 for a picture.
        batch: pictures, or videos, per model call.

    Raises:
        Refusal: for a size that the model cannot have, or a model of sounds.
    """
    latents = model.get_model_object("latent_format")
    dimensions, ratio = latents.latent_dimensions, getattr(latents, "spacial_downscale_ratio", 8)
    if dimensions not in (2, 3):
        raise Refusal(Exit.MODEL, "This model makes sounds, which have no size in pixels. Search "
                      "for it with the Search Solver node.")
    if width % ratio or height % ratio:
        raise Refusal(Exit.REQUEST, f"Width and height must be multiples of {ratio} for this "
                      f"model, found {width}x{height}. Nearest: {_near(width, ratio)}x"
                      f"{_near(height, ratio)}.")
    if frames > 1 and dimensions == 2:
        raise Refusal(Exit.REQUEST, f"This model makes pictures, found --frames {frames}. Leave "
                      "it out.")
    shape = [batch, latents.latent_channels, height // ratio, width // ratio]
    if dimensions == 3:
        shape.insert(2, 1 if frames == 1 else (frames - 1) // _temporal(latents) + 1)
    return {"samples": torch.zeros(shape)}


def _temporal(latents: Any) -> int:  # noqa: ANN401
    ratio = getattr(latents, "temporal_downscale_ratio", None)
    if ratio is None:  # ComfyUI 0.16: only its nodes know
        raise Refusal(Exit.MODEL, "This ComfyUI does not say how many frames a latent of this "
                      "model holds. Update ComfyUI, or leave --frames out.")
    return ratio


def _near(pixels: int, ratio: int) -> int:
    return max(1, round(pixels / ratio)) * ratio


def pixels(model: Any, info: PresetInfo) -> tuple[int, int]:  # noqa: ANN401
    """(width, height) that a preset was searched at.

    Raises:
        Refusal: if it does not say.
    """
    if not info.width or not info.height:
        raise Refusal(Exit.REQUEST, "The preset does not say at which size it was searched. Say "
                      "at which to measure, with --size.")
    ratio = getattr(model.get_model_object("latent_format"), "spacial_downscale_ratio", 8)
    return info.width * ratio, info.height * ratio
