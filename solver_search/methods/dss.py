r"""Differentiable Solver Search (Wang et al., ICML 2025, arXiv 2505.21114).

Step sizes (softmax) and a lower-triangular coefficient matrix (diagonal one minus the rest) are
learned by gradient descent through the student's N model calls, so that its states meet those
of a 100-step Euler (flow) or DDIM (eps, v) teacher. DssSettings() is the paper; the switches
beyond it cure weaknesses named in docs/decisions/dss.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..gradient import recomputed
from ..losses import dss_loss
from ..parameters import Form, Parameters, Space, to_solver, uniform_parameters
from ..records import Values
from ..run import Run
from ..sample import sample
from ..solver import Solver
from ..teacher import Trajectory, accurate_teacher, euler_table
from .descent import (
    RECOMPUTED,
    DescentSettings,
    LossOf,
    batches,
    check_finite,
    checked_gradient,
    cosine,
    due,
    gradient_of,
    within_budget,
)


@dataclass(frozen=True)
class DssSettings(DescentSettings):
    """As published by default.

    Args:
        learning_rate: of Lion, constant unless `decay`.
        teacher_calls: model calls of the Euler/DDIM teacher.
        accurate_teacher: second-order teacher on a dense grid instead of Euler.
        interpolate: teacher states interpolated at the student's sigmas, not rounded.
        floor: smallest gap in progress.
        decay: learning rate falls to 0 by a cosine.
        average: exponential average of the iterates (0: the raw last iterate).
        learn_model_sigmas: also learn the sigma told to the model.
        cap_order: the last two rows use one earlier output when N <= 6, as in the released code.
    """

    learning_rate: float = 0.01
    teacher_calls: int = 100
    accurate_teacher: bool = False
    interpolate: bool = False
    floor: float = 0.0
    decay: bool = False
    average: float = 0.0
    learn_model_sigmas: bool = False
    cap_order: bool = True


def beyond_paper(settings: DssSettings) -> DssSettings:
    """The same search with every cure switched on."""
    return replace(settings, accurate_teacher=True, teacher_calls=48, interpolate=True,
                   floor=0.01, decay=True, average=0.95, learn_model_sigmas=True, cap_order=False)


class Lion:
    """Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2) without weight decay."""

    def __init__(self, tensors: list[Tensor], betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.tensors = tensors
        self.betas = betas
        self.momenta = [torch.zeros_like(t) for t in tensors]

    @torch.no_grad()
    def step(self, gradients: list[Tensor], learning_rate: float) -> None:
        """One update: the sign of the interpolated momentum."""
        fast, slow = self.betas
        for x, m, g in zip(self.tensors, self.momenta, gradients, strict=True):
            x -= learning_rate * torch.sign(fast * m + (1 - fast) * g)
            m.mul_(slow).add_(g, alpha=1 - slow)


def dss(run: Run, settings: DssSettings) -> None:
    """Search as in the paper; offers its iterates to `run`.

    Raises:
        SearchError: if the model cannot be differentiated or its gradient is wrong.
    """
    space = _space(run, settings)
    raw = _start(run.problem.steps, settings)
    teacher = run.trace(_teacher(run, settings))
    run.offer(to_solver(raw, space), "dss start")
    mask = _row_mask(run.problem.steps, cap=settings.cap_order)
    loss_of = _loss(run, teacher, space, mask, settings)
    order = batches(run.problem.fit, settings.batch, settings.seed)
    checked_gradient(run, loss_of, raw, next(order), to_solver(raw, space))
    _descend(run, raw, space, loss_of, order, mask, within_budget(run, settings, RECOMPUTED))


def _descend(run: Run, raw: Parameters, space: Space, loss_of: LossOf, order: Iterator[Tensor],
             mask: Tensor, settings: DssSettings) -> None:
    tensors = [t.requires_grad_() for t in raw.tensors()]
    averaged = [t.detach().clone() for t in tensors]
    optimiser = Lion(tensors)
    for i in range(1, settings.iterations + 1):
        gradients = _gradients(run, loss_of, raw, next(order), i)
        optimiser.step(gradients, _rate(settings, i))
        with torch.no_grad():
            for mean, t in zip(averaged, tensors, strict=True):
                mean.lerp_(t, 1 - settings.average)
        if due(settings, i):
            solver = to_solver(_masked(raw.with_tensors(averaged), mask), space)
            run.offer(solver, f"dss {i}/{settings.iterations}")


def _gradients(run: Run, loss_of: LossOf, raw: Parameters, items: Tensor,
               iteration: int) -> list[Tensor]:
    tensors = raw.tensors()

    def loss_on(own: Tensor) -> Tensor:
        loss = loss_of(raw, own)
        check_finite(loss, iteration)
        return loss

    def made() -> Values:
        found = gradient_of(run, loss_on, tensors, items)
        return {str(k): gradient for k, gradient in enumerate(found)}

    found = run.kept("gradient", made, tensors)
    return [found[str(k)] for k in range(len(tensors))]


def _loss(run: Run, teacher: Trajectory, space: Space, mask: Tensor,
          settings: DssSettings) -> LossOf:
    @torch.enable_grad()
    def loss(raw: Parameters, items: Tensor, met: Solver | None = None) -> Tensor:
        """Loss of a batch; targets are taken at the sigmas of `met`, or of the solver itself."""
        solver = to_solver(_masked(raw, mask), space)
        states: list[Tensor] = []
        denoise = recomputed(run.denoise(items))
        sample(denoise, solver, run.problem.starts[items], states=states)
        targets = _targets(teacher, met or solver, space, items, settings)
        return dss_loss(states[1:], targets)
    return loss


def _targets(teacher: Trajectory, solver: Solver, space: Space, items: Tensor,
             settings: DssSettings) -> list[Tensor]:
    sigmas = solver.sigmas.detach()[1:]
    if settings.interpolate:
        return [teacher.at(float(s), items) for s in sigmas[:-1]] + [teacher.end[items]]
    return [teacher.nearest(float(space.clock.progress(s)), items) for s in sigmas]


def _space(run: Run, settings: DssSettings) -> Space:
    form: Form = "direction" if run.problem.flow else "denoised"
    clock = run.problem.clock if settings.accurate_teacher else run.problem.time
    return Space(clock, run.problem.flow, form, settings.floor)


def _start(steps: int, settings: DssSettings) -> Parameters:
    raw = uniform_parameters(steps)
    if settings.learn_model_sigmas:
        raw = replace(raw, scales=torch.zeros(steps, dtype=torch.float64))
    return raw


def _teacher(run: Run, settings: DssSettings) -> Solver:
    problem = run.problem
    if settings.accurate_teacher:
        return accurate_teacher(settings.teacher_calls, problem.sigma_max, flow=problem.flow)
    progress = torch.linspace(0, 1, settings.teacher_calls + 1, dtype=torch.float64)
    return euler_table(problem.time.sigma(progress), flow=problem.flow)


def _row_mask(steps: int, *, cap: bool) -> Tensor:
    mask = torch.ones(steps, steps, dtype=torch.float64).tril(-1)
    if cap and steps <= 6:
        for n in range(max(steps - 2, 0), steps):
            mask[n, : max(n - 1, 0)] = 0
    return mask


def _masked(raw: Parameters, mask: Tensor) -> Parameters:
    return replace(raw, rows=raw.rows * mask)


def _rate(settings: DssSettings, iteration: int) -> float:
    if not settings.decay:
        return settings.learning_rate
    return cosine(settings.learning_rate, iteration, settings.iterations)
