r"""Schedules of our own for eps and v models: even steps in a flow model's noise level, bent.

With tau = sigma / (1 + sigma), as flow_ab2 sees such a model, steps are even in a time u that
falls from 1 to 0 and is tau / tau_max but for one number:

    sigma(u) = bend * s / (1 + (bend - 1) * u),    s = u tau_max / (1 - u tau_max)

bend 1 leaves them even in tau; below 1 more of them lie near the finished picture.
Source: after A-FloPS (arXiv 2509.00036); the bend is ours.
"""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor

BETA = 0.6  # both exponents
BENDS = (0.35, 0.5, 0.7)  # the best of a model and CFG was among these (docs/decisions)


def bent(steps: int, sigma_max: float, bend: float) -> Tensor:
    """(steps + 1,) noise levels from sigma_max to 0, as the module says.

    Raises:
        ValueError: unless steps is at least 1, sigma_max and bend are positive.
    """
    if steps < 1 or sigma_max <= 0 or bend <= 0:
        raise ValueError("steps must be at least 1, sigma_max and bend positive, found "
                         f"{steps}, {sigma_max:g} and {bend:g}.")
    u = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    tau = u * sigma_max / (1 + sigma_max)
    return bend * tau / (1 - tau) / (1 + (bend - 1) * u)


def bent_schedules(steps: int, sigma_max: float) -> dict[str, Tensor]:
    """Those of BENDS by name, such as "flow_0.5"."""
    return {f"flow_{bend:g}": bent(steps, sigma_max, bend) for bend in BENDS}


def beta_times(steps: int) -> Tensor:
    """(steps + 1,) shares of the way from 0 to 1, denser at both ends: ComfyUI's "beta".

    Source: Lee et al. 2024, arXiv 2407.12173, with ComfyUI's alpha = beta = 0.6.
    """
    even = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return torch.from_numpy(betaincinv(BETA, BETA, even.numpy()))
