"""Data whose denoiser and sampling ODE have closed forms.

A state at sigma is alpha * x0 + sigma * noise, alpha = 1 (eps, v) or 1 - sigma (flow); every
number of a state is on its own, so any shape will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Numbers drawn from sum_k shares[k] * N(means[k], deviations[k]^2); one term: a Gaussian."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    shares: tuple[float, ...]
    flow: bool

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x]; sigma 0-d or (B,) as ComfyUI hands it over."""
        alpha, mean, deviation, share = self._terms(x, sigma)
        variance = alpha**2 * deviation**2 + self._level(x, sigma) ** 2
        off = x[None] - alpha * mean
        log_density = share.log() - variance.log() / 2 - off**2 / variance / 2
        best = mean + alpha * deviation**2 / variance * off
        return (log_density.softmax(dim=0) * best).sum(dim=0)

    def solve(self, x: Tensor, sigma: Tensor, end: Tensor) -> Tensor:
        """Exact ODE solution: quantiles stay where they are; found by bisection."""
        wanted = self._quantile(x, sigma)
        low, high = torch.full_like(x, -200.0), torch.full_like(x, 200.0)
        for _ in range(80):
            middle = (low + high) / 2
            below = self._quantile(middle, end) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def _quantile(self, x: Tensor, sigma: Tensor) -> Tensor:
        alpha, mean, deviation, share = self._terms(x, sigma)
        spread = (alpha**2 * deviation**2 + self._level(x, sigma) ** 2).sqrt()
        return (share * torch.special.ndtr((x[None] - alpha * mean) / spread)).sum(dim=0)

    def _terms(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        alpha = 1 - self._level(x, sigma) if self.flow else x.new_ones(())
        column = [torch.tensor(v, dtype=x.dtype).view(-1, *(1,) * x.ndim)
                  for v in (self.means, self.deviations, self.shares)]
        return alpha, *column

    def _level(self, x: Tensor, sigma: Tensor) -> Tensor:
        return sigma.view(1, -1, *(1,) * (x.ndim - 1)) if sigma.ndim else sigma


def gaussian(*, flow: bool) -> Mixture:
    return Mixture((0.3,), (0.8,), (1.0,), flow)


def mixture(*, flow: bool) -> Mixture:
    return Mixture((-1.0, 0.8), (0.5, 0.6), (0.4, 0.6), flow)


def gaussian_solution(problem: Mixture, x: Tensor, sigma: Tensor, end: Tensor) -> Tensor:
    """The ODE's solution for one Gaussian: the distance from the mean scales with the spread."""
    (mean,), (deviation,) = problem.means, problem.deviations
    share, share_end = ((1 - s if problem.flow else 1.0) for s in (sigma, end))
    spread = ((share * deviation) ** 2 + sigma**2) ** 0.5
    spread_end = ((share_end * deviation) ** 2 + end**2) ** 0.5
    return share_end * mean + (x - share * mean) * spread_end / spread


class Counted:
    """A denoiser that keeps what it was asked."""

    def __init__(self, denoise: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.denoise = denoise
        self.points: list[Tensor] = []
        self.sigmas: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: Tensor, **extra: object) -> Tensor:
        self.points.append(x)
        self.sigmas.append(sigma)
        return self.denoise(x, sigma)
