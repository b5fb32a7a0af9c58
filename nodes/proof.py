"""The proof of a search: ours beside the best built-in settings, on seeds nobody has chosen on.

1. Contest of the built-in settings on the search's own starts, whose ends its teacher knows: the
   best few go on. Both sides are so chosen on the same starts.
2. Ours and those few on unseen seeds, seed by seed, against a reference whose length two lengths
   of it settle. Seeds are added while the difference to the best of them is within two standard
   errors, as far as the calls go that were told before.
3. The winner is handed out. The opponent is the best of a few on the seeds of the comparison
   itself, which favours it a little.
4. The CFG range (guidance.py).

The solvers of one search for several numbers of steps share their unseen seeds and references, at
every CFG scale. Those after the first try only settings that were among the best with the first,
and have no more seeds than are always measured (docs/decisions/fit.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..presets.preset import Preset, PresetInfo
from ..solver_search.metrics import paired
from ..solver_search.search import Run, SearchError
from ..solver_search.settled import Settled, lengthened, lengths, settled
from ..solver_search.solver import Solver, SolverError
from ..solver_search.tableaus import TABLEAUS
from ..solver_search.teacher import TEACHER
from .comfy_bridge.model import first_sigma
from .comfy_bridge.ordinary import (
    POPULAR_SAMPLERS,
    Setting,
    deterministic_samplers,
    settings,
)
from .comfy_bridge.session import Session
from .evidence import (
    Measured,
    Rounds,
    Trial,
    accurate_ends,
    contest,
    foremost,
    make_trial,
    runs_of_contest,
    runs_of_rounds,
)
from .guidance import AtScale, Elsewhere, calls_of_range, measure_around, range_of, with_range
from .search_setup import Setup

FINALISTS = 3
APART = 2.0  # standard errors of the paired difference
EVEN = 0.02  # of the error: a difference known to be smaller is no reason for more seeds
CHECKED = 2  # seeds on which the reference's length is settled
PARTS = 2  # into which the seeds are divided that are always measured
LATER, LATER_KEPT = 8, (4, FINALISTS, FINALISTS)  # settings with a later member of a family
LATER_ELSEWHERE = 2  # at each other CFG scale


@dataclass(frozen=True)
class Extent:
    """How much a proof does.

    Args:
        rounds: of the contest.
        reference: model calls of the shortest reference; the longest is the next length.
        everything: whether every deterministic sampler takes part, or the popular ones.
    """

    rounds: Rounds
    reference: int
    everything: bool = False

    @property
    def longest(self) -> int:
        """Model calls of the longest reference."""
        return lengthened(self.reference)


EXTENTS = {
    "quick": Extent(Rounds(((1, 10), (3, 5), (6, FINALISTS)), 6), 32),
    "standard": Extent(Rounds(((2, 16), (6, 6), (16, FINALISTS)), 12), 48),
    "thorough": Extent(Rounds(((4, 24), (16, 8), (64, FINALISTS))), 64, everything=True),
}


@dataclass(frozen=True)
class Proof:
    """What a proof found.

    Args:
        preset: the winner, with its evidence.
        end: (S, C, ...) where it lands on the seeds of `trial`.
        ranking: settings, the better ones first.
        trial: unseen seeds with their reference.
        elsewhere: CFG scale -> what the family knows there.
    """

    preset: Preset
    end: Tensor
    ranking: list[Setting]
    trial: Trial
    elsewhere: dict[float, Elsewhere] = field(default_factory=dict)


def prove(setup: Setup, session: Session, run: Run, preset: Preset,
          unseen: Unseen | None = None, first: Proof | None = None) -> Proof:
    """Ours against the built-in settings; the winner is handed out.

    Args:
        setup: what was searched; of a family, the setup of its first member.
        session: under the guider of the search.
        run: a finished search.
        preset: its best solver.
        unseen: seeds that a family shares; None: it is alone.
        first: the proof of the family's first member.

    Raises:
        SearchError: if the model returns NaN or infinity on these seeds.
    """
    extent, calls = EXTENTS[setup.config.effort], preset.solver.nfe
    every = foremost(_tried(setup, session, run.problem.steps), first.ranking if first else [])
    tried, rounds = (every[:LATER], _later(extent.rounds)) if first else (every, extent.rounds)
    standings = contest(setup.searched(session, run), tried, calls, rounds)
    unseen = unseen or Unseen(setup, session, preset)
    ways = [lambda trial: trial.solver(preset.solver, preset.info.name)]
    ways += [lambda trial, s=s: trial.setting(s, calls) for s in standings.left]
    seeds = 0 if first else (_most_final(setup, session, extent)
                             // _each(setup, session, unseen.calls))
    trial, (ours, *others) = compared(unseen, ways, seeds)
    best = min(others, key=lambda m: m.mean if math.isfinite(m.mean) else math.inf)
    if not math.isfinite(ours.mean) or not math.isfinite(best.mean):
        raise SearchError("the model returned NaN or infinity. Try a higher precision for the "
                          "model.")
    found = preset
    if best.mean < ours.mean:
        setting = standings.left[others.index(best)]
        found, ours = _handed_out(setting, trial, preset, ours)
    info = replace(told(found, ours, best, len(tried)), reference=unseen.text)
    ranking = [*standings.ranking, *every[len(tried):]]
    return Proof(replace(found, info=info), ours.ends, ranking, trial,
                 first.elsewhere if first else {})


def compared(unseen: Callable[[int], Trial], ways: Sequence[Callable[[Trial], Measured]],
             seeds: int) -> tuple[Trial, list[Measured]]:
    """Ways of sampling on the same seeds, the first against the best of the others.

    Args:
        unseen: part of the seeds -> its trial.
        ways: ours first.
        seeds: most that the told calls pay for; PARTS parts are always measured.
    """
    trial = unseen(0)
    found = [way(trial) for way in ways]
    size, part = len(trial.items), 1
    while part < PARTS or (part + 1) * size <= seeds and not _clear(found):
        more = unseen(part)
        trial, part = trial.joined(more), part + 1
        found = [trial.again(one, way(more)) for one, way in zip(found, ways, strict=True)]
    return trial, found


def told(preset: Preset, ours: Measured, best: Measured, tried: int) -> PresetInfo:
    """What the file says of a comparison."""
    info, (_, deviation) = preset.info, paired(ours.errors, best.errors)
    return replace(
        info, error=ours.mean, error_interval=ours.interval, error_median=ours.median,
        error_elsewhere=ours.elsewhere, baseline_error=best.mean,
        baseline=f"{best.label}, the best of {tried} built-in settings",
        baseline_interval=best.interval, baseline_median=best.median,
        baseline_elsewhere=best.elsewhere, difference_interval=1.96 * deviation,
        held_out_seeds=len(ours.errors),
        held_out_prompts=min(info.held_out_prompts, len(ours.errors)))


def table_of(setting: Setting, first: float, *, flow: bool) -> Solver | None:
    """A built-in setting as a table that begins at sigma `first`; None: it has none."""
    sigmas = setting.sigmas.double().clone()
    sigmas[0] = first
    try:
        return TABLEAUS[setting.sampler](sigmas, flow=flow)
    except (KeyError, SolverError):
        return None


def ranged(setup: Setup, session: Session, proof: Proof, *, later: bool = False) -> Preset:
    """The proven preset with its CFG range; `later`: not the first of its family."""
    preset, info = proof.preset, proof.preset.info
    own = AtScale(session.guidance or 0.0, info.error or 0.0, info.baseline_error or 0.0)
    around = measure_around(session, preset, proof.trial, proof.ranking,
                            range_of(setup.config), proof.elsewhere,
                            LATER_ELSEWHERE if later else None)
    return replace(preset, info=with_range(info, own, around))


def proof_calls(setup: Setup, session: Session, others: Sequence[int] = ()) -> int:
    """Most model calls that prove and ranged take; `others`: steps of a family's later members."""
    extent, steps = EXTENTS[setup.config.effort], setup.config.steps
    tried = _tried(setup, session, steps)
    runs = runs_of_contest(tried, setup.config.sizes.searched, extent.rounds)
    seeds = _most_seeds(setup, session, extent)  # on which the table of a built-in may run
    own = (steps * (runs + seeds) + _check_calls(extent, max([steps, *others]))
           + _most_final(setup, session, extent)
           + sum(_later_calls(setup, session, steps) for steps in others))
    if session.guidance is None:
        return own
    around = range_of(setup.config)
    return own + calls_of_range(steps, session.guidance,
                                around.schedules * len({s.sampler for s in tried}), around)


def _later_calls(setup: Setup, session: Session, steps: int) -> int:
    """Most model calls for a later member of a family."""
    rounds = _later(EXTENTS[setup.config.effort].rounds)
    runs = runs_of_rounds(LATER, setup.config.sizes.searched, rounds)
    own = steps * (runs + (2 + FINALISTS) * PARTS * _size(setup))  # twice: a built-in's table
    if session.guidance is None:
        return own
    return own + calls_of_range(steps, session.guidance, LATER_ELSEWHERE,
                                range_of(setup.config), reference=False)


class Unseen:
    """Seeds that the search never saw, part by part, with a reference of `calls` model calls.

    Args:
        setup, session: see prove().
        preset: what the reference must be able to judge: of a family, that of the most steps.
    """

    def __init__(self, setup: Setup, session: Session, preset: Preset) -> None:
        extent = EXTENTS[setup.config.effort]
        self.setup, self.session = setup, session
        self.most = _most_seeds(setup, session, extent)
        self.deal()
        self.first = setup.unseen(session, 0, _size(setup))
        self.settled = self._settled(extent, preset)
        self.calls = self.settled.calls
        self.parts: dict[int, Trial] = {}

    def deal(self) -> None:
        """Give these seeds their prompts."""
        self.setup.deal(self.session, self.most)

    @property
    def text(self) -> str:
        """For the file."""
        off = "" if self.settled.agreed else f"; {self.settled.off:.2g} from a shorter one"
        return f"{TEACHER}, {self.calls} calls{off}"

    def __call__(self, part: int) -> Trial:
        """Trial of one part; the session then has the prompts of these seeds."""
        self.deal()
        if part not in self.parts:
            self.parts[part] = self._made(part)
        return self.parts[part]

    def _made(self, part: int) -> Trial:
        starts, items = self.first if part == 0 else self.setup.unseen(
            self.session, part, _size(self.setup))
        return make_trial(self.session, starts, items, self.setup.batch,
                          self.setup.config.denoise, self.calls)

    def _settled(self, extent: Extent, preset: Preset) -> Settled:
        """How many calls the reference needs to judge a solver."""
        starts, items = (part[:CHECKED] for part in self.first)
        session, setup, canvas = self.session, self.setup, self.session.canvas

        def ends_of(calls: int) -> Tensor:
            return accurate_ends(session, starts, items, setup.batch, calls,
                                 setup.config.denoise)

        def judged(reference: Tensor) -> float:
            return Trial(session, starts, items, reference, setup.batch).again(ours).mean

        ours = Trial(session, starts, items, starts, setup.batch).solver(preset.solver, "")
        return settled(ends_of, judged, extent.reference, extent.longest, canvas)


def _handed_out(setting: Setting, trial: Trial, preset: Preset,
                ours: Measured) -> tuple[Preset, Measured]:
    """The table of a built-in setting that won, where it has one that is better, too."""
    first = first_sigma(trial.session.sampling, trial.denoise)
    table = table_of(setting, first, flow=preset.solver.flow)
    if table is None or table.nfe > preset.solver.nfe:
        return preset, ours
    measured = trial.solver(table, setting.label)
    if not measured.mean < ours.mean:
        return preset, ours
    return Preset(table, replace(preset.info, builtin=setting.label)), measured


def _clear(found: Sequence[Measured]) -> bool:
    """Whether it is known how ours, the first, does against the best of the others."""
    ours, *others = found
    best = min(others, key=lambda m: m.mean)
    difference, deviation = paired(ours.errors, best.errors)
    return abs(difference) > APART * deviation or APART * deviation < EVEN * best.mean


def _tried(setup: Setup, session: Session, steps: int) -> list[Setting]:
    everything = EXTENTS[setup.config.effort].everything
    names = deterministic_samplers() if everything else POPULAR_SAMPLERS
    return settings(session.sampling, steps, names, setup.config.denoise)


def _later(rounds: Rounds) -> Rounds:
    """Of the contest with a later member of a family: fewer stay."""
    counts = [count for count, _ in rounds.stages]
    return Rounds(tuple(zip(counts, LATER_KEPT, strict=True)))


def _size(setup: Setup) -> int:
    """Seeds of a part."""
    return -(-setup.config.sizes.evidence // PARTS)


def _each(setup: Setup, session: Session, reference: int) -> int:
    """Model calls that one more seed takes."""
    return reference + (1 + FINALISTS) * setup.config.steps + setup.painting(session)


def _most_final(setup: Setup, session: Session, extent: Extent) -> int:
    """Most model calls of the comparison: if the reference must be long, there are no more seeds
    than PARTS parts and what a tenth of the search's budget pays for."""
    seeds = PARTS * _size(setup) * _each(setup, session, extent.longest)
    return seeds + setup.config.sizes.model_calls // 10


def _check_calls(extent: Extent, steps: int) -> int:
    """Most model calls that settle the reference's length, with a solver of so many steps."""
    return CHECKED * (sum(lengths(extent.reference, extent.longest)) + steps)


def _most_seeds(setup: Setup, session: Session, extent: Extent) -> int:
    return _most_final(setup, session, extent) // _each(setup, session, extent.reference)
