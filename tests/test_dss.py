"""Differentiable Solver Search: its loss, its masks, its rate, and the check of gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from solver_search.methods import dss as learning
from solver_search.methods.descent import spot_check
from solver_search.methods.dss import DssSettings, beyond_paper
from solver_search.parameters import Parameters, Space, to_solver, uniform_parameters
from solver_search.plan import plan_of
from solver_search.run import Run, search
from solver_search.search import SearchError
from solver_search.solver import Solver
from solver_search.teacher import accurate_teacher

from .searches import METHODS_SHORT, SHORT_DSS, each_own, problem


@pytest.mark.parametrize("flow", [True, False])
def test_dss_has_no_loss_where_its_start_is_its_teacher(flow: bool) -> None:
    run = Run(problem(flow))
    settings = replace(SHORT_DSS, teacher_calls=4)
    space = learning._space(run, settings)
    teacher = run.trace(learning._teacher(run, settings))
    mask = torch.ones(4, 4, dtype=torch.float64).tril(-1)
    loss = learning._loss(run, teacher, space, mask, settings)
    raw = uniform_parameters(4)
    # Float64 rounding, squared on the path and times 500 inside the Huber's square.
    assert float(loss(raw, run.fitted).detach()) < 1e-20
    other = replace(raw, steps=torch.arange(4).double() / 9)
    assert float(loss(other, run.fitted).detach()) > 1e-3


def test_dss_meets_the_teacher_where_its_own_steps_are() -> None:
    """Interpolated targets: at the sigmas visited; published ones: the nearest by progress."""
    run = Run(problem())
    raw = replace(uniform_parameters(4), steps=torch.tensor([0.3, -0.4, 0.2, 0.1]).double())
    for settings in (SHORT_DSS, beyond_paper(SHORT_DSS)):
        space = learning._space(run, settings)
        teacher = run.trace(accurate_teacher(16, 1.0, flow=True))
        sigmas = to_solver(raw, space).sigmas[1:]
        targets = learning._targets(teacher, to_solver(raw, space), space, run.fitted, settings)
        for sigma, target in zip(sigmas[:-1], targets, strict=False):
            expected = (teacher.at(float(sigma)) if settings.interpolate
                        else teacher.states[round(16 * (1 - float(sigma)))])
            assert torch.equal(target, expected[run.fitted])
        assert torch.equal(targets[-1], teacher.end[run.fitted])


class _Weaker(torch.autograd.Function):
    """Right values, but 0.6 of the gradient: an operation that drops a path."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return 0.6 * gradient


def drops_state(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
    return each_own(False)(_Weaker.apply(x), sigma, items)


def drops_time(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
    return each_own(False)(x, sigma.detach(), items)


@pytest.mark.parametrize("name", ["dss", "s4s_alt", "dlms"])
@pytest.mark.parametrize("denoise", [drops_state, drops_time])
def test_a_dropped_path_is_found_before_the_first_step(denoise: Callable[..., Tensor],
                                                       name: str) -> None:
    run = Run(problem(False, denoise=denoise))
    with pytest.raises(SearchError, match="gradient is wrong.*Use the method 'fit'"):
        search(METHODS_SHORT[name], run)
    assert len(run.curve) == (2 if name == "dlms" else 1)  # its starts only
    assert search(METHODS_SHORT["fit"], Run(problem(False, denoise=denoise))).best is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["dss", "dss, beyond", "s4s", "s4s_alt", "dlms"])
@pytest.mark.parametrize("flow", [True, False])
def test_a_right_gradient_passes_the_spot_check(flow: bool, name: str, dtype: torch.dtype) -> None:
    chosen = problem(flow)
    run = search(METHODS_SHORT[name], Run(replace(chosen, starts=chosen.starts.to(dtype))))
    assert run.ended_by == "finished"
    assert run.best.weights.dtype == torch.float64


def test_the_spot_check_goes_uphill() -> None:
    """Nearly across the gradient a rounded loss has only noise: right gradients were refused."""
    raw = uniform_parameters(4)
    drawn = torch.Generator().manual_seed(1)
    for t in raw.tensors():
        torch.randn(t.shape, generator=drawn, dtype=t.dtype)  # the shifts beside `raw`
    slopes = []
    for t in raw.tensors():
        across = torch.randn(t.shape, generator=drawn, dtype=t.dtype)
        slope = torch.randn(t.shape, generator=torch.Generator().manual_seed(7), dtype=t.dtype)
        slopes.append(slope - 0.99 * across * (slope * across).sum() / across.square().sum())

    def rounded(raw: Parameters, items: Tensor, met: Solver | None = None) -> Tensor:
        ups = [(slope * t).sum() for slope, t in zip(slopes, raw.tensors(), strict=True)]
        return torch.stack(ups).sum().float() + 10_000

    spot_check(rounded, raw, torch.arange(1), to_solver(raw, Space(problem().clock, flow=True)))


def test_the_defaults_are_the_published_search() -> None:
    """arXiv 2505.21114: Lion at 0.01, a teacher of 100 Euler steps in uniform time."""
    published = DssSettings()
    added = {"accurate_teacher", "interpolate", "floor", "decay", "average", "learn_model_sigmas"}
    assert not any(getattr(published, name) for name in added)
    assert (published.learning_rate, published.teacher_calls, published.cap_order) == (
        0.01, 100, True)
    assert published.batch == 8
    teacher = learning._teacher(Run(problem()), published)
    assert torch.allclose(teacher.sigmas, torch.linspace(1, 0, 101, dtype=torch.float64))
    assert plan_of(teacher).order == 1
    changed = {f.name for f in fields(published)
               if getattr(published, f.name) != getattr(beyond_paper(published), f.name)}
    assert changed == {*added, "cap_order", "teacher_calls"}
    rates = [learning._rate(published, i) for i in (1, 200, 400)]
    assert rates == [0.01] * 3


@pytest.mark.parametrize(("steps", "used"), [
    (2, [0, 1]), (3, [0, 1, 1]), (4, [0, 1, 1, 1]), (6, [0, 1, 2, 3, 1, 1]),
    (7, [0, 1, 2, 3, 4, 5, 6]),
])
def test_the_last_two_rows_of_few_steps_look_back_once(steps: int, used: list[int]) -> None:
    """As the released code: rows N-2 and N-1 keep one earlier output when N <= 6."""
    mask = learning._row_mask(steps, cap=True)
    kept = [[j for j in range(steps) if mask[n, j]] for n in range(steps)]
    assert [len(row) for row in kept] == used
    assert all(row == list(range(n - len(row), n)) for n, row in enumerate(kept))
    free = learning._row_mask(steps, cap=False)
    assert torch.equal(free, torch.ones(steps, steps, dtype=torch.float64).tril(-1))


def test_the_learning_rate_falls_to_zero_along_a_cosine() -> None:
    settings = replace(DssSettings(), decay=True, iterations=100)
    rates = [learning._rate(settings, i) for i in (1, 50, 100)]
    assert rates == pytest.approx([0.01, 0.005, 0.0], abs=1e-5)  # the first is one step in
