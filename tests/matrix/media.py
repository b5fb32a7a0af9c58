"""Latents of one medium or of several (a video with its sound: ComfyUI's nested latents)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Latent = Any  # (B, C, ...), or comfy.nested_tensor.NestedTensor of such


def media(latent: Latent) -> list[Tensor]:
    """(B, C, ...) of each medium."""
    return [latent] if isinstance(latent, Tensor) else latent.unbind()


def nested(parts: Sequence[Tensor]) -> Latent:
    """A latent of these media: one is itself."""
    from comfy.nested_tensor import NestedTensor

    return parts[0] if len(parts) == 1 else NestedTensor(parts)


def each(latent: Latent, change: Callable[[Tensor], Tensor]) -> Latent:
    """The same done to every medium."""
    return nested([change(part) for part in media(latent)])


def shapes_of(latent: Latent) -> list[tuple[int, ...]]:
    """(C, ...) of each medium."""
    return [tuple(part.shape[1:]) for part in media(latent)]


def packed(latent: Latent) -> Tensor:
    """As samplers get it: several media in one row, (B, 1, N)."""
    from comfy.utils import pack_latents

    parts = media(latent)
    return parts[0] if len(parts) == 1 else pack_latents(parts)[0]


def side_by_side(latents: Sequence[Latent]) -> Latent:
    """Batches put behind one another, medium by medium."""
    return nested([torch.cat(parts) for parts in zip(*map(media, latents), strict=True)])


def off(found: Latent, expected: Latent) -> float:
    """Largest difference, in each medium of that medium's largest number."""
    pairs = list(zip(media(found), media(expected), strict=True))
    if any(a.shape != b.shape for a, b in pairs):
        return float("inf")
    return float(torch.stack([(a - b).abs().max() / b.abs().max().clamp_min(1e-30)
                              for a, b in pairs]).max())  # NaN if any is


def finite(latent: Latent) -> bool:
    """Whether every number is."""
    return all(bool(torch.isfinite(part).all()) for part in media(latent))
