"""Latents in and pictures out."""

from __future__ import annotations

import comfy.sample
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from torch import Tensor


def empty_latent(model: ModelPatcher, latent: dict) -> Tensor:
    """(B, C, ...) latent with the channels and dimensions this model wants."""
    return comfy.sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial"),
        latent.get("downscale_ratio_temporal"))


def decode(vae: VAE, samples: Tensor) -> Tensor:
    """(S, H, W, 3) pictures; of a video the first frame."""
    pictures = vae.decode(samples)
    return pictures[:, 0] if pictures.ndim == 5 else pictures
