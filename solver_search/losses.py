"""Losses of Differentiable Solver Search (arXiv 2505.21114, section 4 and its released trainer).

Pure functions of states; each is a mean over samples and values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HUBER_DELTA = 1e-3
HUBER_WEIGHT = 1e3


def trajectory_mse(states: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum over steps of the mean squared error; each (B, ...)."""
    pairs = zip(states, targets, strict=True)
    return torch.stack([(x - y).square().mean() for x, y in pairs]).sum()


def endpoint_huber(x: Tensor, target: Tensor, *, delta: float = HUBER_DELTA,
                   weight: float = HUBER_WEIGHT) -> Tensor:
    """Weighted Huber loss on the end point; about `weight * delta` times L1 beyond delta."""
    return weight * torch.nn.functional.huber_loss(x, target, delta=delta)


def dss_loss(states: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The reweighted loss DSS uses for SiT and DiT: path MSE plus end-point Huber."""
    return trajectory_mse(states, targets) + endpoint_huber(states[-1], targets[-1])
