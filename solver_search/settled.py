"""How many calls a teacher needs: two lengths of it must agree on a few starts.

A teacher judges solvers by where they land, so it must itself land closer to the truth than they
do: it is lengthened while it and one of 3/2 as many calls differ by more than a share of the error
that it is to judge. Teachers of order 2 and more are then off by about twice that difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .canvas import Canvas
from .metrics import relative_errors
from .run import Run
from .solver import Solver
from .teacher import Trajectory, accurate_teacher

LONGER = 1.5
SHARE = 0.1  # of the error to be judged: adds half a percent to it where the two are independent
CHECKED = 3  # starts: what is to be seen are differences of the size of the errors themselves
OF_CHECK = 0.2  # most of a search's budget that the check may begin with
MOST_HELD = 2**30  # bytes of a trajectory that is kept while longer ones are tried
OF_BUDGET = 0.4  # most of a search's budget that goes into teacher trajectories


@dataclass(frozen=True)
class Settled:
    """A length of the teacher, and what speaks for it.

    Args:
        calls: model calls of one trajectory.
        off: mean relative difference to the longer teacher; of the shorter to this one where
            even the longest allowed does not agree.
        judged: mean relative error that the teacher is to judge.
        agreed: whether it agrees with the longer one.
    """

    calls: int
    off: float
    judged: float
    agreed: bool


def settled(ends_of: Callable[[int], Tensor], judged: Callable[[Tensor], float], calls: int,
            most: int, canvas: Canvas) -> Settled:
    """The shortest teacher that agrees with a longer one.

    Args:
        ends_of: calls -> (B, C, ...) ends of the teacher of that length on a few starts.
        judged: (B, C, ...) reference -> mean relative error of what is judged.
        calls: length to begin with.
        most: longest length that may be taken; one longer than this is not run either, unless
            already the first check asks for it.
        canvas: which media lie in a state.
    """
    ends = ends_of(calls)
    while True:
        longer = lengthened(calls)
        finer = ends_of(longer)
        off, error = float(relative_errors(ends, finer, canvas).mean()), judged(finer)
        agreed = off <= SHARE * error
        if agreed or longer > most:
            return Settled(calls, off, error, agreed)
        if lengthened(longer) > most:
            return Settled(longer, off, error, False)
        calls, ends = longer, finer


def lengthened(calls: int) -> int:
    """The next length."""
    return round(calls * LONGER)


def lengths(calls: int, most: int) -> list[int]:
    """All lengths that settled() may run, in order."""
    found = [calls, lengthened(calls)]
    while lengthened(found[-1]) <= most:
        found.append(lengthened(found[-1]))
    return found


def checked_teacher(run: Run, calls: int, known: Sequence[Solver]) -> Solver:
    """An accurate teacher that is long enough for a problem, or as long as the budget allows; the
    one that was so found for these starts already, where there is one. A budget so small that
    the check would take much of it gets the length to begin with.

    Args:
        run: its model calls are counted.
        calls: length to begin with.
        known: solvers to be beaten; the error of the best is what is to be judged.
    """
    if run.settled is not None:
        return run.settled
    each = calls + lengthened(calls) + sum(solver.nfe for solver in known)
    if CHECKED * each > OF_CHECK * run.budget.model_calls:
        return accurate_teacher(calls, run.problem.sigma_max, flow=run.problem.flow)
    problem, few = run.problem, run.fitted[:CHECKED]
    ends = [run.ends(solver, few) for solver in known]
    most = OF_BUDGET * run.budget.model_calls / len(problem.starts)
    teachers = _Teachers(run, few)

    def judged(reference: Tensor) -> float:
        return min(float(relative_errors(end, reference, problem.canvas).mean()) for end in ends)

    found = settled(teachers.ends, judged, calls, int(min(most, 16 * calls)), problem.canvas)
    verdict = "" if found.agreed else ", though no longer one was allowed"
    run.tell(f"teacher of {found.calls} calls, {found.off:.4f} from another length where known "
             f"solvers err by {found.judged:.4f}{verdict}")
    run.settled = teachers.of(found.calls)
    run.begun = teachers.newest.get(found.calls)
    return run.settled


@dataclass
class _Teachers:
    """Teachers on a few starts, the first ones. Trajectories of the newest two lengths are held:
    settled() chooses one of these, and trace() goes on from there."""

    run: Run
    few: Tensor
    newest: dict[int, tuple[Solver, Trajectory]] = field(default_factory=dict)

    def of(self, calls: int) -> Solver:
        """The teacher of a length."""
        return accurate_teacher(calls, self.run.problem.sigma_max, flow=self.run.problem.flow)

    def ends(self, calls: int) -> Tensor:
        """(B, C, ...) where it ends."""
        teacher = self.of(calls)
        if self.run.problem.starts[self.few].nbytes * (2 * calls + 1) > MOST_HELD:
            return self.run.ends(teacher, self.few)
        trajectory = self.run.followed(teacher, self.few)
        self.newest = dict([*self.newest.items(), (calls, (teacher, trajectory))][-2:])
        ranks = self.run.ranks
        return ranks.gathered(trajectory.end[ranks.own(self.few)], self.few)
