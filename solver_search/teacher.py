"""Reference trajectories of the model's own ODE, and their states at any sigma."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bends import Guidance
from .forms import from_weights
from .sample import Denoise, sample
from .solver import Solver
from .tableaus import TABLEAUS

TEACHER = "ab2"  # the tableau of accurate teachers; why: docs/decisions/evidence.md


@dataclass(frozen=True)
class Trajectory:
    """States of one or more starts along a fine solver.

    Args:
        sigmas: (L + 1,) falling to 0.
        states: (L + 1, B, C, ...) visited states.
        directions: (L, B, C, ...) d = (x - D) / sigma at all but the last.
    """

    sigmas: Tensor
    states: Tensor
    directions: Tensor

    @property
    def end(self) -> Tensor:
        """(B, C, ...) the finished picture."""
        return self.states[-1]

    def at(self, sigma: float, items: Tensor | slice = slice(None)) -> Tensor:
        """State of some starts at any sigma, by cubic Hermite interpolation (d is the slope)."""
        i = self._interval(sigma)
        s0, s1 = float(self.sigmas[i]), float(self.sigmas[i + 1])
        h, t = s1 - s0, (sigma - s0) / (s1 - s0)
        x0, x1, d0, d1 = self._ends(i, items)
        return ((1 + 2 * t) * (1 - t) ** 2 * x0 + t * (1 - t) ** 2 * h * d0
                + t * t * (3 - 2 * t) * x1 + t * t * (t - 1) * h * d1)

    def denoised(self, sigma: float, items: Tensor | slice = slice(None)) -> Tensor:
        """D = x - sigma * dx/dsigma at any sigma above 0, from the slope of the same cubic."""
        i = self._interval(sigma)
        s0, s1 = float(self.sigmas[i]), float(self.sigmas[i + 1])
        h, t = s1 - s0, (sigma - s0) / (s1 - s0)
        x0, x1, d0, d1 = self._ends(i, items)
        slope = (6 * t * (1 - t) / h * (x1 - x0) + (1 - t) * (1 - 3 * t) * d0
                 + t * (3 * t - 2) * d1)
        return self.at(sigma, items) - sigma * slope

    def nearest(self, progress: float, items: Tensor | slice = slice(None)) -> Tensor:
        """State whose index is nearest to `progress` of the way, as DSS matches its teacher."""
        return self.states[round(progress * (len(self.sigmas) - 1)), items]

    def follow(self, items: Tensor, denoise: Denoise, solver: Solver, x: Tensor,
               guidance: Guidance | None = None) -> None:
        """Fill in what a teacher visits from some of the starts; see trace()."""
        def keep(row: int, state: Tensor, denoised: Tensor) -> None:
            self.states[row, items] = state
            self.directions[row, items] = (state - denoised) / float(solver.sigmas[row])

        self.states[-1, items] = sample(denoise, solver, x, keep, check=True, guidance=guidance)

    def _ends(self, i: int, items: Tensor | slice) -> tuple[Tensor, ...]:
        """States and slopes at both ends of an interval; the last slope is that of a parabola."""
        x0, x1, d0 = (v[items] for v in (self.states[i], self.states[i + 1], self.directions[i]))
        if self.sigmas[i + 1] > 0:
            return x0, x1, d0, self.directions[i + 1][items]
        h = float(self.sigmas[i + 1] - self.sigmas[i])
        return x0, x1, d0, 2 * (x1 - x0) / h - d0

    def _interval(self, sigma: float) -> int:
        above = int((self.sigmas > sigma).sum())
        return min(max(above - 1, 0), len(self.sigmas) - 2)


def euler_table(sigmas: Tensor, *, flow: bool) -> Solver:
    """Euler = DDIM on the given sigmas: the teacher of DSS."""
    return from_weights(sigmas, torch.eye(len(sigmas) - 1, dtype=torch.float64), flow=flow)


def trace(denoise: Denoise, solver: Solver, x: Tensor,
          guidance: Guidance | None = None) -> Trajectory:
    """Run a teacher solver and keep what it visits.

    Args:
        denoise, guidance: see sample().
        solver: one row per distinct sigma.
        x: (B, C, ...) starts.
    """
    found = untraced(solver, x)
    found.follow(torch.arange(len(x)), denoise, solver, x, guidance)
    return found


def untraced(solver: Solver, x: Tensor) -> Trajectory:
    """Room for trajectories of the starts x: most memory of a search, filled in place."""
    return Trajectory(solver.sigmas, torch.empty((solver.steps + 1, *x.shape), dtype=x.dtype),
                      torch.empty((solver.steps, *x.shape), dtype=x.dtype))


def accurate_teacher(calls: int, sigma_max: float, *, flow: bool) -> Solver:
    """Multistep solver on a dense grid: the converged reference of searches."""
    return TABLEAUS[TEACHER](fine_sigmas(calls, sigma_max, flow=flow), flow=flow)


def fine_sigmas(calls: int, sigma_max: float, *, flow: bool) -> Tensor:
    """(calls + 1,) noise levels dense where pictures form: a teacher's grid.

    Flow: sin(pi u / 2)^1.5, dense at both ends; eps and v: rho = 7 (Karras et al. 2022, eq. 5)
    down to 0.01, then 0.
    """
    u = torch.linspace(1, 0, calls + 1, dtype=torch.float64)
    if flow:
        return sigma_max * torch.sin(torch.pi * u / 2) ** 1.5
    low, high = 0.01 ** (1 / 7), sigma_max ** (1 / 7)
    ramp = torch.linspace(0, 1, calls, dtype=torch.float64)
    return torch.cat([(high + ramp * (low - high)) ** 7, torch.zeros(1, dtype=torch.float64)])
