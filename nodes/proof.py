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
from ..solver_search.run import Run
from ..solver_search.search import SearchError
from ..solver_search.solver import Solver, SolverError
from ..solver_search.tableaus import TABLEAUS
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
    contest,
    foremost,
    runs_of_contest,
    runs_of_rounds,
)
from .extent import (
    EXTENTS,
    FINALISTS,
    PARTS,
    calls_each,
    check_calls,
    most_final,
    most_seeds,
    size_of_part,
)
from .guidance import AtScale, Elsewhere, calls_of_range, measure_around, range_of, with_range
from .search_setup import Setup
from .unseen import Unseen

APART = 2.0  # standard errors of the paired difference
EVEN = 0.02  # of the error: a difference known to be smaller is no reason for more seeds
LATER, LATER_KEPT = 8, (4, FINALISTS, FINALISTS)  # settings with a later member of a family
LATER_ELSEWHERE = 2  # at each other CFG scale


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
    seeds = 0 if first else (most_final(setup, session, extent)
                             // calls_each(setup, session, unseen.calls))
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
    seeds = most_seeds(setup, session, extent)  # on which the table of a built-in may run
    own = (steps * (runs + seeds) + check_calls(extent, max([steps, *others]))
           + most_final(setup, session, extent)
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
    seeds = (2 + FINALISTS) * PARTS * size_of_part(setup)  # twice: the table of a built-in
    own = steps * (runs + seeds)
    if session.guidance is None:
        return own
    return own + calls_of_range(steps, session.guidance, LATER_ELSEWHERE,
                                range_of(setup.config), reference=False)


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
