"""One search while it runs: it counts model calls, measures what a method offers, keeps the best.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .metrics import distances, scaled, sizes
from .ranks import ALONE, Ranks
from .records import Records, State, Values
from .sample import Denoise, sample
from .search import STOPPED, Budget, Event, Problem, SearchError, SearchStopped
from .solver import Solver
from .teacher import Trajectory, untraced

MOST_TRAJECTORY_BYTES = 2**34
SPENT = "budget of {:g} model calls is spent"


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
        records: what was found out before, by a search that was ended; see records.py.
        ranks: the processes that share the search.
        best_errors: what the best one was chosen by, held-out starts first.
        reference: (S, C, ...) the teacher's ends; of several ranks each has its own starts'.
        sizes: (S, M) how large those are.
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
    records: Records = field(default_factory=Records)
    ranks: Ranks = ALONE
    sizes: Tensor | None = None
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
        if not len(x):  # all of these starts are another rank's
            self.added = torch.zeros_like(x)
            return torch.zeros_like(x)
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

    def kept(self, name: str, make: Callable[[], Values],
             about: Iterable[Tensor] = (), *, own: bool = False) -> Values:
        """What an operation with model calls answers; see Records."""
        counted = make if self.ranks.alone else lambda: self._counted(make)
        return self.records.kept(name, counted, self, about, own=own and not self.ranks.alone)

    def _counted(self, make: Callable[[], Values]) -> Values:
        """What all ranks spend counts; a budget ends an operation that it would have ended."""
        before = self.model_calls
        values = make()
        spent = torch.tensor([self.model_calls - before, int(self.guided)])
        calls, guided = self.ranks.summed(spent).tolist()
        most, self.model_calls = self.budget.model_calls, before + calls
        self.added = torch.full((1,), float(guided > 0))
        self.on_call(self.model_calls)
        if self.model_calls > most:
            self.model_calls = int(most)
            raise SearchStopped(SPENT.format(most))
        return values

    def agree(self) -> None:
        """After an operation that failed, all ranks count what rank 0 has counted."""
        self.model_calls = self.ranks.told(self.model_calls)

    def gather(self) -> None:
        """Every rank then has the teacher's ends of all starts."""
        every = torch.arange(len(self.problem.starts))
        self.reference = self.ranks.gathered(self.reference[self.ranks.own(every)], every)

    def state(self) -> State:
        """See Meter."""
        return {"steps": self.problem.steps, "calls": self.model_calls, "seconds": self.seconds,
                "guided": float(self.guided)}

    def restore(self, state: State) -> None:
        """See Meter."""
        self.model_calls = int(state["calls"])
        self.started = time.monotonic() - state["seconds"]
        self.added = torch.full((1,), state["guided"])
        self.on_call(self.model_calls)

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
        trajectory = untraced(teacher, self.problem.starts[kept])
        self.reference = torch.zeros_like(self.problem.starts)
        for part in self._parts(kept):
            self._follow(trajectory, teacher, part)
        for part in self._parts(rest):
            self._finish(teacher, part)
        every = torch.arange(count)
        own = self.ranks.own(every)
        self.sizes = self.ranks.gathered(sizes(self.reference[own], self.problem.canvas), every)
        self.traced = teacher, trajectory
        return trajectory

    def _parts(self, items: Tensor) -> list[Tensor]:
        """Starts of one model call each."""
        return [part for part in items.split(self.problem.batch) if len(part)]

    @torch.no_grad()
    def _follow(self, trajectory: Trajectory, teacher: Solver, items: Tensor) -> None:
        """Trajectories of some starts. What is kept are the model's answers, half as large."""
        known = self.kept("teacher", lambda: self._answers(teacher, items),
                          teacher.tensors.values(), own=True)
        answers, added = (iter(known.get(name, ())) for name in ("answers", "added"))
        own = known["items"]
        trajectory.follow(own, lambda *_: next(answers), teacher, self.problem.starts[own],
                          lambda _: next(added, None))
        self.reference[own] = trajectory.states[-1, own]

    def _answers(self, teacher: Solver, items: Tensor) -> Values:
        """The model's, along the trajectories of this rank's starts."""
        own = self.ranks.own(items)
        x = self.problem.starts[own]
        answers = torch.empty((teacher.steps, *x.shape), dtype=x.dtype)
        added = torch.zeros_like(answers) if teacher.guided else None

        def keep(row: int, state: Tensor, denoised: Tensor) -> None:
            answers[row] = denoised
            if added is not None and self.added is not None:
                added[row] = self.added

        self.ranks.together(lambda: sample(self.denoise(own), teacher, x, keep, check=True,
                                           guidance=lambda _: self.added))
        return {"items": own, "answers": answers} | ({} if added is None else {"added": added})

    def _finish(self, teacher: Solver, items: Tensor) -> None:
        """The teacher's ends of some starts."""
        own = self.ranks.own(items)
        known = self.kept("teacher's ends", lambda: {"items": own, "ends": self._ends(
            teacher, own)}, teacher.tensors.values(), own=True)
        self.reference[known["items"]] = known["ends"]

    def ends(self, solver: Solver, items: Tensor) -> Tensor:
        """(len(items), C, ...) finished states of a solver on a few starts."""
        return self.kept("ends", lambda: {"ends": self.ranks.gathered(self._ends(
            solver, self.ranks.own(items)), items)}, solver.tensors.values())["ends"]

    @torch.no_grad()
    def _ends(self, solver: Solver, items: Tensor) -> Tensor:
        parts = items.split(self.problem.batch)  # features are those of one batch
        return self.ranks.together(lambda: torch.cat([
            sample(self.denoise(part), solver, self.problem.starts[part],
                   feature=self.problem.feature, guidance=lambda _: self.added,
                   canvas=self.problem.canvas) for part in parts]))

    def distances(self, solver: Solver, items: Tensor) -> Tensor:
        """(len(items), M) how far a solver lands from the teacher, in each medium."""
        return self.kept("distances", lambda: {"lengths": self._lengths(
            self._ends(solver, self.ranks.own(items)), items)}, solver.tensors.values())["lengths"]

    def errors(self, solver: Solver, items: Tensor) -> Tensor:
        """(len(items),) relative errors of a solver on given starts against the teacher."""
        return self.relative(self.distances(solver, items), items)

    def errors_of(self, ends: Tensor, items: Tensor) -> Tensor:
        """(len(items),) relative errors against the teacher's, from this rank's ends of them."""
        return self.relative(self._lengths(ends, items), items)

    def relative(self, lengths: Tensor, items: Tensor) -> Tensor:
        """(len(items),) relative errors from distances."""
        self.reference_of(items)
        return scaled(lengths, self.sizes[items], self.problem.canvas)

    def _lengths(self, ends: Tensor, items: Tensor) -> Tensor:
        own = self.reference_of(self.ranks.own(items))
        return self.ranks.gathered(distances(ends, own, self.problem.canvas), items)

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

    def offer(self, solver: Solver, label: str, *, builtin: str = "",
              searched: Tensor | None = None) -> float:
        """Measure a solver on the held-out starts and keep it if it is the best.

        Args:
            solver: what is offered.
            label: for events and the report.
            builtin: name of the setting of ComfyUI's own samplers that it equals, if any.
            searched: its relative errors on starts searched on, made fair, where they are known;
                they count, too: few held-out starts say little where some end elsewhere.

        Returns:
            its mean relative error.
        """
        solver, pictures = solver.detach(), []

        def measured() -> Values:
            own = self.ranks.own(self.held_out)
            ends = self._ends(solver, own)
            pictures.extend([ends[:1]] if own[:1].equal(self.held_out[:1]) else [])
            return {"lengths": self._lengths(ends, self.held_out)}

        lengths = self.kept("offer", measured, solver.tensors.values())["lengths"]
        errors = self.relative(lengths, self.held_out)
        errors = errors if searched is None else torch.cat([errors, searched])
        error = float(errors.mean())
        improved = error < self.best_error
        if improved:
            self.best, self.best_error, self.best_label = solver, error, label
            self.best_errors = errors
        self.curve.append((self.model_calls, error))
        self.on_event(Event(label, self.model_calls, self.seconds, error, self.best_error,
                            improved, self.stage, builtin, solver, next(iter(pictures), None)))
        return error

    def tell(self, phase: str) -> None:
        """Name what is happening."""
        best = self.best_error if self.best is not None else None
        self.on_event(Event(phase, self.model_calls, self.seconds, best=best, stage=self.stage))

    def _check(self, calls: int) -> None:
        if self.stop():
            raise SearchStopped(STOPPED)
        if not self.ranks.alone:
            return  # what is spent is counted together, operation by operation
        if self.model_calls + calls > self.budget.model_calls:
            raise SearchStopped(SPENT.format(self.budget.model_calls))
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
        if not run.stopped:
            run.records.broken(reason, run)
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
