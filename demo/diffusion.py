"""Losses of the two diffusion models, in the conventions ComfyUI samples them with.

Flow (SD3): x = (1 - s) x0 + s n, the network sees t = 1000 s and predicts n - x0.
Eps (SD1.5): the network sees (x0 + s n) / sqrt(1 + s^2) and t with s = s(t), predicts n. t is
continuous with log s interpolated between the 1000 trained values, as ComfyUI does, so sampling
between them is no extrapolation.
"""

from __future__ import annotations

import torch
from torch import nn

from .architectures import EPS_CONTEXT, FLOW_CONTEXT, FLOW_POOLED
from .comfy_nodes.words import EMPTY, STYLES, SUBJECTS, pooled_rows, token_rows
from .comfyui import load_comfy
from .loop import Loss

DROPPED, ONE_WORD = 0.12, 0.06
SNR_LIMIT = 5.0


def condition_texts() -> list[str]:
    """Every text of training: subject and style, subject, style, nothing.

    Its order is row-major over (subjects + none, styles + none), the indices `draw` uses.
    """
    return [f"{a} {b}".strip() for a in (*SUBJECTS, EMPTY) for b in (*STYLES, EMPTY)]


def draw(
    latents: torch.Tensor, batch: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of latents and their texts.

    Args:
        latents: (subjects, styles, crops, C, h, w).
        batch: B.
        generator: decides which, and which words are left out.

    Returns:
        (B, C, h, w) and (B,) indices into `condition_texts()`.
    """
    subjects, styles, crops = latents.shape[:3]
    draws = [torch.randint(n, (batch,), generator=generator) for n in (subjects, styles, crops)]
    fate = torch.rand(batch, generator=generator)
    no_subject = fate < DROPPED + ONE_WORD / 2
    no_style = (fate < DROPPED) | (fate > 1 - ONE_WORD / 2)
    row = torch.where(no_subject, subjects, draws[0])
    column = torch.where(no_style, styles, draws[1])
    return latents[draws[0], draws[1], draws[2]].float(), row * (styles + 1) + column


def flow_loss(latents: torch.Tensor, batch: int) -> Loss:
    """Mean squared velocity error; s is 4 parts logit-normal(0.4, 1) and 1 part uniform."""
    tokens = token_rows(condition_texts(), FLOW_CONTEXT)
    pooled = pooled_rows(condition_texts(), FLOW_POOLED)

    def loss(model: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        clean, texts = draw(latents, batch, generator)
        noise = torch.randn(clean.shape, generator=generator)
        sigma = (torch.randn(batch, generator=generator) + 0.4).sigmoid()
        sigma[::5] = torch.rand(len(sigma[::5]), generator=generator)
        level = sigma[:, None, None, None]
        noisy = (1 - level) * clean + level * noise
        with torch.autocast("cpu", dtype=torch.bfloat16):
            velocity = model(noisy, 1000 * sigma, context=tokens[texts], y=pooled[texts]).float()
        return {"loss": (velocity - (noise - clean)).square().mean()}

    return loss


def eps_loss(latents: torch.Tensor, batch: int) -> Loss:
    """Noise error weighted by min(SNR, 5) / SNR (Hang et al. 2023, arXiv:2303.09556)."""
    tokens = token_rows(condition_texts(), EPS_CONTEXT)
    sampling = load_comfy("comfy.model_sampling").ModelSamplingDiscrete()

    def loss(model: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        clean, texts = draw(latents, batch, generator)
        noise = torch.randn(clean.shape, generator=generator)
        timestep = 999 * torch.rand(batch, generator=generator)
        sigma = sampling.sigma(timestep)[:, None, None, None]
        noisy = (clean + sigma * noise) / (1 + sigma**2).sqrt()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            predicted = model(noisy, timestep, context=tokens[texts]).float()
        error = (predicted - noise).square()
        weight = (SNR_LIMIT * sigma**2).clamp(max=1)
        return {"loss": (weight * error).mean(), "eps": error.mean()}

    return loss
