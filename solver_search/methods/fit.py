r"""Fit: the default. No gradient through the network, so it works with every model.

1. Cache accurate teacher trajectories of a few starts.
2. For each ordinary schedule, fit rows by ridge least squares on the student's own trajectory
   (rows.py), first consistent rows on few starts, then consistent and free ones of the better
   schedules on more; what guidance adds and each channel's mean get rows of their own where that
   helps.
3. Refine the best by Levenberg-Marquardt on the end point (refine.py): sigmas, rows, row sums and
   the sigma told to the model. Several starts run a heat first; the best goes on.
4. Offer the best handcrafted table and every stage; the Run keeps what is best on held-out starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..begin import from_solver
from ..parameters import Space
from ..records import Values
from ..run import Run
from ..settled import checked_teacher
from ..solver import Solver, SolverError, make_solver
from ..tableaus import TABLEAUS
from ..teacher import Trajectory
from .coordinates import linearisation_calls
from .known import Known, best_known, local_errors, misses, on_all
from .refine import Refinement, fair, robust
from .rows import ALL_ALIKE, RIDGE, Apart, TeacherFit, fit_rows

ITERATIONS = (5, 12)  # wanted of a refinement: with parts of at most 8, and of all the sizes
FEW = 8
COMPARING = 1 / 7  # share of the budget in which the better schedules are compared
APART_GAIN = 0.93  # what rows of their own must leave of the error (fit.md)
COMPARED_BYTES = 2**31  # most main memory that whole trajectories take
PLAIN = ("euler", "dpmpp_2m")


@dataclass(frozen=True)
class FitSettings:
    """How much work a fit does.

    Args:
        teacher_calls: model calls of the teacher per start, at least; see checked_teacher.
        known: share of the budget in which the best known solver is found.
        screened: starts on which every schedule is tried.
        compared: starts on which the better schedules are compared.
        starts: how many fitted solvers run a heat of the refinement.
        heat: iterations of a heat.
        iterations: most iterations of the refinement that goes on.
        part: most starts linearised in one iteration.
        patience: stop when a round over all parts gains less than this share.
        free: also free row sums (the solver then stays at its shift and range).
        means: give each channel's mean rows of its own.
        guidance: give what guidance adds rows of its own.
    """

    teacher_calls: int = 48
    known: float = 0.1
    screened: int = 6
    compared: int = 24
    starts: int = 2
    heat: int = 1
    iterations: int = 20
    part: int = 24
    patience: float = 0.01
    free: bool = True
    means: bool = True
    guidance: bool = True


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
    few, accurate = run.screening(settings.screened, 1 / 5), _teacher(run, settings)
    more = run.fitted[: _compared(run, settings.compared, accurate)]
    teacher = run.trace(accurate, keep=len(more))
    first, sigmas = next(iter(run.problem.schedules.items()))
    plain = f"dpmpp_2m/{first}"
    run.offer(TABLEAUS["dpmpp_2m"](sigmas, flow=run.problem.flow), plain,
              builtin=run.problem.named(plain))
    best = best_known(run, teacher, run.fitted, settings.known)[0]
    if not run.guided:
        best = on_all(run, best, run.fitted)
    run.offer(best.solver, best.label, builtin=run.problem.named(best.label),
              searched=best.errors)
    run.stage = "rows"
    run.tables = (best.table,)
    kinds = (False, True) if settings.free else (False,)
    affordable = COMPARING * run.budget.model_calls / (len(kinds) * len(more) * run.problem.steps)
    count = max(2, int(min(1 + 2 * settings.starts, affordable)))
    names = _schedules(run, teacher, best, few, count)
    more = more[: _room(run, len(names) * len(kinds) + settings.starts + 1)]
    candidates = _candidates(run, teacher, names, more, kinds)
    run.ranking = list(dict.fromkeys(c.schedule for c in candidates))
    candidates = candidates[: settings.starts + 1]
    apart = Apart(guidance=settings.guidance and run.guided,
                  means=settings.means and run.problem.starts[0, 0].numel() > 1)
    if apart != ALL_ALIKE:
        candidates = [_with_apart(run, teacher, c, more, apart) for c in candidates]
    candidates = sorted(candidates, key=lambda c: c.loss)[: settings.starts]
    for candidate in candidates:
        run.offer(candidate.solver, f"rows fitted on {candidate.label}",
                  searched=fair(candidate.errors))
    _refine(run, candidates, settings)


def _teacher(run: Run, settings: FitSettings) -> Solver:
    """Long enough to judge what plain solvers do on the first schedule."""
    sigmas, flow = next(iter(run.problem.schedules.values())), run.problem.flow
    plain = [TABLEAUS[name](sigmas, flow=flow) for name in PLAIN]
    return checked_teacher(run, settings.teacher_calls, plain)


def _schedules(run: Run, teacher: Trajectory, known: Known, few: Tensor,
               count: int) -> list[str]:
    """Names of the better schedules: the better half by rows fitted on the teacher's own states,
    then by rows fitted on the student's, on a few starts; and that of the best known solver.
    All, where there are no more than `count`."""
    if len(run.problem.schedules) <= count:
        return list(run.problem.schedules)
    ranked = sorted(run.problem.schedules, key=lambda name: _ease(run, teacher, name))
    screened = [c.schedule for c in _candidates(run, teacher, ranked[: (len(ranked) + 1) // 2],
                                                few, (False,))]
    return list(dict.fromkeys([screened[0], known.schedule, *screened]))[:count]


def _ease(run: Run, teacher: Trajectory, schedule: str) -> float:
    """How far the best rows on a schedule miss the teacher's states; costs no model call."""
    items = torch.arange(teacher.states.shape[1])
    sigmas = run.problem.schedules[schedule]
    fit = TeacherFit(run, teacher, items, free=False, apart=ALL_ALIKE, ridge=RIDGE[False])
    way = fit.walk(sigmas)
    states = torch.stack([teacher.at(float(sigma), fit.own) for sigma in sigmas])
    solver = fit.solver(sigmas, way)
    missed = local_errors(solver, misses(solver, states, torch.stack(way.outputs)))
    missed = missed / states[-1].flatten(1).norm(dim=1)
    return float(run.ranks.gathered(missed, items).mean())


def _part(run: Run, calls: int, most: int) -> int:
    """Starts per iteration, so that the rest of the budget pays for several iterations."""
    left = (run.budget.model_calls - run.model_calls) / calls
    few, many = (left / wanted for wanted in ITERATIONS)
    return max(1, int(min(few, FEW, most)), int(min(many, most)))


def _room(run: Run, fits: int) -> int:
    """Starts per fit, so that what so many of them find can still be measured and offered."""
    calls = run.budget.model_calls - run.model_calls - 2 * len(run.held_out) * run.problem.steps
    return max(1, int(min(calls / (fits * run.problem.steps), len(run.fitted))))


def _compared(run: Run, most: int, teacher: Solver) -> int:
    """Starts to compare schedules on: fewer where latents are large, as those of videos."""
    each = run.problem.starts[0].nbytes * (2 * teacher.nfe + 1)
    return max(2, min(most, COMPARED_BYTES // each))


def _candidates(run: Run, teacher: Trajectory, schedules: list[str], items: Tensor,
                kinds: tuple[bool, ...]) -> list[Candidate]:
    """Schedules with fitted rows, best first by their loss where they were fitted."""
    found = []
    for name in schedules:
        for free in kinds:
            fitted = _fitted(run, teacher, name, items, free=free)
            if fitted is None:  # free rows of a hopeless schedule may leave every bound
                continue
            found.append(Candidate(name, "free" if free else "consistent", *fitted))
            run.tell(f"rows on {found[-1].label}: {found[-1].loss:.4f}")
    return sorted(found, key=lambda c: c.loss)


def _with_apart(run: Run, teacher: Trajectory, candidate: Candidate, items: Tensor,
                apart: Apart) -> Candidate:
    """The candidate with more rows of their own, where these pay for their cost."""
    fitted = _fitted(run, teacher, candidate.schedule, items, free=candidate.kind == "free",
                     apart=apart)
    if fitted is None:
        return candidate
    solver, errors = fitted
    gain = float(errors.mean() / candidate.errors.mean())
    run.tell(f"rows of {apart.label} on {candidate.label}: {gain:.3f} of its error")
    if gain > APART_GAIN:
        return candidate
    return replace(candidate, kind=f"{candidate.kind}, {apart.label}", solver=solver,
                   errors=errors)


def _fitted(run: Run, teacher: Trajectory, schedule: str, items: Tensor, *, free: bool,
            apart: Apart = ALL_ALIKE) -> tuple[Solver, Tensor] | None:
    """Fitted rows on a schedule, and their relative errors; None where no solver may be so."""
    def made() -> Values:
        try:
            solver, end = fit_rows(run, teacher, run.problem.schedules[schedule], items, free=free,
                                   apart=apart, told=run.problem.told.get(schedule))
        except SolverError:
            return {}
        return {**solver.tensors, "errors": run.errors_of(end, items)}

    numbers = dict(run.kept(f"rows {schedule}", made, [run.problem.schedules[schedule]]))
    if not numbers:
        return None
    errors = numbers.pop("errors")
    return make_solver(numbers, flow=run.problem.flow), errors


def _refine(run: Run, candidates: list[Candidate], settings: FitSettings) -> None:
    run.stage = "refine"
    space = Space(run.problem.clock, run.problem.flow)
    heats = []
    for c in candidates:
        raw = from_solver(c.solver, space, free=settings.free, scaled=True)
        part = _part(run, linearisation_calls(run.problem.steps), settings.part)
        known = [c.loss] if len(c.errors) == len(run.fitted) else []
        heats.append(Refinement(run, raw, space, c.label, part, losses=known))
    if len(heats) > 1:
        for heat in heats:
            heat.iterate(settings.heat, 0.0)
    best = min(heats, key=lambda heat: heat.losses[-1])
    best.iterate(settings.iterations, settings.patience)
