r"""S4S and S4S-Alt (Frankel et al., ICML 2025, arXiv 2502.17423).

    x' = r x + (1 - r) sum_{j in last K} b[n, j] D(x_j, s_j sigma_j),   r = sigma'/sigma

S4S learns the coefficients b (no condition on their sum) on a given schedule, so that the end
point meets the teacher's. The objective is relaxed: each training start may move inside a small
ball, jointly optimised by projected gradient steps. S4S-Alt alternates: coefficients with the
schedule fixed, then step positions and model times with the coefficients fixed. There is no
official code; what the paper leaves open is named in S4SSettings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..begin import from_solver
from ..forms import denoised_steps
from ..gradient import recomputed
from ..parameters import Parameters, Space, to_solver
from ..records import Values
from ..run import Run
from ..sample import sample
from ..search import SearchError
from ..solver import Solver
from ..tableaus import ADAMS_BASHFORTH, TABLEAUS, denoised_adams
from ..teacher import Trajectory, accurate_teacher
from .descent import (
    RECOMPUTED,
    DescentSettings,
    batches,
    check_finite,
    checked_gradient,
    cosine,
    due,
    gradient_of,
    relative_square,
    within_budget,
)
from .known import TRACED, best_known


@dataclass(frozen=True)
class S4SSettings(DescentSettings):
    """How S4S runs.

    Args:
        schedule: a key of the problem's schedules; "" takes the one on which the start is best.
        order: K, most outputs that a step combines.
        table: where the coefficients begin: "" is Adams-Bashforth on denoised outputs (iPNDM),
            else a key of TABLEAUS whose steps combine at most K denoised outputs (dpmpp_2m).
        alternations: rounds of (coefficients, schedule); 0 is S4S, coefficients only.
        rate, schedule_rate: of Adam, falling by a cosine in each phase.
        radius: of the ball in which a start may move, as a share of its own length; 0 is off.
        start_rate: of the projected gradient steps on the starts, as a share of the radius.
        teacher_calls: of the teacher (paper: about 20 calls of UniPC; here the same number of
            calls of a second-order multistep solver on a dense grid).
        learn_model_sigmas: with the schedule, also learn the sigma told to the model.

    Raises:
        ValueError: for an order without Adams-Bashforth weights, or phases without an iteration.
    """

    schedule: str = ""
    order: int = 3
    table: str = ""
    alternations: int = 0
    rate: float = 5e-3
    schedule_rate: float = 1e-2
    radius: float = 0.01
    start_rate: float = 0.2
    teacher_calls: int = 20
    learn_model_sigmas: bool = True

    def __post_init__(self) -> None:
        if self.order not in ADAMS_BASHFORTH:
            raise ValueError(f"order must be 1 to {max(ADAMS_BASHFORTH)}, found {self.order}.")
        if self.iterations < max(1, 2 * self.alternations):
            raise ValueError(f"iterations must be at least {max(1, 2 * self.alternations)}, one "
                             f"for each phase, found {self.iterations}. Use fewer alternations.")


def s4s(run: Run, settings: S4SSettings) -> None:
    """Search as in the paper; offers its start and its iterates to `run`.

    Raises:
        SearchError: if the model cannot be differentiated or its gradient is wrong, or if there is
            no such schedule or table.
    """
    problem = run.problem
    teacher = run.trace(accurate_teacher(settings.teacher_calls, problem.sigma_max,
                                         flow=problem.flow), keep=TRACED)
    descent = _Descent(run, settings, _start(run, teacher, settings))
    run.offer(descent.solver(), "s4s start")
    descent.check()
    phases = ("coefficients", "schedule") * settings.alternations or ("coefficients",)
    descent.settings = within_budget(run, settings, RECOMPUTED, len(phases))
    ends = [descent.settings.iterations * k // len(phases) for k in range(len(phases) + 1)]
    for name, (begin, end) in zip(phases, pairwise(ends), strict=True):
        descent.phase(name, end - begin)


def _start(run: Run, teacher: Trajectory, settings: S4SSettings) -> Solver:
    if settings.known > 0:
        return best_known(run, teacher, run.fitted, settings.known)[0].solver
    known = run.problem.schedules
    if settings.schedule and settings.schedule not in known:
        raise SearchError(f"schedule must be one of {', '.join(known)}, found "
                          f"{settings.schedule!r}.")
    names = [settings.schedule] if settings.schedule else list(known)
    solvers = [_first(known[name], settings, flow=run.problem.flow) for name in names]
    few = run.screening(2, 1 / 2)
    return min(solvers, key=lambda s: float(run.errors(s, few).mean())) if names[1:] else (
        solvers[0])


def _first(sigmas: Tensor, settings: S4SSettings, *, flow: bool) -> Solver:
    """The table to begin with on one schedule."""
    if not settings.table:
        return denoised_adams(sigmas, settings.order, flow=flow)
    if settings.table not in TABLEAUS:
        raise SearchError(f"table must be one of {', '.join(TABLEAUS)}, found "
                          f"{settings.table!r}.")
    solver = TABLEAUS[settings.table](sigmas, flow=flow)
    if solver.steps >= len(sigmas) or denoised_steps(solver)[1].tril(-settings.order).any():
        raise SearchError(f"table {settings.table!r} combines more than {settings.order} denoised "
                          "outputs in a step. Raise order or begin with dpmpp_2m.")
    return solver


@dataclass
class _Descent:
    run: Run
    settings: S4SSettings
    first: Solver
    done: int = 0
    moves: Tensor = field(init=False)  # of the starts
    raw: Parameters = field(init=False)
    kept: Tensor = field(init=False)  # weights that do not learn

    def __post_init__(self) -> None:
        problem = self.run.problem
        self.space = Space(problem.clock, problem.flow)
        scaled = self.settings.alternations > 0 and self.settings.learn_model_sigmas
        self.raw = from_solver(self.first, self.space, free=True, scaled=scaled)
        self.moves = torch.zeros_like(problem.starts[: problem.fit])
        self.order = batches(problem.fit, self.settings.batch, self.settings.seed)
        window = torch.ones(problem.steps, problem.steps, dtype=torch.float64)
        self.window = window.tril().triu(1 - self.settings.order)
        self.kept = self.raw.rows * (1 - self.window)

    def solver(self) -> Solver:
        return to_solver(self._windowed(self.raw), self.space)

    def check(self) -> None:
        def loss_of(raw: Parameters, items: Tensor, met: Solver | None = None) -> Tensor:
            return self._loss(raw, items, torch.zeros_like(self.moves[items]))
        checked_gradient(self.run, loss_of, self.raw, next(self.order), self.solver())

    def phase(self, name: str, iterations: int) -> None:
        """Learn the coefficients or the schedule; the other stays."""
        mine = ("rows",) if name == "coefficients" else ("steps", "scales")
        rate = self.settings.rate if name == "coefficients" else self.settings.schedule_rate
        learned = {k: getattr(self.raw, k).clone().requires_grad_() for k in mine
                   if getattr(self.raw, k) is not None}
        optimiser = torch.optim.Adam(list(learned.values()), rate)
        for i in range(1, iterations + 1):
            optimiser.param_groups[0]["lr"] = cosine(rate, i - 1, iterations)
            self._step(optimiser, learned)
            self.raw = replace(self.raw, **{k: v.detach().clone() for k, v in learned.items()})
            if due(self.settings, self.done) or i == iterations:
                total = self.settings.iterations
                self.run.offer(self.solver(), f"s4s {name} {self.done}/{total}")

    def _step(self, optimiser: torch.optim.Optimizer, learned: dict[str, Tensor]) -> None:
        self.done += 1
        items = next(self.order)
        found = dict(self.run.kept("gradient", lambda: self._gradients(learned, items),
                                   learned.values()))
        self.moves[items] = found.pop("moves", self.moves[items])
        for name, tensor in learned.items():
            tensor.grad = found[name]
        optimiser.step()

    def _gradients(self, learned: dict[str, Tensor], items: Tensor) -> Values:
        """Of what is learned; and where the starts then are, if they move."""
        moves = self.moves[items].requires_grad_()

        @torch.enable_grad()
        def loss_on(own: Tensor) -> Tensor:
            mine = moves[(items[:, None] == own).any(dim=1)]
            loss = self._loss(replace(self.raw, **learned), own, mine)
            check_finite(loss, self.done)
            return loss

        *found, gradient = gradient_of(self.run, loss_on, [*learned.values(), moves], items)
        found = dict(zip(learned, found, strict=True))
        if self.settings.radius > 0:
            found["moves"] = self._moved(moves.detach(), gradient, items)
        return found

    def _moved(self, moves: Tensor, gradient: Tensor, items: Tensor) -> Tensor:
        """One normalised gradient step, back into the ball."""
        ball = self.settings.radius * _norm(self.run.problem.starts[items])
        stepped = moves - self.settings.start_rate * ball * gradient / _norm(gradient).clamp_min(
            1e-20)
        return stepped * (ball / _norm(stepped).clamp_min(1e-20)).clamp(max=1)

    @torch.enable_grad()
    def _loss(self, raw: Parameters, items: Tensor, moves: Tensor) -> Tensor:
        """Mean squared relative error of the end points."""
        solver = to_solver(self._windowed(raw), self.space)
        end = sample(recomputed(self.run.denoise(items)), solver,
                     self.run.problem.starts[items] + moves)
        return relative_square(end, self.run.reference_of(items))

    def _windowed(self, raw: Parameters) -> Parameters:
        """Only the weights of the last K outputs learn; what else a start reads stays.

        The diagonal of raw rows is the row sum's excess.

        With excess e the newest weight is 1 - (older ones) + e, so that each b is free.
        """
        return replace(raw, rows=raw.rows * self.window + self.kept)


def _norm(x: Tensor) -> Tensor:
    """(B, 1, ...) length of each."""
    return x.flatten(1).norm(dim=1).reshape(-1, *(1,) * (x.ndim - 1))
