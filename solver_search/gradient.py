"""Gradients through model calls with one call's activations alive at a time.

The forward pass keeps only x and sigma; the backward pass runs the call again under grad. Unlike
torch.utils.checkpoint this stays right when the network adds to its own activations in place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .sample import Denoise


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, denoise: Denoise, x: Tensor, sigma: Tensor) -> Tensor:  # noqa: ANN401
        ctx.denoise = denoise
        ctx.save_for_backward(x, sigma)
        return denoise(x, sigma)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, sigma = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        with torch.enable_grad(), torch.autograd.graph.allow_mutation_on_saved_tensors():
            denoised = ctx.denoise(x, sigma)
            grads = torch.autograd.grad(denoised, (x, sigma), gradients, allow_unused=True)
        zeros = (torch.zeros_like(t) if g is None else g
                 for t, g in zip((x, sigma), grads, strict=True))
        return None, *zeros


def recomputed(denoise: Denoise) -> Denoise:
    """The same denoiser, differentiable in x and sigma, with one call's activations at a time."""
    return lambda x, sigma: _Recomputed.apply(denoise, x, sigma)
