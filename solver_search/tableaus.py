r"""Handcrafted samplers as tables: a builder turns a step schedule into a Solver.

The samplers here extrapolate the direction d = (x - D) / sigma, the right-hand side of the ODE
dx/dsigma = d, for eps, v and flow models alike:

    x' = x + (sigma' - sigma) * sum_j rows[n, j] * d[j];

the exponential integrators (DPM-Solver++, RES, UniPC) have a module of their own. `TABLEAUS`
lists both. A new baseline is one builder and its line in that table. Builders are differentiable
in sigmas.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from .exponential_tableaus import (
    dpmpp_2m,
    dpmpp_2s,
    dpmpp_3m,
    reached_order,
    res_multistep,
    stack_rows,
    uni_pc,
    uni_pc_bh2,
    unit_quadrature,
)
from .forms import from_denoised_rows, from_increments, from_weights, reach
from .solver import Solver

ADAMS_BASHFORTH = {  # newest first; Hairer, Norsett, Wanner, Solving ODEs I, section III.1
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}
GRADIENT_ESTIMATION_GAMMA = 2.0  # ComfyUI's default, the paper's choice
DEIS_RANGE = (0.002, 80.0)  # sigmas at VP times 0.001 and 1; ComfyUI's default for every model


class Builder(Protocol):
    """(N + 1,) noise levels of the steps -> Solver, whose nfe may exceed N (inner stages)."""

    def __call__(self, sigmas: Tensor, *, flow: bool) -> Solver: ...


def euler(sigmas: Tensor, *, flow: bool) -> Solver:
    """Euler, which is DDIM without noise.

    Source: Song et al. 2020 (arXiv 2010.02502), equation 12 with sigma_t = 0; Karras et al. 2022
    (arXiv 2206.00364), Algorithm 1 without its second-order correction.
    """
    return from_weights(sigmas, torch.eye(len(sigmas) - 1, dtype=torch.float64), flow=flow)


def heun(sigmas: Tensor, *, flow: bool) -> Solver:
    """Heun: an Euler trial step, then the mean of both directions. Two calls a step.

    Source: Karras et al. 2022 (arXiv 2206.00364), Algorithm 1. A step to sigma 0 is Euler and
    costs one call, there and in ComfyUI.
    """
    sigmas = sigmas.double()
    visited, rows = [sigmas[0]], []
    for here, there in pairwise(sigmas):
        step = there - here
        visited.append(there)
        rows.append(step[None])
        if there > 0:
            visited.append(there)
            rows.append(torch.stack([step / 2, -step / 2]))
    return from_increments(torch.stack(visited), stack_rows(rows), flow=flow)


def ab2(sigmas: Tensor, *, flow: bool) -> Solver:
    """Adams-Bashforth of order 2: see ab4."""
    return _adams(sigmas, 2, flow=flow)


def ab3(sigmas: Tensor, *, flow: bool) -> Solver:
    """Adams-Bashforth of order 3: see ab4."""
    return _adams(sigmas, 3, flow=flow)


def ab4(sigmas: Tensor, *, flow: bool) -> Solver:
    """Adams-Bashforth of order 4 with the rows of equal steps, whatever the steps.

    Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section III.1.
    First steps have the order their history allows. No ComfyUI counterpart: the textbook's rows
    to the very end, a step to sigma 0 included (ipndm ends with Euler).
    """
    return _adams(sigmas, 4, flow=flow)


def denoised_ab2(sigmas: Tensor, *, flow: bool) -> Solver:
    """Adams-Bashforth of order 2 on denoised outputs: see denoised_adams."""
    return denoised_adams(sigmas, 2, flow=flow)


def denoised_ab3(sigmas: Tensor, *, flow: bool) -> Solver:
    """Adams-Bashforth of order 3 on denoised outputs: see denoised_adams."""
    return denoised_adams(sigmas, 3, flow=flow)


def denoised_adams(sigmas: Tensor, order: int, *, flow: bool) -> Solver:
    """Adams-Bashforth rows of equal steps on denoised outputs instead of directions.

        x' = r x + (1 - r) sum_j rows[n, j] D[j],    r = sigma'/sigma

    Source: where S4S and DLMS begin (Frankel et al. 2025, arXiv 2502.17423). No ComfyUI
    counterpart: order 2 has half the slope of D as dpmpp_2m has, whatever the steps, and at the
    end too.
    """
    rows = [torch.tensor(ADAMS_BASHFORTH[min(n + 1, order)], dtype=torch.float64)
            for n in range(len(sigmas) - 1)]
    return from_denoised_rows(sigmas, stack_rows(rows), flow=flow)


def ipndm(sigmas: Tensor, *, flow: bool) -> Solver:
    """iPNDM: Adams-Bashforth rows of equal steps.

    Source: Zhang and Chen 2022 (arXiv 2204.13902), iPNDM, after Liu et al. 2022 (2202.09778).
    As ComfyUI's: order up to 4, a step to sigma 0 is Euler.
    """
    rows = [ADAMS_BASHFORTH[order] for order in _reached(sigmas, 4)]
    return _fixed(sigmas, rows, flow=flow)


def ipndm_v(sigmas: Tensor, *, flow: bool) -> Solver:
    """iPNDM for steps of different length.

    Source: the diff-sampler project (Zhou et al. 2023, arXiv 2312.00094), whose rows ComfyUI has.
    As ComfyUI's: order up to 4, a step to sigma 0 is Euler, and three departures from
    Adams-Bashforth for variable steps (which is lms). With steps h, h1, h2, h3, newest first: the
    third-order share is (1 - h^2 / (3 h1 (h1 + h2))) / 2 instead of
    h (h/3 + h1/2) / (h1 (h1 + h2)); a term of the fourth-order share is added that belongs
    subtracted (equal steps give (57, -65, 43, -11) / 24, of order 3); the oldest weight has a
    factor h1/h2 in place of h2/h3, so fourth-order rows sum to 1 only where step ratios are equal
    (off by 0.1 % on a karras schedule, 1 to 6 % at shift 3): the solver has free rows, and is
    refused where they blow up (schedules with a sudden change of step, as linear_quadratic).
    """
    rows = []
    for n in range(len(sigmas) - 1):
        order = reached_order(sigmas, n, 4)
        steps = sigmas[n + 1 - order : n + 2].double().diff().flip(0)
        rows.append(steps[0] * _ipndm_v_row(steps))
    return _from_free_increments(sigmas.double(), stack_rows(rows), flow=flow)


def lms(sigmas: Tensor, *, flow: bool) -> Solver:
    """Linear multistep: d as a polynomial in sigma through the last outputs, integrated.

    Source: Adams-Bashforth for variable steps (Hairer, Norsett, Wanner I, section III.5),
    used so in Crowson's k-diffusion. As ComfyUI's: order up to 4, a step to sigma 0 is Euler.
    """
    return from_increments(sigmas, _lagrange(sigmas, lambda s: s, _reached(sigmas, 4)), flow=flow)


def deis(sigmas: Tensor, *, flow: bool) -> Solver:
    """DEIS (tAB): d as a polynomial in VP time through the last outputs, integrated.

    Source: Zhang and Chen 2022 (arXiv 2204.13902), tAB-DEIS.
    As ComfyUI's: order up to 3, a step to sigma 0 is Euler; the time is that of a VP schedule
    with sigma 0.002 at t = 0.001 and 80 at t = 1 whatever the model, so a flow model's sigmas are
    read as VP ones too. ComfyUI integrates by a sum of 10000 points with a relative error of about
    1e-4 (10 times less with 10 times the points); here the integral is exact to rounding.
    """
    return from_increments(sigmas, _lagrange(sigmas, _vp_time, _reached(sigmas, 3)), flow=flow)


def flow_ab2(sigmas: Tensor, *, flow: bool) -> Solver:
    r"""Adams-Bashforth of order 2 on the velocity of an eps or v model seen as a flow model.

        x_f = x / (1 + sigma), tau = sigma / (1 + sigma), dx_f / dtau = (x - D) / sigma - D

    extrapolated in tau for steps of different length. Weights over D are the same in both kinds
    of coordinates, so that these are a flow model's at the noise levels tau; on a flow model tau
    is sigma itself, and this is lms of order 2. No ComfyUI counterpart.
    Source: the first half of A-FloPS (Jin et al. 2025, arXiv 2509.00036).
    Order 2 to the very end: tau reaches 0 as evenly as any other level.
    """
    sigmas = sigmas.double()
    taus = sigmas if flow else sigmas / (1 + sigmas)
    rows = _lagrange(taus, lambda tau: tau, [min(n + 1, 2) for n in range(len(taus) - 1)])
    return Solver(sigmas, from_increments(taus, rows, flow=True).weights, flow)


def gradient_estimation(sigmas: Tensor, *, flow: bool) -> Solver:
    """Gradient estimation: d + (gamma - 1) * (d - d_before).

    Source: Permenter and Yuan 2023 (arXiv 2306.04848), section 5.
    As ComfyUI's: gamma = 2, the first step and a step to sigma 0 are Euler.
    """
    gamma = GRADIENT_ESTIMATION_GAMMA
    choices = {1: (1.0,), 2: (gamma, 1 - gamma)}
    return _fixed(sigmas, [choices[order] for order in _reached(sigmas, 2)], flow=flow)


TABLEAUS: dict[str, Builder] = {
    "euler": euler,
    "ddim": euler,
    "heun": heun,
    "ab2": ab2,
    "ab3": ab3,
    "ab4": ab4,
    "denoised_ab2": denoised_ab2,
    "denoised_ab3": denoised_ab3,
    "lms": lms,
    "ipndm": ipndm,
    "ipndm_v": ipndm_v,
    "deis": deis,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2s": dpmpp_2s,
    "dpmpp_3m": dpmpp_3m,
    "res_multistep": res_multistep,
    "gradient_estimation": gradient_estimation,
    "flow_ab2": flow_ab2,
    "uni_pc": uni_pc,
    "uni_pc_bh2": uni_pc_bh2,
}
TWO_CALLS = ("heun", "dpmpp_2s")  # calls per step; one in a step to sigma 0


def steps_for_calls(name: str, calls: int) -> int:
    """Most steps of a tableau that cost at most `calls` model calls, on a schedule ending in 0.

    Raises:
        ValueError: if calls is not positive; KeyError: if there is no such tableau.
    """
    if name not in TABLEAUS:
        raise KeyError(f"No tableau is called {name!r}; there are {', '.join(TABLEAUS)}.")
    if calls < 1:
        raise ValueError(f"calls must be at least 1, found {calls}.")
    return (calls + 1) // 2 if name in TWO_CALLS else calls


def _adams(sigmas: Tensor, order: int, *, flow: bool) -> Solver:
    rows = [ADAMS_BASHFORTH[min(n + 1, order)] for n in range(len(sigmas) - 1)]
    return _fixed(sigmas, rows, flow=flow)


def _fixed(sigmas: Tensor, rows: list[tuple[float, ...]], *, flow: bool) -> Solver:
    tensors = [torch.tensor(row, dtype=torch.float64) for row in rows]
    return from_weights(sigmas, stack_rows(tensors), flow=flow)


def _ipndm_v_row(steps: Tensor) -> Tensor:
    """Weights over the last outputs, newest first; steps (order,) newest first."""
    order, h = len(steps), steps
    d = torch.eye(order, dtype=torch.float64)
    row = d[0]
    if order > 1:
        row = row + h[0] / (2 * h[1]) * (d[0] - d[1])
    if order > 2:
        share = (1 - h[0] ** 2 / (3 * h[1] * (h[1] + h[2]))) / 2
        row = row + share * ((d[0] - d[1]) - h[1] / h[2] * (d[1] - d[2]))
    if order > 3:
        row = row + _ipndm_v_share(h) * _ipndm_v_difference(d, h)
    return row


def _ipndm_v_share(h: Tensor) -> Tensor:
    """Weight of the third difference; an integral of s (s + h1) (s + h1 + h2) but for a sign."""
    two, three = h[0] + h[1], h[0] + h[1] + h[2]
    share = (1 - h[0] / (3 * two)) / 2 + (1 - h[0] / (2 * two)) * h[0] / (6 * three)
    past = h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3])
    return share * h[0] * two * three / past


def _ipndm_v_difference(d: Tensor, h: Tensor) -> Tensor:
    """Third difference of d; the factor of d[3] is diff-sampler's (h2/h3 would be exact)."""
    fresh, stale = h[1] / h[2], h[2] / h[3]
    ratio = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
    newer = (d[0] - d[1]) - fresh * (d[1] - d[2])
    return newer - ratio * ((d[1] - d[2]) - stale * d[2] + fresh * d[3])


def _reached(sigmas: Tensor, order: int) -> list[int]:
    """Order of each step."""
    return [reached_order(sigmas, n, order) for n in range(len(sigmas) - 1)]


def _lagrange(sigmas: Tensor, time: Callable[[Tensor], Tensor], orders: list[int]) -> Tensor:
    """(N, N) increments: integrals over each step of the Lagrange basis in time(sigma)."""
    sigmas = sigmas.double()
    nodes, shares = unit_quadrature()
    rows = []
    for n, (here, there) in enumerate(pairwise(sigmas)):
        first = n + 1 - orders[n]
        known = time(sigmas[first : n + 1]).flip(0)
        points = time(here + (there - here) * nodes)
        rows.append((there - here) * (_lagrange_basis(known, points) @ shares))
    return stack_rows(rows)


def _lagrange_basis(known: Tensor, points: Tensor) -> Tensor:
    """(K, P) values at P points of the K polynomials that are 1 at one known time, 0 at others."""
    same = torch.eye(len(known), dtype=torch.bool)
    gaps = torch.where(same, 1.0, known[:, None] - known)
    factors = (points - known[:, None]) / gaps[..., None]
    return torch.where(same[..., None], 1.0, factors).prod(dim=1)


def _vp_time(sigmas: Tensor) -> Tensor:
    """t with log(1 + sigma^2) = beta_d t^2 / 2 + beta_min t (Karras et al. 2022, table 1)."""
    low, high = torch.tensor(DEIS_RANGE, dtype=torch.float64).square().log1p()
    beta_d = 2 * (high - low / 1e-3) / (1 - 1e-3)
    beta_min = high - beta_d / 2
    return ((beta_min**2 + 2 * beta_d * sigmas.square().log1p()).sqrt() - beta_min) / beta_d


def _from_free_increments(sigmas: Tensor, increments: Tensor, *, flow: bool) -> Solver:
    """As from_increments, for rows that need not sum to the step: `start` takes up the rest."""
    size = len(increments)
    kept = [torch.ones((), dtype=torch.float64)]  # x[n] = kept[n] * x[0] + outputs[n] @ D
    outputs = [torch.zeros(size, dtype=torch.float64)]
    eye = torch.eye(size, dtype=torch.float64)
    for n in range(size):
        scaled = increments[n, : n + 1] / sigmas[: n + 1]
        kept.append(kept[n] + scaled @ torch.stack(kept))
        outputs.append(outputs[n] + scaled @ (torch.stack(outputs) - eye[: n + 1]))
    share = sigmas[1:] / sigmas[0]
    ended = share == 0  # an Euler step to 0 keeps nothing of the start
    start = torch.where(ended, 1.0, torch.stack(kept[1:]) / torch.where(ended, 1.0, share))
    weights = torch.stack(outputs[1:]) / reach(sigmas, flow=flow)[:, None]
    return Solver(sigmas, weights, flow, start)
