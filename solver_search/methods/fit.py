r"""Fit: the default. No gradient through the network, so it works with every model.

1. Cache accurate teacher trajectories of a few starts.
2. For each ordinary schedule, fit rows by ridge least squares on the student's own trajectory
   (rows.py), first consistent rows on few starts, then consistent and free ones of the better
   schedules on more; each channel's mean gets rows of its own where that helps (mostly with CFG).
3. Refine the best by Levenberg-Marquardt on the end point (refine.py): sigmas, rows, those of
   the means, row sums and the sigma told to the model. Several starts run a heat first; the
   best goes on.
4. Offer the best handcrafted table and every stage; the Run keeps what is best on held-out starts.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..parameters import Space, from_solver
from ..search import Run
from ..solver import Solver, SolverError
from ..tableaus import TABLEAUS
from ..teacher import Trajectory, accurate_teacher
from .coordinates import linearisation_calls
from .refine import Refinement, robust
from .rows import fit_rows

ITERATIONS = (5, 12)  # wanted of a refinement: with parts of at most 8, and of all the sizes
FEW = 8
MEANS_GAIN = 0.93  # what rows of their own for the means must leave of the error (fit.md)
COMPARED_BYTES = 2**31  # most main memory that whole trajectories take
HANDCRAFTED = ("euler", "ab2", "ipndm", "deis", "dpmpp_2m", "res_multistep", "gradient_estimation")


@dataclass(frozen=True)
class FitSettings:
    """How much work a fit does.

    Args:
        teacher_calls: model calls of the teacher per start.
        screened: starts on which every schedule is tried.
        compared: starts on which the better schedules are compared.
        starts: how many fitted solvers run a heat of the refinement.
        heat: iterations of a heat.
        iterations: most iterations of the refinement that goes on.
        part: most starts linearised in one iteration.
        patience: stop when a round over all parts gains less than this share.
        free: also free row sums (the solver then stays at its shift and range).
        means: give each channel's mean rows of its own.
    """

    teacher_calls: int = 48
    screened: int = 6
    compared: int = 24
    starts: int = 2
    heat: int = 1
    iterations: int = 20
    part: int = 24
    patience: float = 0.01
    free: bool = True
    means: bool = True


@dataclass(frozen=True)
class Candidate:
    """A schedule with fitted rows, and its relative errors where it was fitted."""

    schedule: str
    kind: str
    solver: Solver
    errors: Tensor

    @property
    def loss(self) -> float:
        """What candidates are compared by."""
        return float(robust(self.errors))

    @property
    def label(self) -> str:
        """For events: beta@1, free."""
        return f"{self.schedule}, {self.kind}"


def fit(run: Run, settings: FitSettings) -> None:
    """Search without gradients; offers every stage to `run`."""
    problem = run.problem
    few, more = run.screening(settings.screened, 1 / 5), run.fitted[: _compared(run, settings)]
    teacher = run.trace(accurate_teacher(settings.teacher_calls, problem.sigma_max,
                                         flow=problem.flow), keep=len(more))
    first, sigmas = next(iter(problem.schedules.items()))
    run.offer(TABLEAUS["dpmpp_2m"](sigmas, flow=problem.flow), f"dpmpp_2m/{first}")
    screened = _candidates(run, teacher, list(problem.schedules), few, (False,))
    run.ranking = [c.schedule for c in screened]
    names = run.ranking[: 1 + 2 * settings.starts]
    run.offer(*_best_handcrafted(run, names[:2], few))
    kinds = (False, True) if settings.free else (False,)
    more = more[: _room(run, len(names) * len(kinds) + settings.starts + 1)]
    candidates = _candidates(run, teacher, names, more, kinds)[: settings.starts + 1]
    if settings.means and problem.starts[0, 0].numel() > 1:
        candidates = [_with_means(run, teacher, c, more) for c in candidates]
    candidates = sorted(candidates, key=lambda c: c.loss)[: settings.starts]
    for candidate in candidates:
        run.offer(candidate.solver, f"rows fitted on {candidate.label}")
    _refine(run, candidates, settings)


def _best_handcrafted(run: Run, schedules: list[str], few: Tensor) -> tuple[Solver, str]:
    """The best known table on these schedules: what a search must at least reach."""
    flow = run.problem.flow
    known = {(name, schedule): TABLEAUS[name](run.problem.schedules[schedule], flow=flow)
             for schedule in schedules for name in run.tables or HANDCRAFTED}
    best = min(known, key=lambda key: float(run.errors(known[key], few).mean()))
    run.tables = best[:1]
    return known[best], "/".join(best)


def _part(run: Run, calls: int, most: int) -> int:
    """Starts per iteration, so that the rest of the budget pays for several iterations."""
    left = (run.budget.model_calls - run.model_calls) / calls
    few, many = (left / wanted for wanted in ITERATIONS)
    return max(1, int(min(few, FEW, most)), int(min(many, most)))


def _room(run: Run, fits: int) -> int:
    """Starts per fit, so that what so many of them find can still be measured and offered."""
    calls = run.budget.model_calls - run.model_calls - 2 * len(run.held_out) * run.problem.steps
    return max(1, int(min(calls / (fits * run.problem.steps), len(run.fitted))))


def _compared(run: Run, settings: FitSettings) -> int:
    """Starts to compare schedules on: fewer where latents are large, as those of videos."""
    each = run.problem.starts[0].nbytes * (2 * settings.teacher_calls + 1)
    return max(2, min(settings.compared, COMPARED_BYTES // each))


def _candidates(run: Run, teacher: Trajectory, schedules: list[str], items: Tensor,
                kinds: tuple[bool, ...]) -> list[Candidate]:
    """Schedules with fitted rows, best first by their loss where they were fitted."""
    found = []
    for name in schedules:
        for free in kinds:
            try:
                solver, end = fit_rows(run, teacher, run.problem.schedules[name], items, free=free,
                                       told=run.problem.told.get(name))
            except SolverError:  # free rows of a hopeless schedule may leave every bound
                continue
            found.append(Candidate(name, "free" if free else "consistent", solver,
                                   run.errors_of(end, items)))
            run.tell(f"rows on {found[-1].label}: {found[-1].loss:.4f}")
    return sorted(found, key=lambda c: c.loss)


def _with_means(run: Run, teacher: Trajectory, candidate: Candidate, items: Tensor) -> Candidate:
    """The candidate with rows of their own for the means, where these pay for their cost."""
    try:
        solver, end = fit_rows(run, teacher, run.problem.schedules[candidate.schedule], items,
                               free=candidate.kind == "free", means=True,
                               told=run.problem.told.get(candidate.schedule))
    except SolverError:
        return candidate
    errors = run.errors_of(end, items)
    gain = float(errors.mean() / candidate.errors.mean())
    run.tell(f"rows of means on {candidate.label}: {gain:.3f} of its error")
    if gain > MEANS_GAIN:
        return candidate
    return Candidate(candidate.schedule, f"{candidate.kind}, means", solver, errors)


def _refine(run: Run, candidates: list[Candidate], settings: FitSettings) -> None:
    space = Space(run.problem.clock, run.problem.flow)
    heats = []
    for c in candidates:
        raw = from_solver(c.solver, space, free=settings.free, scaled=True)
        calls = linearisation_calls(run.problem.steps, means=raw.means is not None)
        part = _part(run, calls, settings.part)
        heats.append(Refinement(run, raw, space, c.label, part))
    if len(heats) > 1:
        for heat in heats:
            heat.iterate(settings.heat, 0.0)
    best = min(heats, key=lambda heat: heat.losses[-1])
    best.iterate(settings.iterations, settings.patience)
