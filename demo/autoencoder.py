"""Training the autoencoders, and the latents they give the diffusion models.

ComfyUI hands a model `(z - shift) * scale` of what a VAE's `encode` returns, with shift and scale
fixed per model family. The encoder is trained to give about unit Gaussians `e`; TAESD's own two
numbers then make `z = e / vae_scale + vae_shift` come out of that transform standardised:
`vae_scale = std * scale`, `vae_shift = shift - mean / vae_scale`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .comfy_nodes.words import STYLES, SUBJECTS
from .loop import Loss
from .pictures import crop, load_regions, paint

BATCH, DECODER_BATCH = 16, 8
LATENT_NOISE = 0.06
CROPS = 96


def autoencoder_loss() -> Loss:
    """Reconstruction (absolute, squared, edges) and a pull of each latent channel to N(0, 1)."""
    regions = load_regions()

    def loss(vae: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        pictures = _random_pictures(regions, BATCH, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = vae.taesd_encoder(pictures)
        terms = _reconstruction(vae, latents, pictures, generator)
        prior = _distance_to_normal(latents.float())
        return {**terms, "loss": terms["loss"] + 0.01 * prior, "prior": prior}

    return loss


def decoder_loss() -> Loss:
    """Reconstruction alone, for the decoder alone: the latents are those the models learned."""
    regions = load_regions()

    def loss(vae: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        pictures = _random_pictures(regions, DECODER_BATCH, generator)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            latents = vae.taesd_encoder(pictures)
        return _reconstruction(vae, latents, pictures, generator)

    return loss


def _reconstruction(
    vae: nn.Module, latents: torch.Tensor, pictures: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    noise = torch.randn(latents.shape, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = vae.taesd_decoder(latents + LATENT_NOISE * noise).float()
    squared = F.mse_loss(outputs, pictures)
    edges = sum(_edge_error(outputs, pictures, axis) for axis in (2, 3))
    total = F.l1_loss(outputs, pictures) + 4 * squared + 0.5 * edges
    return {"loss": total, "psnr": -10 * squared.log10()}


def _random_pictures(
    regions: torch.Tensor, batch: int, generator: torch.Generator
) -> torch.Tensor:
    subjects = torch.randint(len(SUBJECTS), (batch,), generator=generator)
    styles = torch.randint(len(STYLES), (batch,), generator=generator)
    pictures = paint(crop(regions[subjects], generator), styles)
    return pictures.to(memory_format=torch.channels_last)


def _edge_error(outputs: torch.Tensor, pictures: torch.Tensor, axis: int) -> torch.Tensor:
    return F.l1_loss(outputs.diff(dim=axis), pictures.diff(dim=axis))


def _distance_to_normal(latents: torch.Tensor) -> torch.Tensor:
    mean, variance = latents.mean((0, 2, 3)), latents.var((0, 2, 3))
    outside = F.relu(latents.abs() - 3).mean()  # TAESD's decoder bends what is beyond 3
    return (mean.square() + (variance - 1).square()).mean() + 0.1 * outside


@torch.no_grad()
def standardise(vae: nn.Module, scale: float, shift: float) -> torch.Tensor:
    """Set `vae_scale` and `vae_shift` so that a model sees standardised latents.

    Args:
        vae: a trained TAESD; changed in place.
        scale: `scale_factor` of the model family's latent format.
        shift: its `shift_factor`, 0 where it has none.

    Returns:
        (subjects, styles, crops, C, 8, 8): what a model will see of fresh random crops.
    """
    generator = torch.Generator().manual_seed(7)
    regions = load_regions()
    styles = torch.arange(len(STYLES)).repeat_interleave(CROPS)
    rows = []
    for region in regions:
        pictures = crop(region.expand(len(styles), -1, -1, -1), generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows.append(vae.taesd_encoder(paint(pictures, styles)).float())
    latents = torch.stack(rows).unflatten(1, (len(STYLES), CROPS))
    mean, std = latents.mean(), latents.std()
    vae.vae_scale.fill_(std * scale)
    vae.vae_shift.fill_(shift - mean / vae.vae_scale)
    return (latents - mean) / std
