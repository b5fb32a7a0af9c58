r"""A designer: a small network that bends a solver's rows for each picture (DLMS, Liang et al.).

    z = (f - mean f) / std f,  ln sigma[n],  n / N,  1       f: features of the model's call n
    e = out @ (tanh(in @ z), 1)                              one entry per older output
    x[n+1] += (1 - r) sum_k e[k] (D[n-1-k] - D[n]),          r = sigma[n+1] / sigma[n]

Rows still sum to 1. With `out` zero the solver is its plain table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Feature = Callable[[], Tensor]
EXTRA = 3  # ln sigma, share of the way, constant


def inputs(feature: Tensor, sigma: Tensor, progress: float) -> Tensor:
    """(B, F + 3) what the network sees; each picture's features have mean 0 and variance 1."""
    feature = feature.float()
    spread = feature.std(dim=1, keepdim=True).clamp_min(1e-6)
    rest = torch.tensor([float(sigma.detach().log()), progress, 1.0], device=feature.device)
    return torch.cat([(feature - feature.mean(1, keepdim=True)) / spread,
                      rest.expand(len(feature), EXTRA)], dim=1)


def deviations(inner: Tensor, outer: Tensor, seen: Tensor) -> Tensor:
    """(B, K) what is added to the weights of the K outputs before the newest.

    Args:
        inner: (H, F + 3); outer: (K, H + 1).
        seen: (B, F + 3), see inputs().
    """
    hidden = torch.tanh(seen @ inner.to(seen).T)
    return torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1) @ outer.to(seen).T


def bend(shares: Tensor, outputs: list[Tensor]) -> Tensor:
    """(B, C, ...) sum_k shares[:, k] * (D[n-1-k] - D[n]) over the outputs there are.

    Args:
        shares: (B, K).
        outputs: oldest first, D[n] last.
    """
    newest, older = outputs[-1], outputs[:-1][::-1]
    shape = (-1,) + (1,) * (newest.ndim - 1)
    terms = [shares[:, k].to(newest.dtype).reshape(shape) * (d - newest)
             for k, d in zip(range(shares.shape[1]), older, strict=False)]
    return torch.stack(terms).sum(0) if terms else torch.zeros_like(newest)


def new_designer(features: int, outputs: int, *, width: int = 24, seed: int = 0,
                 ) -> tuple[Tensor, Tensor]:
    """A network that does not bend anything yet: random inner weights, zero outer ones."""
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randn(width, features + EXTRA, generator=generator, dtype=torch.float64)
    return inner / (features + EXTRA) ** 0.5, torch.zeros(outputs, width + 1, dtype=torch.float64)
