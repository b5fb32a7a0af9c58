r"""Levenberg-Marquardt on the end point, Jacobian by finite differences: no gradients.

Sigmas, rows, row sums and the sigma told to the model move together; what rows over further bases
have beside them stays. A parameter re-runs only the calls behind it. Starts are split into parts;
each part keeps the quadratic model of its loss at the point where it was last linearised, a step
minimises the sum of all, and one part is linearised anew per iteration (sum of functions,
Sohl-Dickstein et al. 2014, arXiv 1311.2115). A step must lower the loss of all starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..bases import BASIS, WEIGHTS
from ..forms import denoised_steps
from ..parameters import Parameters, Space, to_solver
from ..plan import beside_rows, values_of
from ..records import Values
from ..run import Run
from ..sample import sample, told_levels
from ..solver import Solver, SolverError
from .coordinates import Coordinate, coordinates, moved, values
from .rows import precise

ROBUST_ERROR = 0.02  # relative error below which a start no longer gains weight
PRIOR = 1e-3
DAMPING_FLOOR = 0.03
LEAST_DAMPING = 1e-3
VAIN = 5  # iterations without a better solver on held-out starts that end a refinement
FIRST_DAMPING = 1e-2
TRIES = 4
OPTIMISM = 1.0  # starts' worth of error that a fit hides on those it saw (evidence.md)


@dataclass(frozen=True)
class Quadratic:
    """Model of a part's loss around `centre`."""

    hessian: Tensor
    slope: Tensor
    centre: Tensor


@dataclass
class Refinement:
    """The state of one refinement.

    Args:
        run: the search.
        raw: where it stands.
        space: what raw means.
        label: its name in events.
        part: starts linearised in one iteration.
        vain: iterations since the run's best solver last changed.
        losses: of all starts, first that of the start, then one per iteration.
    """

    run: Run
    raw: Parameters
    space: Space
    label: str
    part: int = 8
    damping: float = FIRST_DAMPING
    vain: int = 0
    losses: list[float] = field(default_factory=list)
    models: dict[int, Quadratic] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.losses:
            errors = self.run.errors(to_solver(self.raw, self.space), self.run.fitted)
            self.losses.append(float(robust(errors)))

    def iterate(self, count: int, patience: float) -> None:
        """At most `count` iterations; fewer when a round gains < `patience`, or in vain."""
        for _ in range(count):
            if self.vain >= VAIN or self._stalled(patience):
                return
            before = self.run.best
            self._iteration()
            self.vain = 0 if self.run.best is not before else self.vain + 1

    def _stalled(self, patience: float) -> bool:
        round_of = len(self.run.fitted.split(self.part))
        before = self.losses[:-round_of]
        return bool(before) and self.losses[-1] > (1 - patience) * before[-1]

    def _iteration(self) -> None:
        parts = self.run.fitted.split(self.part)
        k = (len(self.losses) - 1) % len(parts)
        along = coordinates(self.raw, self.run.problem.difference)
        self.models[k] = self._linearised(along, parts[k])
        hessian, slope = _total(self.models, values(self.raw, along))
        self._first_better(along, _steps(hessian, slope, along, self.damping, self.losses[-1]))

    def _linearised(self, along: list[Coordinate], part: Tensor) -> Quadratic:
        def made() -> Values:
            ranks = self.run.ranks
            found = ranks.together(lambda: _linearised(self.run, self.raw, self.space, along,
                                                       ranks.own(part)))
            return {"hessian": ranks.summed(found.hessian), "slope": ranks.summed(found.slope)}

        return Quadratic(**self.run.kept("linearised", made, self.raw.tensors()),
                         centre=values(self.raw, along))

    def _first_better(self, along: list[Coordinate],
                      steps: Iterator[tuple[Tensor, float]]) -> None:
        """Take the first damped step that lowers the loss."""
        for change, damping in steps:
            tried = moved(self.raw, self.space, along, change)
            solver = _valid(tried, self.space)
            if solver is None:
                continue
            errors = self.run.errors(solver, self.run.fitted)
            loss = float(robust(errors))
            if loss < self.losses[-1]:
                self.raw, self.damping = tried, max(damping / 4, LEAST_DAMPING)
                self.run.offer(solver, f"{self.label}, step {len(self.losses)}",
                               searched=fair(errors))
                self.losses.append(loss)
                return
        self.losses.append(self.losses[-1])


def fair(errors: Tensor) -> Tensor:
    """Errors on the starts that something was fitted on, as large as on others: the fewer they
    are, the more of their error a fit hides."""
    return (1 + OPTIMISM / len(errors)) * errors


def robust(errors: Tensor) -> Tensor:
    """Mean of a Huber-like loss whose gradient weights starts by 1 / sqrt(e^2 + delta^2)."""
    return (errors.square() + ROBUST_ERROR ** 2).sqrt().mean() - ROBUST_ERROR


def _total(models: dict[int, Quadratic], here: Tensor) -> tuple[Tensor, Tensor]:
    """Hessian and slope of the summed models at `here`."""
    hessian = torch.stack([m.hessian for m in models.values()]).sum(0)
    slopes = [m.slope + m.hessian @ (here - m.centre) for m in models.values()]
    return hessian, torch.stack(slopes).sum(0)


def _steps(hessian: Tensor, slope: Tensor, along: list[Coordinate], damping: float,
           loss: float) -> Iterator[tuple[Tensor, float]]:
    """Damped steps inside the box, shorter and shorter."""
    diagonal = hessian.diagonal()
    scale = diagonal + DAMPING_FLOOR * diagonal.mean()
    limits = torch.tensor([c.limit for c in along], dtype=torch.float64)
    prior = PRIOR * loss * torch.eye(len(along), dtype=torch.float64)
    tries = 0
    while tries < TRIES and damping < 1e8:
        change = -torch.linalg.solve(hessian + damping * torch.diag(scale) + prior, slope)
        if (change.abs() <= limits).all():
            tries += 1
            yield change, damping
            damping *= 2
        damping *= 4


def _valid(raw: Parameters, space: Space) -> Solver | None:
    try:
        return to_solver(raw, space)
    except SolverError:
        return None


@torch.no_grad()
def _linearised(run: Run, raw: Parameters, space: Space, along: list[Coordinate],
                part: Tensor) -> Quadratic:
    """Weighted J'J and J'r of the end points of some starts, as their share of the mean.

    One start at a time, and at most a batch of neighbours.
    """
    steps = torch.tensor([c.step for c in along], dtype=torch.float64)
    neighbours = [to_solver(moved(raw, space, along, one), space) for one in torch.diag(steps)]
    hessian = torch.zeros(len(along), len(along), dtype=torch.float64)
    slope = torch.zeros(len(along), dtype=torch.float64)
    own = run.reference_of(run.ranks.own(run.fitted))
    norms = run.ranks.gathered(own.flatten(1).norm(dim=1), run.fitted)
    size = float(norms.square().mean().sqrt())
    for items in part.split(run.problem.batch):
        calls, ends = base_run(run, to_solver(raw, space), items)
        targets = run.reference_of(items)
        for s in range(len(items)):
            moved_ends = neighbour_ends(run, neighbours, [c.call for c in along],
                                        items[s : s + 1], [call.row(s) for call in calls])
            residual = precise(ends[s] - targets[s]).flatten() / size
            jacobian = precise(moved_ends - ends[s]).flatten(1)
            jacobian /= size * steps.to(jacobian.dtype)[:, None]
            weight = float((residual.square().sum() + ROBUST_ERROR ** 2).rsqrt())
            hessian += weight * (jacobian @ jacobian.T).double()
            slope += weight * (jacobian @ residual).double()
    count = len(run.fitted)
    return Quadratic(hessian / count, slope / count, values(raw, along))


@dataclass(frozen=True)
class Answer:
    """What one model call gave: (S, C, ...) outputs, and what guidance added (0 without)."""

    denoised: Tensor
    guidance: Tensor

    def row(self, s: int) -> Answer:
        """Of one start."""
        return Answer(self.denoised[s : s + 1], self.guidance[s : s + 1])

    def after(self, fresh: Answer, count: int) -> Answer:
        """Fresh rows, then this single one again up to `count`."""
        more = count - len(fresh.denoised)
        return Answer(*(torch.cat([new, old.expand(more, *old.shape[1:])]) for new, old in (
            (fresh.denoised, self.denoised), (fresh.guidance, self.guidance))))


def _answer(run: Run, denoised: Tensor) -> Answer:
    """The newest model call's."""
    return Answer(denoised, torch.zeros_like(denoised) if run.added is None else run.added)


def base_run(run: Run, solver: Solver, items: Tensor) -> tuple[list[Answer], Tensor]:
    """All N model calls, and the end points (S, C, ...)."""
    answers: list[Answer] = []
    end = sample(run.denoise(items), solver, run.problem.starts[items],
                 lambda row, x, denoised: answers.append(_answer(run, denoised)),
                 guidance=lambda _: run.added, canvas=run.problem.canvas)
    return answers, end


def neighbour_ends(run: Run, neighbours: list[Solver], calls: list[int], item: Tensor,
                   answers: list[Answer]) -> Tensor:
    """(P, C, ...) end points of one start under P neighbours of a base solver.

    Args:
        neighbours: solvers that differ from the base by one number each.
        calls: (P,) rising; neighbour p shares all model calls before calls[p] with the base.
        item: (1,) the start.
        answers: N of one row, the base's.
    """
    size = run.problem.batch
    chunks = [(neighbours[i:i + size], calls[i:i + size]) for i in range(0, len(calls), size)]
    return torch.cat([_chunk_ends(run, few, first, item, answers) for few, first in chunks])


def _chunk_ends(run: Run, solvers: list[Solver], calls: list[int], item: Tensor,
                answers: list[Answer]) -> Tensor:
    x, bases = run.problem.starts[item], (WEIGHTS, *solvers[0].beside)
    ratio, told, *rows = (torch.stack(t).to(x.dtype).to(x.device) for t in zip(
        *(_steps_of(s) for s in solvers), strict=True))
    shape = (-1,) + (1,) * (x.ndim - 1)
    x = x.expand(len(solvers), *x.shape[1:])
    seen: dict[str, list[Tensor]] = {name: [] for name in bases}
    for n, base in enumerate(answers):
        active = sum(call <= n for call in calls)
        own = base
        if active:
            fresh = _answer(run, run.call(x[:active], told[:active, n], item.expand(active)))
            own = base.after(fresh, len(x))
        x = ratio[:, n].reshape(shape) * x
        for name, table in zip(bases, rows, strict=True):
            seen[name].append(own.denoised if name == WEIGHTS else values_of(
                BASIS[name], own.denoised, own.guidance, run.problem.canvas))
            x = x + sum(w.reshape(shape) * v for w, v in zip(table[:, n].T, seen[name],
                                                             strict=False))
    return x


def _steps_of(solver: Solver) -> tuple[Tensor, ...]:
    """Factors (N,), noise levels told (N,), rows (N, N), then what each further basis adds."""
    ratio, rows = denoised_steps(solver)
    return ratio, told_levels(solver)[:-1], rows, *beside_rows(solver).values()
