r"""Handcrafted samplers that are exponential integrators: DPM-Solver++, RES and UniPC.

In lambda = log(alpha / sigma) the state obeys, for eps, v and flow models alike,

    x' = (sigma'/sigma) * x + (1 - sigma'/sigma) * mix,    mix = sum_j rows[n, j] * D[j],

and a method is how it extrapolates D over the step h = lambda' - lambda: with the moments
m_i = integral_0^1 exp(-(1 - t) h) t^i dt (= i! phi_{i+1}(-h) of the papers) the mix is D plus
m_1/m_0 times its slope in units of the step, and so on. Rows are found by running a method's
formula on unit vectors in place of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy
import torch
from torch import Tensor
from torch.nn.functional import pad

from .forms import from_denoised_rows, reach
from .solver import Solver

UNI_PC_END = 1e-3  # ComfyUI's stand-in for sigma 0, whose lambda is infinite
FIRST_PERCENT = 1e-4  # ComfyUI starts half-logSNR solvers here, since lambda(1) is infinite
QUADRATURE = 64  # nodes; off by 1e-12 for steps up to 80 in lambda, by 6e-12 in deis from 4519
FIRST_MIDDLE = 0.9999  # ComfyUI's middle of a 2S step that starts at sigma 1


def unit_quadrature() -> tuple[Tensor, Tensor]:
    """Nodes and shares of Gauss-Legendre quadrature on [0, 1]."""
    nodes, shares = _legendre()
    return torch.from_numpy(nodes + 1) / 2, torch.from_numpy(shares) / 2


def stack_rows(rows: list[Tensor]) -> Tensor:
    """(N, N) lower-triangular table from N rows, each newest output first and any length."""
    size = len(rows)
    return torch.stack([pad(row.flip(0), (n + 1 - len(row), size - n - 1))
                        for n, row in enumerate(rows)])


def reached_order(sigmas: Tensor, n: int, order: int) -> int:
    """Order of step n: limited by the outputs there are, and 1 in a step to sigma 0."""
    return 1 if sigmas[n + 1] == 0 else min(n + 1, order)


def dpmpp_2m(sigmas: Tensor, *, flow: bool) -> Solver:
    """DPM-Solver++(2M): the slope of D through the last two outputs.

    Source: Lu et al. 2022 (arXiv 2211.01095), Algorithm 2.
    As ComfyUI's: lambda is -log(sigma) on flow models too (where the method's own would be
    log((1 - sigma) / sigma)), the first step and a step to sigma 0 are Euler.
    """
    return _two_step(sigmas, lambda h, before: h / (2 * before), flow=flow)


def res_multistep(sigmas: Tensor, *, flow: bool) -> Solver:
    """RES: second-order multistep with exact exponential weights.

    Source: Zhang et al. 2023 (arXiv 2308.02157), multistep update with b1, b2 of two stages.
    As ComfyUI's (eta 0): lambda is -log(sigma) on flow models too, the first step and a step to
    sigma 0 are Euler.
    """
    def share(h: Tensor, before: Tensor) -> Tensor:
        return _moment(h, 1) / _moment(h, 0) * h / before

    return _two_step(sigmas, share, flow=flow)


def dpmpp_3m(sigmas: Tensor, *, flow: bool, shift: float = 1.0) -> Solver:
    """DPM-Solver++(3M): slope and curvature of D through the last three outputs.

    Args:
        shift: the flow model's time shift; matters only for a start at sigma 1.

    Source: Lu et al. 2022 (arXiv 2211.01095), appendix on multistep orders; Crowson's k-diffusion
    for the form.
    As ComfyUI's dpmpp_3m_sde at eta 0: lambda is log((1 - sigma) / sigma) on flow models, where a
    first sigma of 1 is replaced by the model's sigma at 0.01 % of the way (0.9999 at shift 1):
    state and model are both taken to be there, so `sigmas[0]` of the solver is that number.
    The second step weighs the slope exactly (as res_multistep); a step to sigma 0 is Euler. The
    curvature has half the weight that would make it exact (the authors' code halves the second
    difference as a Taylor term, though it is a divided one): order 2, with a small error.
    """
    if flow and sigmas[0] >= 1:
        sigmas = torch.cat([sigmas.new_tensor([_first_sigma(shift)]), sigmas[1:]])
    rows = [_third_order_row(sigmas, n, flow=flow) for n in range(len(sigmas) - 1)]
    return from_denoised_rows(sigmas, stack_rows(rows), flow=flow)


def dpmpp_2s(sigmas: Tensor, *, flow: bool) -> Solver:
    """DPM-Solver++(2S): one output in the middle of the step (in lambda) serves the whole step.

    Source: Lu et al. 2022 (arXiv 2211.01095), Algorithm 1 with r = 1/2. Two calls a step.
    As ComfyUI's dpmpp_2s_ancestral at eta 0: on flow models the middle is that of
    log((1 - sigma) / sigma), and 0.9999 in a step from sigma 1; a step to sigma 0 is Euler and
    costs one call.
    """
    sigmas = sigmas.double()
    visited, outputs = [sigmas[0]], []
    calls = torch.eye(2 * (len(sigmas) - 1), dtype=torch.float64)
    state = torch.zeros_like(calls[0])
    for here, there in pairwise(sigmas):
        if there > 0:
            visited.append(_middle(here, there, flow=flow))
            outputs.append(_advance(state, here, visited[-1], calls[len(outputs)]))
        state = _advance(state, here, there, calls[len(outputs)])
        visited.append(there)
        outputs.append(state)
    return _from_outputs(torch.stack(visited), outputs, flow=flow)


def uni_pc(sigmas: Tensor, *, flow: bool) -> Solver:
    """UniPC with B(h) = h (bh1): predictor and corrector of order 3, one call a step.

    Source: Zhao et al. 2023 (arXiv 2302.04867), UniP and UniC updates in data prediction. The
    corrector uses the output at the predicted point, so only predicted points are called and
    every called point is a combination of the start and earlier outputs.
    As ComfyUI's: lambda is -log(sigma) on flow models too; a last sigma of 0 becomes 0.001 and
    the state there, its noise included, is the result (ComfyUI writes the 0.001 into the caller's
    sigmas, so a flow latent is then divided by 0.999; and its KSampler leaves out the last sigma
    but one for this sampler); order min(3, N - 1), at most 2 in the last step but one, 1 without
    corrector in the last; the two-term predictor and the one-term corrector take rho = 1/2. Of a
    single step ComfyUI makes nothing (it returns the noise); here it is Euler.
    """
    return _uni_pc(sigmas, flow=flow, bh2=False)


def uni_pc_bh2(sigmas: Tensor, *, flow: bool) -> Solver:
    """UniPC with B(h) = exp(h) - 1 (bh2); source and ComfyUI's habits as uni_pc."""
    return _uni_pc(sigmas, flow=flow, bh2=True)


@cache  # of arrays: a tensor made in ComfyUI's inference mode could not be used in a search
def _legendre() -> tuple[numpy.ndarray, numpy.ndarray]:
    return numpy.polynomial.legendre.leggauss(QUADRATURE)


def _two_step(sigmas: Tensor, share: Callable[[Tensor, Tensor], Tensor], *, flow: bool) -> Solver:
    """Newest output plus share(h, h_before) of its change, lambda = -log(sigma) throughout."""
    rows = []
    for n in range(len(sigmas) - 1):
        euler = reached_order(sigmas, n, 2) == 1
        rows.append(_newest() if euler
                    else _extrapolated(share(*_log_steps(sigmas[n - 1 : n + 2], flow=False))))
    return from_denoised_rows(sigmas, stack_rows(rows), flow=flow)


def _newest() -> Tensor:
    return torch.ones(1, dtype=torch.float64)


def _extrapolated(share: Tensor) -> Tensor:
    """The newest output plus `share` of its difference from the one before."""
    return torch.stack([1 + share, -share])


def _lambda(sigmas: Tensor, *, flow: bool) -> Tensor:
    sigmas = sigmas.double()
    return torch.log1p(-sigmas) - sigmas.log() if flow else -sigmas.log()


def _log_steps(sigmas: Tensor, *, flow: bool) -> Tensor:
    """Steps in lambda between consecutive sigmas, newest first."""
    return _lambda(sigmas, flow=flow).diff().flip(0)


def _moment(h: Tensor, i: int) -> Tensor:
    """m_i of the module's text; by quadrature, for small h cancels in the closed form."""
    nodes, shares = unit_quadrature()
    return ((nodes - 1) * h).exp() * nodes**i @ shares


def _third_order_row(sigmas: Tensor, n: int, *, flow: bool) -> Tensor:
    order = reached_order(sigmas, n, 3)
    if order == 1:
        return _newest()
    h, last, *before = _log_steps(sigmas[n + 1 - order : n + 2], flow=flow)
    if order == 2:
        return _extrapolated(_moment(h, 1) / _moment(h, 0) * h / last)
    newest, old, oldest = torch.eye(3, dtype=torch.float64)
    ratio, ratio_before = last / h, before[0] / h
    slope = (newest - old) / ratio
    bend = (slope - (old - oldest) / ratio_before) / (ratio + ratio_before)
    first, second = _moment(h, 1) / _moment(h, 0), _moment(h, 2) / _moment(h, 0)
    return newest + first * (slope + ratio * bend) + second / 2 * bend


def _first_sigma(shift: float) -> float:
    time = 1 - FIRST_PERCENT
    return shift * time / (1 + (shift - 1) * time)


def _middle(here: Tensor, there: Tensor, *, flow: bool) -> Tensor:
    if not flow:
        return (here * there).sqrt()
    if here == 1:  # a longer schedule may reach 0.9999 in its first step; sigmas must not rise
        return there.clamp_min(FIRST_MIDDLE)
    return torch.sigmoid(-_lambda(torch.stack([here, there]), flow=True).mean())


def _advance(state: Tensor, here: Tensor, there: Tensor, mix: Tensor) -> Tensor:
    ratio = there / here
    return ratio * state + (1 - ratio) * mix


def _from_outputs(sigmas: Tensor, outputs: list[Tensor], *, flow: bool) -> Solver:
    """Solver from each called state's (N,) combination of outputs."""
    table = torch.stack(outputs)[:, : len(outputs)]
    return Solver(sigmas, table / reach(sigmas, flow=flow)[:, None], flow)


def _uni_pc(sigmas: Tensor, *, flow: bool, bh2: bool) -> Solver:
    sigmas = sigmas.double()
    if sigmas[-1] == 0:
        sigmas = torch.cat([sigmas[:-1], sigmas[-2:-1].clamp_max(UNI_PC_END)])
    steps = len(sigmas) - 1
    calls = torch.eye(steps, dtype=torch.float64)
    state, outputs = torch.zeros_like(calls[0]), []
    for n in range(steps):
        order = max(1, min(n + 1, 3, steps - 1, steps - n))
        known = calls[n + 1 - order : n + 1].flip(0)
        terms = _uni_terms(known, _lambda(sigmas[n + 1 - order : n + 2], flow=False), bh2=bh2)
        predicted = known[0] + _uni_predictor(terms)
        outputs.append(_advance(state, sigmas[n], sigmas[n + 1], predicted))
        if n + 1 < steps:
            corrected = known[0] + _uni_corrector(terms, calls[n + 1] - known[0])
            state = _advance(state, sigmas[n], sigmas[n + 1], corrected)
    return _from_outputs(sigmas, outputs, flow=flow)


class _UniTerms(NamedTuple):
    """The paper's D_m / r_m, R, b and, for a mix instead of a state, B(h) / (exp(h) - 1)."""

    slopes: Tensor  # (order - 1, calls)
    system: Tensor  # (order, order)
    right: Tensor  # (order,)
    scale: Tensor


def _uni_terms(known: Tensor, lambdas: Tensor, *, bh2: bool) -> _UniTerms:
    """Args: known outputs (order, calls), newest first; lambdas (order + 1,), oldest first."""
    order, h = len(known), lambdas[-1] - lambdas[-2]
    ratios = (lambdas[:-2].flip(0) - lambdas[-2]) / h
    slopes = (known[1:] - known[0]) / ratios[:, None]
    nodes = torch.cat([ratios, torch.ones(1, dtype=torch.float64)])
    system = torch.stack([nodes**i for i in range(order)])
    size = torch.expm1(-h) if bh2 else -h
    right = torch.stack([_moment(h, i) for i in range(1, order + 1)]) * (-h / size)
    return _UniTerms(slopes, system, right, size / torch.expm1(-h))


def _uni_predictor(terms: _UniTerms) -> Tensor:
    """UniP: what the mix adds to the newest output."""
    if len(terms.right) == 1:
        return terms.slopes.sum(dim=0)  # there are none: 0
    if len(terms.right) == 2:
        return terms.scale * 0.5 * terms.slopes[0]
    rho = torch.linalg.solve(terms.system[:-1, :-1], terms.right[:-1])
    return terms.scale * (rho @ terms.slopes)


def _uni_corrector(terms: _UniTerms, change: Tensor) -> Tensor:
    """UniC: as UniP, with the change of output over the step known too."""
    if len(terms.right) == 1:
        return terms.scale * 0.5 * change
    rho = torch.linalg.solve(terms.system, terms.right)
    return terms.scale * (rho[:-1] @ terms.slopes + rho[-1] * change)
