r"""DLMS, linear multistep solver distillation (Liang et al.).

    x' = r x + (1 - r) sum_{k <= p} a_k D(x_{n-k}, s_{n-k} sigma_{n-k}),  r = sigma'/sigma,
    sum_k a_k = 1

Step positions, coefficients and the scale s on the sigma told to the model are learned from local
losses (its Algorithm 1): the state two steps back, its sigma, the target, its sigma and all older
outputs are constants; gradient flows through the sigma and state between, through the two rows
and through ONE model call, so memory does not grow with N. The teacher is DPM-Solver++(2M) on the
student's own present sigmas with M more between each two.

With `designer` a small network (designer.py) bends the rows for each picture, trained with the
same losses on the middle features of the model's calls; the paper's network also writes the next
sigma and its scale, which here stay the same for all pictures.

The analytic first step sets D(x_0) := 0, so it needs no model call: the table has N + 1 rows for
N calls, its first row is empty and no row reads the first output. It is not used with a designer,
whose rows must sum to 1, nor on a given schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..begin import from_solver
from ..designer import bend, deviations, inputs, new_designer
from ..forms import from_denoised_rows
from ..gradient import edits_allowed
from ..parameters import Parameters, Space, to_solver
from ..part import step_rows
from ..records import Values
from ..run import Run
from ..sample import sample
from ..search import SearchError
from ..solver import Solver
from ..tableaus import TABLEAUS, denoised_adams
from ..teacher import Trajectory, accurate_teacher
from .descent import (
    DescentSettings,
    batches,
    check_finite,
    checked_gradient,
    cosine,
    due,
    end_loss,
    within_budget,
)
from .known import TRACED, best_known

RAW = ("steps", "rows", "scales")
Designer = tuple[Tensor, Tensor] | None

@dataclass(frozen=True)
class DlmsSettings(DescentSettings):
    """As in the paper, but for what the module names.

    Args:
        order: p, most outputs that a step combines.
        schedule: a key of the problem's schedules to begin with; "" is uniform progress.
        between: M, teacher points between two of the student's sigmas.
        rate: of Adam, falling by a cosine.
        average: exponential average of the iterates (0: the raw iterate).
        learn_steps, learn_scales, learn_rows: switches of the ablation.
        analytic: begin with a step that needs no model call; None: if that start is the better
            one on held-out starts (it is where the model's first output is near 0).
        plms: begin with Adams-Bashforth weights, else with Euler's.
        distance: of the end points in this space; None is the latent itself.
        designer: also learn the network that bends rows.
        teacher_calls: of the accurate ends against which held-out starts are measured.
    """

    order: int = 3
    schedule: str = ""
    between: int = 1
    rate: float = 5e-3
    average: float = 0.9
    learn_steps: bool = True
    learn_scales: bool = True
    learn_rows: bool = True
    analytic: bool | None = None
    plms: bool = True
    distance: Callable[[Tensor], Tensor] | None = None
    designer: bool = False
    teacher_calls: int = 32


@dataclass
class Learner:
    """What is learned: raw numbers, and the designer's two matrices if there is one."""

    raw: Parameters
    space: Space
    tensors: dict[str, Tensor]

    def values(self, tensors: dict[str, Tensor] | None = None) -> tuple[Parameters, Designer]:
        """Raw numbers and designer with the present (or other) values of what is learned."""
        now = tensors or self.tensors
        raw = replace(self.raw, **{k: v for k, v in now.items() if k in RAW})
        return raw, (now["inner"], now["outer"]) if "inner" in now else None

    def solver(self, tensors: dict[str, Tensor] | None = None) -> Solver:
        """The solver of these values."""
        raw, designer = self.values(tensors)
        solver = to_solver(raw, self.space).detach()
        return solver if designer is None else replace(
            solver, designer_in=designer[0].detach(), designer_out=designer[1].detach())


def dlms(run: Run, settings: DlmsSettings) -> None:
    """Search as in the paper; offers its start and its averaged iterates to `run`.

    Raises:
        SearchError: when a loss is not finite, a designer is asked for without features, or the
            model's gradient is wrong.
    """
    problem = run.problem
    teacher = run.trace(accurate_teacher(settings.teacher_calls, problem.sigma_max,
                                         flow=problem.flow), keep=TRACED)
    learner = _from_known(run, teacher, settings) if settings.known else _better_start(run,
                                                                                       settings)
    averaged = {name: t.detach().clone() for name, t in learner.tensors.items()}
    optimiser = torch.optim.Adam(list(learner.tensors.values()), settings.rate)
    order = batches(problem.fit, min(settings.batch, problem.batch), settings.seed)
    checked_gradient(run, end_loss(run, learner.space), learner.raw, next(order),
                     learner.solver())
    settings = within_budget(run, settings, settings.between + 2)  # teacher's calls, and its own
    for i in range(1, settings.iterations + 1):
        optimiser.param_groups[0]["lr"] = cosine(settings.rate, i - 1, settings.iterations)
        _set_gradients(run, learner, next(order), settings, i)
        optimiser.step()
        for name, t in learner.tensors.items():
            averaged[name].lerp_(t.detach(), 1 - settings.average)
        if due(settings, i):
            run.offer(learner.solver(averaged), f"dlms {i}/{settings.iterations}")


def _set_gradients(run: Run, learner: Learner, items: Tensor, settings: DlmsSettings,
                   iteration: int) -> None:
    tensors, ranks = learner.tensors, run.ranks
    own = ranks.own(items)

    def mine() -> None:
        for tensor in tensors.values():
            tensor.grad = None
        if len(own):
            with edits_allowed():
                accumulate(run, learner, own, settings, iteration=iteration)

    def made() -> Values:
        ranks.together(mine)
        learned = ranks.summed(torch.tensor([t.grad is not None for t in tensors.values()]).int())
        share = len(own) / len(items)
        return {name: ranks.summed(torch.zeros_like(t) if t.grad is None else share * t.grad)
                for (name, t), known in zip(tensors.items(), learned, strict=True) if known}

    found = run.kept("gradient", made, tensors.values())
    for name, tensor in tensors.items():
        tensor.grad = found.get(name)


def _better_start(run: Run, settings: DlmsSettings) -> Learner:
    both = settings.analytic is None and not settings.designer and not settings.schedule
    choices = (False, True) if both else (bool(settings.analytic),)
    space = Space(run.problem.clock, run.problem.flow)
    learners = []
    for choice in choices:
        own = replace(settings, analytic=choice)
        learners.append(_learner(run, _start(run, space, own), space, own))
    errors = [run.offer(learner.solver(), "dlms start") for learner in learners]
    return learners[errors.index(min(errors))]


def _from_known(run: Run, teacher: Trajectory, settings: DlmsSettings) -> Learner:
    """Begin with the best handcrafted solver whose rows sum to 1."""
    best = next(known.solver for known in best_known(run, teacher, run.fitted, settings.known)
                if known.solver.consistent)
    space = Space(run.problem.clock, run.problem.flow)
    learner = _learner(run, from_solver(best, space, scaled=True), space, settings)
    run.offer(learner.solver(), "dlms start")
    return learner


def _learner(run: Run, raw: Parameters, space: Space, settings: DlmsSettings) -> Learner:
    learned = _learned(raw, settings)
    if settings.designer:
        inner, outer = new_designer(_features(run), settings.order - 1, seed=settings.seed)
        learned |= {"inner": inner.requires_grad_(), "outer": outer.requires_grad_()}
    return Learner(raw, space, learned)


def _features(run: Run) -> int:
    """How many features the model shows, found by one call."""
    if run.problem.feature is None:
        raise SearchError("a designer network needs features of the model, found none. Use the "
                          "method 'dlms'.")
    first = run.ranks.own(run.fitted[:1])
    x = run.problem.starts[first]

    def asked() -> int:
        with torch.no_grad():
            run.call(x, torch.full((len(x),), run.problem.sigma_max).to(x), first)
        return run.problem.feature().shape[1] if len(x) else 0

    def made() -> Values:
        return {"features": run.ranks.summed(torch.tensor(run.ranks.together(asked)))}

    return int(run.kept("features", made)["features"])


def _start(run: Run, space: Space, settings: DlmsSettings) -> Parameters:
    count = run.problem.steps + _skips(settings)
    uniform = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    sigmas = (run.problem.schedules[settings.schedule] if settings.schedule
              else space.clock.sigma(uniform))
    order = settings.order if settings.plms else 1
    if not _skips(settings):
        known = denoised_adams(sigmas, order, flow=run.problem.flow)
        return from_solver(known, space, scaled=True)
    rest = from_denoised_rows(sigmas, _after_first(sigmas, order, flow=run.problem.flow),
                              flow=run.problem.flow, start=torch.ones(count))
    return from_solver(rest, space, scaled=True)


def _skips(settings: DlmsSettings) -> bool:
    """Whether the first step is analytic; a given schedule says itself how many steps."""
    return bool(settings.analytic) and not settings.designer and not settings.schedule


def _after_first(sigmas: Tensor, order: int, *, flow: bool) -> Tensor:
    """Rows (N + 1, N + 1) with an empty first row, the others those of a start at sigmas[1]."""
    _, own = step_rows(denoised_adams(sigmas[1:], order, flow=flow))
    return torch.block_diag(torch.zeros(1, 1, dtype=torch.float64), own)


def _learned(raw: Parameters, settings: DlmsSettings) -> dict[str, Tensor]:
    switches = {"steps": settings.learn_steps, "rows": settings.learn_rows,
                "scales": settings.learn_scales}
    return {name: getattr(raw, name).clone().requires_grad_()
            for name, on in switches.items() if on}


@torch.enable_grad()
def accumulate(run: Run, learner: Learner, items: Tensor, settings: DlmsSettings, *,
               iteration: int = 0) -> list[float]:
    """Algorithm 1: add the gradients of all local losses of a batch to what is learned.

    Returns:
        the losses, one per step.
    """
    x = run.problem.starts[items]
    states = _teacher_states(run, learner, items, settings)
    before: Tensor | None = None  # the state one step back, a constant
    outputs: list[Tensor] = []
    seen: list[Tensor] = []  # what the designer saw at each call, constants
    losses = []
    for n in range(len(learner.raw.steps)):
        raw, designer = learner.values()
        sigmas, rows, told = _numbers(raw, learner.space, settings.order, x)
        if before is not None:
            x = _step(before, outputs, rows[n - 1], sigmas[n - 1].detach(), sigmas[n])
            x = x + _bent(designer, seen, outputs, sigmas[n - 1].detach(), sigmas[n])
        denoised = (torch.zeros_like(x) if n == 0 and raw.start is not None
                    else run.call(x, told[n].expand(len(x)), items))
        if designer is not None:
            seen.append(inputs(run.problem.feature().detach(), sigmas[n], n / run.problem.steps))
        newest = [*outputs, denoised]
        end = _step(x, newest, rows[n], sigmas[n], sigmas[n + 1].detach())
        end = end + _bent(designer, seen, newest, sigmas[n], sigmas[n + 1].detach())
        last = n + 1 == len(rows)
        loss = _distance(end, states[n + 1], settings.distance if last else None)
        check_finite(loss, iteration)
        if loss.requires_grad:  # the first step may have nothing to learn
            loss.backward()
        losses.append(float(loss.detach()))
        outputs.append(denoised.detach())
        before = x.detach()
    return losses


def _bent(designer: Designer, seen: list[Tensor], outputs: list[Tensor], sigma: Tensor,
          target: Tensor) -> Tensor | float:
    """The designer's part of a step whose newest output is outputs[-1]."""
    if designer is None:
        return 0.0
    return (1 - target / sigma) * bend(deviations(*designer, seen[-1]), outputs)


def _numbers(raw: Parameters, space: Space, order: int, x: Tensor) -> tuple[Tensor, ...]:
    """Sigmas (N + 1,), rows (N, N) that sum to 1 and told sigmas (N,), of x's dtype and device."""
    older = raw.rows.tril(-order).detach()  # what a start reads beyond the order stays
    lower = raw.rows.tril(-1).triu(1 - order) + older
    diagonal = 1 - lower.sum(dim=1)
    if raw.start is not None:  # the first step is analytic: its output is nothing to read
        read = (torch.arange(len(lower)) > 0).to(lower)
        lower, diagonal = lower * read, (1 - (lower * read).sum(dim=1)) * read
    rows = lower + torch.diag(diagonal)
    solver = to_solver(replace(raw, rows=lower), space)
    told = solver.sigmas[:-1] if solver.model_sigmas is None else solver.model_sigmas
    return tuple(t.to(x.dtype).to(x.device) for t in (solver.sigmas, rows, told))


def _step(x: Tensor, outputs: list[Tensor], row: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    ratio = target / sigma
    return ratio * x + (1 - ratio) * torch.stack(
        [w * d for w, d in zip(row, outputs, strict=False)]).sum(0)


def _distance(end: Tensor, target: Tensor,
              space: Callable[[Tensor], Tensor] | None) -> Tensor:
    if space is not None:
        end, target = space(end), space(target)
    return (end - target).square().mean()


@torch.no_grad()
def _teacher_states(run: Run, learner: Learner, items: Tensor,
                    settings: DlmsSettings) -> list[Tensor]:
    """DPM-Solver++(2M) states at the student's sigmas."""
    sigmas = learner.solver().sigmas
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
