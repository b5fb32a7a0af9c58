"""Latents in and pictures out."""

from __future__ import annotations

from typing import Any

import comfy.sample
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from torch import Tensor


def empty_latent(model: ModelPatcher, latent: dict) -> Tensor:
    """(B, C, ...) latent with the channels and dimensions this model wants."""
    return comfy.sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial"),
        latent.get("downscale_ratio_temporal"))


def is_nest(latent: Any) -> bool:  # noqa: ANN401
    """Whether this is ComfyUI's nest of several media, such as a video with its sound."""
    return bool(getattr(latent, "is_nested", False)) and not isinstance(latent, Tensor)


def media_shapes(latent: Any) -> tuple[tuple[int, ...], ...]:  # noqa: ANN401
    """(C, ...) of each medium of a nest; empty for one medium."""
    return tuple(tuple(x.shape[1:]) for x in latent.unbind()) if is_nest(latent) else ()


def first_medium(latent: Any) -> Tensor:  # noqa: ANN401
    """(B, C, ...) the latent itself, or the first of a nest: what people look at."""
    return latent.unbind()[0] if is_nest(latent) else latent


def decode(vae: VAE, samples: Tensor) -> Tensor:
    """(S, H, W, 3) pictures; of a video the first frame."""
    pictures = vae.decode(samples)
    return pictures[:, 0] if pictures.ndim == 5 else pictures
