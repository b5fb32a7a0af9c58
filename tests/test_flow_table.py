"""The table for eps and v models that is Adams-Bashforth in a flow model's coordinates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from solver_search.sample import sample
from solver_search.schedules import BENDS, bent, bent_schedules
from solver_search.tableaus import TABLEAUS

from .problems import Counted, mixture

ROUNDING = 1e-12  # float64, 10 steps of states up to 15 in size; found 2e-14


def by_the_formula(denoise: Counted, x: Tensor, sigmas: Tensor) -> Tensor:
    """Two-step Adams-Bashforth on (x - D) / sigma - D in tau = sigma / (1 + sigma)."""
    before: tuple[Tensor, Tensor] | None = None
    for here, there in zip(sigmas[:-1], sigmas[1:], strict=True):
        denoised = denoise(x, here)
        velocity = (x - denoised) / here - denoised
        tau, end = here / (1 + here), there / (1 + there)
        step = end - tau
        slope = 0 if before is None else (velocity - before[1]) / (tau - before[0])
        flowed = x / (1 + here) + step * velocity + step**2 / 2 * slope
        before, x = (tau, velocity), flowed * (1 + there)
    return x


@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize("steps", [1, 2, 6, 10])
def test_same_as_the_formula(steps: int, bend: float) -> None:
    sigmas, known = bent(steps, 14.6, bend), mixture(flow=False)
    x = 14.6 * torch.randn(3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours, theirs = Counted(known.denoise), Counted(known.denoise)
    found = sample(ours, TABLEAUS["flow_ab2"](sigmas, flow=False), x)
    torch.testing.assert_close(found, by_the_formula(theirs, x, sigmas), rtol=0, atol=ROUNDING)
    assert len(ours.points) == len(theirs.points) == steps
    for a, b in zip(ours.points, theirs.points, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=ROUNDING)


def test_on_a_flow_model_it_is_lms_of_order_two() -> None:
    sigmas = torch.tensor([1.0, 0.7, 0.5, 0.2], dtype=torch.float64)
    two, four = (TABLEAUS[name](sigmas, flow=True).weights for name in ("flow_ab2", "lms"))
    torch.testing.assert_close(two[:2], four[:2], rtol=0, atol=1e-14)  # rounding of one row
    assert (two[2] - four[2]).abs().max() > 0.01


@pytest.mark.parametrize("top", [14.6, 157.0, 4519.0])
def test_bent_schedules_fall_from_the_top_to_zero(top: float) -> None:
    for sigmas in bent_schedules(6, top).values():
        assert float(sigmas[0]) == pytest.approx(top, rel=1e-9)  # 1 - tau: 4519 * 1e-16
        assert sigmas[-1] == 0 and (sigmas.diff() < 0).all()


def test_a_bend_of_one_is_even_in_tau_and_less_is_finer_at_the_end() -> None:
    even = bent(5, 14.6, 1.0)
    gaps = (even / (1 + even)).diff()
    torch.testing.assert_close(gaps, gaps[:1].expand(5), rtol=0, atol=1e-13)  # of tau below 1
    assert bent(5, 14.6, 0.35)[-2] < bent(5, 14.6, 0.7)[-2] < even[-2]


@pytest.mark.parametrize("wrong", [(0, 14.6, 0.5), (4, 0.0, 0.5), (4, 14.6, 0.0)])
def test_schedules_that_cannot_be_are_refused(wrong: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="must be|positive"):
        bent(*wrong)
