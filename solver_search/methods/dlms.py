r"""DLMS, linear multistep solver distillation (Liang et al.), as one fixed table.

    x' = r x + (1 - r) sum_{k <= p} a_k D(x_{n-k}, s_{n-k} sigma_{n-k}),  r = sigma'/sigma,
    sum_k a_k = 1

Step positions, coefficients and the scale s on the sigma told to the model are learned from local
losses (its Algorithm 1): the state two steps back, its sigma, the target, its sigma and all older
outputs are constants; gradient flows through the sigma and state between, through the two rows
and through ONE model call, so memory does not grow with N. The teacher is DPM-Solver++(2M) on the
student's own present sigmas with M more between each two.

The paper's network that writes a row per picture is not here: without it (one fixed table) the
paper reports nearly the same quality. Nor is its analytic first step, which a table of model
calls cannot hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..parameters import Parameters, Space, from_solver, to_solver
from ..sample import sample
from ..search import Run
from ..tableaus import TABLEAUS
from ..teacher import accurate_teacher
from .descent import batches, check_finite, cosine
from .s4s import plms_start

Feature = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DlmsSettings:
    """As in the paper, but for a feature distance at the end.

    Args:
        order: p, most outputs that a step combines.
        schedule: a key of the problem's schedules to begin with; "" is uniform progress.
        between: M, teacher points between two of the student's sigmas.
        iterations: optimiser steps.
        batch: trajectories per iteration.
        rate: of Adam, falling by a cosine.
        average: exponential average of the iterates (0: the raw iterate).
        learn_steps, learn_scales, learn_rows: switches of the ablation.
        plms: begin with Adams-Bashforth weights, else with Euler's.
        feature: distance of the end points in this space; None is the latent itself.
        teacher_calls: of the accurate ends against which held-out starts are measured.
        seed: order of the trajectories.
        offers: how often the iterate is measured on held-out starts.
    """

    order: int = 3
    schedule: str = ""
    between: int = 1
    iterations: int = 200
    batch: int = 8
    rate: float = 5e-3
    average: float = 0.9
    learn_steps: bool = True
    learn_scales: bool = True
    learn_rows: bool = True
    plms: bool = True
    feature: Feature | None = None
    teacher_calls: int = 32
    seed: int = 0
    offers: int = 12


def dlms(run: Run, settings: DlmsSettings) -> None:
    """Search as in the paper; offers its start and its averaged iterates to `run`.

    Raises:
        SearchError: when a loss is not finite.
    """
    problem = run.problem
    run.trace(accurate_teacher(settings.teacher_calls, problem.sigma_max, flow=problem.flow),
              keep=1)
    space = Space(problem.clock, problem.flow)
    raw = _start(run, space, settings)
    run.offer(to_solver(raw, space), "dlms start")
    learned = _learned(raw, settings)
    averaged = {name: t.detach().clone() for name, t in learned.items()}
    optimiser = torch.optim.Adam(list(learned.values()), settings.rate)
    order = batches(problem.fit, settings.batch, settings.seed)
    every = max(1, settings.iterations // settings.offers)
    for i in range(1, settings.iterations + 1):
        optimiser.param_groups[0]["lr"] = cosine(settings.rate, i - 1, settings.iterations)
        optimiser.zero_grad()
        accumulate(run, replace(raw, **learned), space, next(order), settings, iteration=i)
        optimiser.step()
        for name, t in learned.items():
            averaged[name].lerp_(t.detach(), 1 - settings.average)
        if i % every == 0 or i == settings.iterations:
            solver = to_solver(replace(raw, **averaged), space)
            run.offer(solver, f"dlms {i}/{settings.iterations}")


def _start(run: Run, space: Space, settings: DlmsSettings) -> Parameters:
    count = run.problem.steps
    uniform = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    sigmas = (run.problem.schedules[settings.schedule] if settings.schedule
              else space.clock.sigma(uniform))
    solver = plms_start(sigmas, settings.order if settings.plms else 1, flow=run.problem.flow)
    return from_solver(solver, space, scaled=True)


def _learned(raw: Parameters, settings: DlmsSettings) -> dict[str, Tensor]:
    switches = {"steps": settings.learn_steps, "rows": settings.learn_rows,
                "scales": settings.learn_scales}
    return {name: getattr(raw, name).clone().requires_grad_()
            for name, on in switches.items() if on}


@torch.enable_grad()
def accumulate(run: Run, raw: Parameters, space: Space, items: Tensor, settings: DlmsSettings,
               *, iteration: int = 0) -> list[float]:
    """Algorithm 1: add the gradients of all local losses of a batch to the raw tensors.

    Returns:
        the losses, one per step.
    """
    x = run.problem.starts[items]
    states = _teacher_states(run, raw, space, items, settings)
    before: Tensor | None = None  # the state one step back, a constant
    outputs: list[Tensor] = []
    losses = []
    for n in range(run.problem.steps):
        sigmas, rows, told = _numbers(raw, space, settings.order, x)
        if before is not None:
            x = _step(before, outputs, rows[n - 1], sigmas[n - 1].detach(), sigmas[n])
        denoised = run.call(x, told[n].expand(len(x)), items)
        end = _step(x, [*outputs, denoised], rows[n], sigmas[n], sigmas[n + 1].detach())
        loss = _distance(end, states[n + 1], settings.feature if n + 1 == run.problem.steps
                         else None)
        check_finite(loss, iteration)
        loss.backward()
        losses.append(float(loss.detach()))
        outputs.append(denoised.detach())
        before = x.detach()
    return losses


def _numbers(raw: Parameters, space: Space, order: int, x: Tensor) -> tuple[Tensor, ...]:
    """Sigmas (N + 1,), rows (N, N) that sum to 1 and told sigmas (N,), of x's dtype and device."""
    lower = raw.rows.tril(-1).triu(1 - order)
    rows = lower + torch.diag(1 - lower.sum(dim=1))
    solver = to_solver(replace(raw, rows=lower), space)
    told = solver.sigmas[:-1] if solver.model_sigmas is None else solver.model_sigmas
    return tuple(t.to(x.dtype).to(x.device) for t in (solver.sigmas, rows, told))


def _step(x: Tensor, outputs: list[Tensor], row: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    ratio = target / sigma
    return ratio * x + (1 - ratio) * torch.stack(
        [w * d for w, d in zip(row, outputs, strict=False)]).sum(0)


def _distance(end: Tensor, target: Tensor, feature: Feature | None) -> Tensor:
    if feature is not None:
        end, target = feature(end), feature(target)
    return (end - target).square().mean()


@torch.no_grad()
def _teacher_states(run: Run, raw: Parameters, space: Space, items: Tensor,
                    settings: DlmsSettings) -> list[Tensor]:
    """DPM-Solver++(2M) states at the student's sigmas."""
    sigmas = to_solver(raw, space).sigmas.detach()
    between = _finer(sigmas, settings.between)
    states: list[Tensor] = []
    sample(run.denoise(items), TABLEAUS["dpmpp_2m"](between, flow=run.problem.flow),
           run.problem.starts[items], states=states)
    return states[:: settings.between + 1]


def _finer(sigmas: Tensor, between: int) -> Tensor:
    """The same sigmas with `between` more in each gap, geometric (equal steps to the last 0)."""
    parts = []
    for here, there in zip(sigmas[:-1], sigmas[1:], strict=True):
        share = torch.arange(between + 1, dtype=torch.float64) / (between + 1)
        parts.append(here * (there / here) ** share if there > 0 else here * (1 - share))
    return torch.cat([*parts, sigmas[-1:]])
