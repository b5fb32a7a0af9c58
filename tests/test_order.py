"""Order of accuracy, measured against exact ODE solutions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from solver_search.forms import increments
from solver_search.sample import sample
from solver_search.solver import Solver
from solver_search.tableaus import TABLEAUS
from tests.problems import Mixture, gaussian, gaussian_solution, mixture

FLOOR = 1e-10  # a hundred times what rounding leaves over 192 steps in float64
BAND = 0.35  # slopes at these N still lean by the next order's share (dpmpp_3m 0.2, uni_pc 0.1)

GLOBAL = {"euler": 1, "ddim": 1, "gradient_estimation": 1, "heun": 2, "dpmpp_2s": 2, "ab2": 2,
          "dpmpp_2m": 2, "res_multistep": 2, "dpmpp_3m": 2, "deis": 3, "lms": 4, "uni_pc": 4,
          "uni_pc_bh2": 4,
          "flow_ab2": 2, "denoised_ab2": 2,
          "denoised_ab3": 2,
          "ab4": 2, "ipndm": 2}  # rows of equal steps on uneven ones
EXACT_HISTORY = {"euler": 1, "gradient_estimation": 1, "ab2": 2, "ab3": 3, "ab4": 4, "ipndm": 4,
                 "ipndm_v": 3, "lms": 4, "deis": 3}


def gentle(steps: int, *, flow: bool) -> Tensor:
    """Steps in lambda that begin and end as the cube of 1/steps, staying above sigma 0.

    The Euler step that begins every multistep method (and ends UniPC) has an error of step^2:
    of a full step it would hold the global order at 2, of these it is 1/steps^6.
    """
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    share = u**3 * (10 - 15 * u + 6 * u**2)
    start, end = ((math.log(s / (1 - s)) for s in (0.9, 0.15)) if flow
                  else (math.log(s) for s in (3, 0.2)))
    level = start + (end - start) * share
    return level.sigmoid() if flow else level.exp()


def start_states(*, flow: bool) -> Tensor:
    return torch.linspace(-1.5, 1.7, 12, dtype=torch.float64) * (1 if flow else 3)


def global_error(name: str, problem: Mixture, steps: int) -> float:
    sigmas, x = gentle(steps, flow=problem.flow), start_states(flow=problem.flow)
    found = sample(problem.denoise, TABLEAUS[name](sigmas, flow=problem.flow), x)
    return float((found - problem.solve(x, sigmas[0], sigmas[-1])).abs().mean())


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", GLOBAL)
def test_global_order(name: str, flow: bool) -> None:
    coarse, fine = (global_error(name, mixture(flow=flow), n) for n in (96, 192))
    assert fine > FLOOR
    assert math.log2(coarse / fine) == pytest.approx(GLOBAL[name], abs=BAND)


def last_step_error(name: str, problem: Mixture, steps: int) -> float:
    """Error of the last row when every earlier direction is exact, on equal steps."""
    sigmas = torch.linspace(0.9, 0.9 - 1.6 / steps, 9, dtype=torch.float64)
    x = start_states(flow=problem.flow)
    states = [gaussian_solution(problem, x, sigmas[0], s) for s in sigmas]
    d = torch.stack([(state - problem.denoise(state, s)) / s
                     for state, s in zip(states[:-1], sigmas[:-1], strict=True)])
    solver = TABLEAUS[name](sigmas, flow=problem.flow)
    rows = increments(Solver(sigmas, solver.weights, problem.flow))  # ipndm_v: 1 at equal steps
    return float((states[-2] + rows[-1] @ d - states[-1]).abs().mean())


@pytest.mark.parametrize("flow", (False, True))
@pytest.mark.parametrize("name", EXACT_HISTORY)
def test_order_with_exact_history(name: str, flow: bool) -> None:
    """One step errs by step^(order + 1); this sees the order that a global test would hide."""
    coarse, fine = (last_step_error(name, gaussian(flow=flow), n) for n in (32, 64))
    assert fine > 1e-13  # a hundred times the rounding of one step
    assert math.log2(coarse / fine) == pytest.approx(EXACT_HISTORY[name] + 1, abs=BAND)


def test_every_tableau_has_its_order_measured() -> None:
    assert set(GLOBAL) | set(EXACT_HISTORY) == set(TABLEAUS)


@pytest.mark.parametrize("flow", (False, True))
def test_problems_agree(flow: bool) -> None:
    """Quantile matching, the Gaussian's own solution and a fine Heun run are the same."""
    problem, x = gaussian(flow=flow), start_states(flow=flow)
    sigmas = torch.linspace(0.9, 0.2, 101, dtype=torch.float64)
    exact = gaussian_solution(problem, x, sigmas[0], sigmas[-1])
    quantile = problem.solve(x, sigmas[0], sigmas[-1])
    stepped = sample(problem.denoise, TABLEAUS["heun"](sigmas, flow=flow), x)
    torch.testing.assert_close(quantile, exact, rtol=1e-12, atol=1e-12)  # rounding of ndtr
    torch.testing.assert_close(stepped, exact, rtol=0, atol=1e-4)  # (0.7 / 100)^2 = 5e-5


@pytest.mark.parametrize("flow", (False, True))
def test_denoiser_is_the_expected_picture(flow: bool) -> None:
    """E[x0 | x] by brute force: weigh x0 on a grid with data density and noise likelihood."""
    problem, sigma = mixture(flow=flow), torch.tensor(0.6, dtype=torch.float64)
    x = start_states(flow=flow)
    grid = torch.linspace(-8, 8, 20001, dtype=torch.float64)
    density = sum(share / deviation * (-((grid - mean) / deviation) ** 2 / 2).exp()
                  for mean, deviation, share in zip(problem.means, problem.deviations,
                                                    problem.shares, strict=True))
    alpha = 1 - sigma if flow else 1.0
    weigh = density * (-((x[:, None] - alpha * grid) / sigma) ** 2 / 2).exp()
    expected = (weigh @ grid) / weigh.sum(dim=1)
    torch.testing.assert_close(problem.denoise(x, sigma), expected, rtol=1e-9, atol=1e-9)  # grid
