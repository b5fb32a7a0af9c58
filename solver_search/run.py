"""One search while it runs: it runs the teacher, measures what a method offers, keeps the best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .calls import Calls
from .metrics import distances, scaled, sizes
from .records import Values
from .sample import sample
from .search import STOPPED, Event, SearchError, SearchStopped
from .solver import Solver
from .teacher import Trajectory, untraced

MOST_TRAJECTORY_BYTES = 2**34
MANY = 64  # starts from which on their mean chooses (docs/decisions/evidence.md)


@dataclass
class Run(Calls):
    """Book-keeping of one search: counts, curve, best so far, stop. What belongs to its model
    calls is described in Calls.

    Args:
        on_event: told of every offer and phase.
        traced: a teacher with its trajectories of the same starts: it is not run again.
        begun: a teacher with its trajectories of a few of them, the first: trace() goes on there.
        settled: a teacher whose length was checked on the same starts.
        ranking: names of schedules, the better ones first, where a method ranked them.
        tables: handcrafted tables worth trying, where it is known (otherwise all).
        stage: what is being done: "teacher" (trajectories to learn from), "known" (ready-made
            solvers), "rows" (fitting), "refine", or "learn" (descending a gradient).
        best_errors: what the best one was chosen by, held-out starts first.
        reference: (S, C, ...) the teacher's ends; of several ranks each has its own starts'.
        sizes: (S, M) how large those are.
    """

    on_event: Callable[[Event], None] = lambda event: None
    best: Solver | None = None
    best_error: float = float("inf")
    best_label: str = ""
    best_errors: Tensor | None = None
    curve: list[tuple[int, float]] = field(default_factory=list)
    reference: Tensor | None = None
    teacher_calls: int = 0
    traced: tuple[Solver, Trajectory] | None = None
    begun: tuple[Solver, Trajectory] | None = None
    settled: Solver | None = None
    ranking: list[str] = field(default_factory=list)
    tables: tuple[str, ...] = ()
    stage: str = "teacher"
    sizes: Tensor | None = None
    ended_by: str = ""

    @property
    def stopped(self) -> bool:
        """Whether somebody ended it before it was done."""
        return self.ended_by == STOPPED

    @property
    def comfort(self) -> str:
        """See Calls."""
        return "" if self.best is None else " The best solver so far is kept."

    def gather(self) -> None:
        """Every rank then has the teacher's ends of all starts."""
        every = torch.arange(len(self.problem.starts))
        self.reference = self.ranks.gathered(self.reference[self.ranks.own(every)], every)

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
        if self.traced is not None and _same(teacher, *self.traced, keep or count):
            return self.traced[1]
        known = self.begun[1] if self.begun and _same(teacher, *self.begun) else None
        begun = 0 if known is None else known.end.shape[0]
        kept, rest = torch.arange(count).tensor_split([max(keep or count, begun)])
        self.tell(f"teacher, {teacher.nfe} calls")
        _check_room(self.problem.starts[kept].nbytes * (2 * teacher.nfe + 1))
        trajectory = self.followed(teacher, kept, known)
        self.reference = torch.zeros_like(self.problem.starts)
        own = self.ranks.own(kept)
        self.reference[own] = trajectory.end[own]
        for part in self._parts(rest):
            self._finish(teacher, part)
        every = torch.arange(count)
        own = self.ranks.own(every)
        self.sizes = self.ranks.gathered(sizes(self.reference[own], self.problem.canvas), every)
        self.traced, self.begun = (teacher, trajectory), None
        return trajectory

    def _parts(self, items: Tensor) -> list[Tensor]:
        """Starts of one model call each."""
        return [part for part in items.split(self.problem.batch) if len(part)]

    def followed(self, teacher: Solver, items: Tensor, known: Trajectory | None = None,
                 ) -> Trajectory:
        """Trajectories of the first starts, of which each rank fills in its own.

        Args:
            teacher: an accurate solver.
            items: which starts: 0, 1, 2 ...
            known: those of the first of them.
        """
        trajectory, begun = untraced(teacher, self.problem.starts[items]), 0
        if known is not None:
            begun = known.end.shape[0]
            trajectory.states[:, :begun] = known.states
            trajectory.directions[:, :begun] = known.directions
        for part in self._parts(items[begun:]):
            self._follow(trajectory, teacher, part)
        return trajectory

    @torch.no_grad()
    def _follow(self, trajectory: Trajectory, teacher: Solver, items: Tensor) -> None:
        """Trajectories of some starts. What is kept are the model's answers, half as large."""
        known = self.kept("teacher", lambda: self._answers(teacher, items),
                          teacher.tensors.values(), own=True)
        answers, added = (iter(known.get(name, ())) for name in ("answers", "added"))
        own = known["items"]
        trajectory.follow(own, lambda *_: next(answers), teacher, self.problem.starts[own],
                          lambda _: next(added, None))

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
            what counts of its relative errors, see `counted`.
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
        error = self.counted(errors)
        improved = error < self.best_error
        if improved:
            self.best, self.best_error, self.best_label = solver, error, label
            self.best_errors = errors
        self.curve.append((self.model_calls, error))
        self.on_event(Event(label, self.model_calls, self.seconds, error, self.best_error,
                            improved, self.stage, builtin, solver, next(iter(pictures), None)))
        return error

    def counted(self, errors: Tensor) -> float:
        """Their geometric mean in a search on few starts, so that none of these decides alone;
        on many their mean, which is what is wanted on unseen ones."""
        few = len(self.problem.starts) < MANY
        return float(errors.log().mean().exp() if few else errors.mean())

    def tell(self, phase: str) -> None:
        """Name what is happening."""
        best = self.best_error if self.best is not None else None
        self.on_event(Event(phase, self.model_calls, self.seconds, best=best, stage=self.stage))



def _same(wanted: Solver, teacher: Solver, trajectory: Trajectory, starts: int = 0) -> bool:
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
        run.begin()
        method(run)
        run.ended_by = "finished"
    except SearchStopped as reason:
        run.ended_by = str(reason)
        if not run.stopped:
            run.records.broken(reason, run)
    finally:
        run.end()
    if run.best is not None or run.stopped:
        return run
    if run.curve:
        raise SearchError("the search found no solver that reaches the teacher's pictures at all: "
                          "the model's answers are all zero or far too large. Check the model and "
                          "its prompt with a KSampler first.")
    raise SearchError(f"the search ended before it had any solver: {run.ended_by}. Choose a "
                      "larger effort or fewer steps.")
