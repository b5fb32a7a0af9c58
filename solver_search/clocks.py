"""Clocks: monotone maps between progress (0: pure noise, 1: finished picture) and sigma.

A search moves steps in progress, where a good clock makes useful steps about equally long.
All maps are differentiable; sigmas and progress are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ARCSINH_SCALE = 20.0  # linear below sigma ~ 1/20, logarithmic above; measured, evidence of docs


@dataclass(frozen=True)
class Clock:
    """sigma(progress) and its inverse progress(sigma); sigma(1) = 0."""

    sigma: Callable[[Tensor], Tensor]
    progress: Callable[[Tensor], Tensor]


def flow_clock(shift: float = 1.0) -> Clock:
    """Uniform time of a flow model at the given shift: t -> shift * t / (1 + (shift - 1) * t)."""
    def sigma(progress: Tensor) -> Tensor:
        t = 1 - progress
        return shift * t / (1 + (shift - 1) * t)

    def progress(sigma: Tensor) -> Tensor:
        return 1 - sigma / (shift - (shift - 1) * sigma)

    return Clock(sigma, progress)


def arcsinh_clock(sigma_max: float) -> Clock:
    """Logarithmic in sigma above 1/20, linear below: for eps and v models."""
    top = torch.asinh(torch.tensor(ARCSINH_SCALE * sigma_max, dtype=torch.float64))

    def sigma(progress: Tensor) -> Tensor:
        return torch.sinh((1 - progress) * top) / ARCSINH_SCALE

    def progress(sigma: Tensor) -> Tensor:
        return 1 - torch.asinh(sigma * ARCSINH_SCALE) / top

    return Clock(sigma, progress)


def rest(clock: Clock, first: float) -> Clock:
    """The same clock from sigma `first` on: progress 0 is there."""
    begin = clock.progress(torch.tensor(first, dtype=torch.float64))

    def progress(sigma: Tensor) -> Tensor:
        return (clock.progress(sigma) - begin) / (1 - begin)

    return Clock(lambda p: clock.sigma(begin + (1 - begin) * p), progress)


def time_clock(table: Tensor) -> Clock:
    """Uniform model time of a discrete model.

    Args:
        table: (T,) rising sigmas of the model's integer times. Progress 0 is table[-1]; between
            entries log sigma is linear (as ComfyUI's ModelSamplingDiscrete.sigma); the time
            after the first entry ends at sigma 0.
    """
    logs = torch.as_tensor(table, dtype=torch.float64, device="cpu").log().flip(0)
    knots = torch.linspace(0, 1, len(logs) + 1, dtype=torch.float64)[:-1]

    def sigma(progress: Tensor) -> Tensor:
        place = (progress * len(logs)).clamp(0, len(logs) - 1)
        low = place.detach().floor().long().clamp(max=len(logs) - 2)
        inside = torch.lerp(logs[low], logs[low + 1], place - low).exp()
        return torch.where(progress >= 1, torch.zeros_like(inside), inside)

    def progress(sigma: Tensor) -> Tensor:
        wanted = -sigma.clamp_min(1e-30).log()
        high = torch.searchsorted(-logs, wanted.detach()).clamp(1, len(logs) - 1)
        part = (wanted + logs[high - 1]) / (logs[high - 1] - logs[high])
        inside = knots[high - 1] + part.clamp(0, 1) / len(logs)
        return torch.where(sigma <= 0, torch.ones_like(inside), inside)

    return Clock(sigma, progress)
