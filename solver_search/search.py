"""What a search is: a problem, a budget, events, and the best solver so far.

A method is a function (problem, run, settings) that offers solvers to the Run. The Run counts
model calls, measures each offer on held-out starts, keeps the best and stops the method by an
exception; whatever ends a search, run.best is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .canvas import PLAIN, Canvas
from .clocks import Clock
from .designer import Feature
from .metrics import relative_errors
from .sample import Denoise, DivergedError, sample
from .solver import Solver
from .teacher import Trajectory, trace

MOST_TRAJECTORY_BYTES = 2**34
STOPPED = "stopped by the user"
RowDenoise = Callable[[Tensor, Tensor, Tensor], Tensor]


class SearchStopped(Exception):
    """Ends a search in an orderly way; the message is the reason."""


class SearchError(RuntimeError):
    """A search that cannot go on; the message says what is wrong and what to do."""


class GradientError(SearchError):
    """The model has no gradient, or a wrong one; the message says how that was seen."""


def is_autograd(error: RuntimeError) -> bool:
    """Whether a descent failed for want of a gradient, so that one without can go on."""
    other = SearchError, DivergedError, torch.OutOfMemoryError
    return isinstance(error, GradientError) or not isinstance(error, other)


@dataclass(frozen=True)
class Problem:
    """One model under one setting, as a search sees it.

    Args:
        denoise: (x, sigma, items) -> denoised; items (B,) says which starts the rows of x belong
            to, so that each start keeps its own prompt. sigma is 0-d or (B,). Takes and gives
            states in main memory: the device holds what one call needs, however many there are.
        starts: (S, C, ...) states at sigma_max; the first `fit` are searched on, the others
            held out.
        fit: number of starts to fit.
        flow: see Solver.
        sigma_max: first sigma of every solver.
        schedules: name -> (N + 1,) sigmas of the ordinary schedules for this model and N.
        clock: progress in which steps move; `time` is uniform model time (as DSS).
        batch: most rows in one model call.
        difference: finite-difference step that the model's precision allows: 2e-3 for float32,
            1e-2 float16, 3e-2 bfloat16.
        feature: (B, F) features of the newest call of `denoise`, where a method asks for them.
        guidance: (B, C, ...) what guidance added in the newest call of `denoise` (see sample), or
            None where nobody says.
        canvas: which media lie in a state; each of about the same norm (Canvas.balance).
        balance: (1, C, ...) factors by which states are those of the model; None: they are.
        told: name -> (N,) noise levels that the model is told on a schedule, where these are not
            its own.
        near: name of a schedule that is no ordinary one but a neighbour's levels.
    """

    denoise: RowDenoise
    starts: Tensor
    fit: int
    flow: bool
    sigma_max: float
    schedules: Mapping[str, Tensor]
    clock: Clock
    time: Clock
    batch: int = 64
    difference: float = 2e-3
    feature: Feature | None = None
    guidance: Callable[[], Tensor | None] = lambda: None
    canvas: Canvas = PLAIN
    balance: Tensor | None = None
    told: Mapping[str, Tensor] = field(default_factory=dict)
    near: str = ""

    def named(self, label: str) -> str:
        """table/schedule where it is a setting of ComfyUI's own samplers, else ""."""
        return "" if label.partition("/")[2] == self.near else label

    @property
    def steps(self) -> int:
        """N, the number of model calls of the wanted solver."""
        return len(next(iter(self.schedules.values()))) - 1


@dataclass(frozen=True)
class Budget:
    """What a search may spend; a model call is one start through the model once (CFG included)."""

    model_calls: float = float("inf")
    seconds: float = float("inf")


@dataclass(frozen=True)
class Event:
    """Progress of a search, for bars, curves and previews."""

    phase: str
    model_calls: int
    seconds: float
    error: float | None = None  # mean relative error of the newest offer on held-out starts
    best: float | None = None
    improved: bool = False
    stage: str = ""  # what is being done: see Run.stage
    builtin: str = ""  # the offer is this setting of ComfyUI's own samplers
    solver: Solver | None = None
    picture: Tensor | None = None  # (1, C, ...) the offer's end state of a held-out start


@dataclass
class Run:
    """Book-keeping of one search: counts, curve, best so far, stop.

    Args:
        problem: what is searched.
        budget: when to stop.
        on_event: told of every offer and phase.
        stop: asked before every model call; true ends the search.
        on_call: told the model calls spent, after each.
        traced: a teacher with its trajectories of the same starts: it is not run again.
        settled: a teacher whose length was checked on the same starts.
        ranking: names of schedules, the better ones first, where a method ranked them.
        tables: handcrafted tables worth trying, where it is known (otherwise all).
        stage: what is being done: "teacher" (trajectories to learn from), "known" (ready-made
            solvers), "rows" (fitting), "refine", or "learn" (descending a gradient).
    """

    problem: Problem
    budget: Budget = field(default_factory=Budget)
    on_event: Callable[[Event], None] = lambda event: None
    stop: Callable[[], bool] = lambda: False
    on_call: Callable[[int], None] = lambda calls: None
    best: Solver | None = None
    best_error: float = float("inf")
    best_label: str = ""
    best_errors: Tensor | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    model_calls: int = 0
    reference: Tensor | None = None
    added: Tensor | None = None
    teacher_calls: int = 0
    traced: tuple[Solver, Trajectory] | None = None
    settled: Solver | None = None
    ranking: list[str] = field(default_factory=list)
    tables: tuple[str, ...] = ()
    stage: str = "teacher"
    ended_by: str = ""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Wall time of the search, until now or until it ended."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def stopped(self) -> bool:
        """Whether somebody ended it before it was done."""
        return self.ended_by == STOPPED

    def call(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        """The problem's denoise in batches, counted.

        Raises:
            SearchStopped: when the budget is spent or a stop was asked for.
            SearchError: when the model returns NaN or infinity.
        """
        size = self.problem.batch
        if len(x) > size:
            sigma = sigma.expand(len(x))
            parts, added = [], []
            for i in range(0, len(x), size):
                parts.append(self.call(x[i:i + size], sigma[i:i + size], items[i:i + size]))
                added += [] if self.added is None else [self.added]
            self.added = torch.cat(added) if len(added) == len(parts) else None
            return torch.cat(parts)
        self._check(len(x))
        self.model_calls += len(x)
        denoised = self.problem.denoise(x, sigma, items)
        self.added = self.problem.guidance()
        self.on_call(self.model_calls)
        if not torch.isfinite(denoised.detach()).all():
            kept = "" if self.best is None else " The best solver so far is kept."
            raise SearchError(f"the model returned NaN or infinity at sigma "
                              f"{float(sigma.detach().reshape(-1)[0]):.4g}.{kept} Try a higher "
                              "precision for the model.")
        return denoised

    def denoise(self, items: Tensor) -> Denoise:
        """The counted denoiser of given starts."""
        return lambda x, sigma: self.call(x, sigma, items)

    @property
    def guided(self) -> bool:
        """Whether guidance added anything in the newest call."""
        return self.added is not None and bool(self.added.any())

    def trace(self, teacher: Solver, keep: int | None = None) -> Trajectory:
        """Teacher trajectories; the end points of all starts become the reference.

        Args:
            teacher: an accurate solver.
            keep: how many starts' whole trajectories are returned (None: all).

        Raises:
            SearchError: when these would not fit into main memory.
        """
        self.teacher_calls = teacher.nfe
        count = len(self.problem.starts)
        kept, rest = torch.arange(count).tensor_split([keep or count])
        if self.traced is not None and _same(teacher, *self.traced, len(kept)):
            return self.traced[1]
        self.tell(f"teacher, {teacher.nfe} calls")
        _check_room(self.problem.starts[kept].nbytes * (2 * teacher.nfe + 1))
        with torch.no_grad():
            trajectory = trace(self.denoise(kept), teacher, self.problem.starts[kept],
                               lambda _: self.added)
        ends = [self.ends(teacher, part) for part in rest.split(self.problem.batch) if len(part)]
        self.reference = torch.cat([trajectory.end, *ends])
        self.traced = teacher, trajectory
        return trajectory

    def ends(self, solver: Solver, items: Tensor) -> Tensor:
        """(len(items), C, ...) finished states of a solver on given starts."""
        with torch.no_grad():
            parts = items.split(self.problem.batch)  # features are those of one batch
            return torch.cat([sample(self.denoise(part), solver, self.problem.starts[part],
                                     feature=self.problem.feature, guidance=lambda _: self.added,
                                     canvas=self.problem.canvas)
                              for part in parts])

    def errors(self, solver: Solver, items: Tensor) -> Tensor:
        """(len(items),) relative errors of a solver on given starts against the teacher."""
        return self.errors_of(self.ends(solver, items), items)

    def errors_of(self, ends: Tensor, items: Tensor) -> Tensor:
        """(len(items),) relative errors of given ends against the teacher's."""
        return relative_errors(ends, self.reference_of(items), self.problem.canvas)

    def reference_of(self, items: Tensor) -> Tensor:
        """(len(items), C, ...) the teacher's ends.

        Raises:
            SearchError: before trace().
        """
        if self.reference is None:
            raise SearchError("no teacher yet: call trace() before measuring errors.")
        return self.reference[items]

    @property
    def fitted(self) -> Tensor:
        """Indices of the starts searched on."""
        return torch.arange(self.problem.fit)

    def screening(self, wanted: int, share: float) -> Tensor:
        """Starts to try all schedules on: `wanted`, or what a share of the budget pays for."""
        each = len(self.problem.schedules) * self.problem.steps
        return self.fitted[: max(1, int(min(wanted, share * self.budget.model_calls / each)))]

    @property
    def held_out(self) -> Tensor:
        """Indices of the starts kept for choosing."""
        return torch.arange(self.problem.fit, len(self.problem.starts))

    def offer(self, solver: Solver, label: str, *, builtin: str = "") -> float:
        """Measure a solver on the held-out starts and keep it if it is the best.

        Args:
            solver: what is offered.
            label: for events and the report.
            builtin: name of the setting of ComfyUI's own samplers that it equals, if any.

        Returns:
            its mean relative error there.
        """
        solver = solver.detach()
        ends = self.ends(solver, self.held_out)
        errors = self.errors_of(ends, self.held_out)
        error = float(errors.mean())
        improved = error < self.best_error
        if improved:
            self.best, self.best_error, self.best_label = solver, error, label
            self.best_errors = errors
        self.curve.append((self.model_calls, error))
        self.on_event(Event(label, self.model_calls, self.seconds, error, self.best_error,
                            improved, self.stage, builtin, solver, ends[:1]))
        return error

    def tell(self, phase: str) -> None:
        """Name what is happening."""
        best = self.best_error if self.best is not None else None
        self.on_event(Event(phase, self.model_calls, self.seconds, best=best, stage=self.stage))

    def _check(self, calls: int) -> None:
        if self.stop():
            raise SearchStopped(STOPPED)
        if self.model_calls + calls > self.budget.model_calls:
            raise SearchStopped(f"budget of {self.budget.model_calls:g} model calls is spent")
        if self.seconds > self.budget.seconds:
            raise SearchStopped(f"budget of {self.budget.seconds:g} seconds is spent")


def _same(wanted: Solver, teacher: Solver, trajectory: Trajectory, starts: int) -> bool:
    """Whether this teacher's trajectories, of as many starts, are there already."""
    equal = teacher.steps == wanted.steps and all(
        torch.equal(getattr(teacher, table), getattr(wanted, table))
        for table in ("sigmas", "weights"))
    return equal and trajectory.end.shape[0] >= starts


def _check_room(needed: int) -> None:
    if needed > MOST_TRAJECTORY_BYTES:
        raise SearchError(f"this method keeps whole teacher trajectories: {needed / 2**30:.0f} GB "
                          "of main memory at this picture size. Use the method 'fit', a smaller "
                          "effort or smaller pictures.")


Method = Callable[[Run], None]


def search(method: Method, run: Run) -> Run:
    """Run a method until it is done or stopped.

    Returns:
        the run; run.best is the solver, run.ended_by says why it ended. Only a run that somebody
        stopped may have none. Other exceptions pass through, and run.best still holds the best so
        far.

    Raises:
        SearchError: if it ended by itself with no solver at all.
    """
    try:
        method(run)
        run.ended_by = "finished"
    except SearchStopped as reason:
        run.ended_by = str(reason)
    finally:
        run.ended = time.monotonic()
    if run.best is not None or run.stopped:
        return run
    if run.curve:
        raise SearchError("the search found no solver that reaches the teacher's pictures at all: "
                          "the model's answers are all zero or far too large. Check the model and "
                          "its prompt with a KSampler first.")
    raise SearchError(f"the search ended before it had any solver: {run.ended_by}. Choose a "
                      "larger effort or fewer steps.")
