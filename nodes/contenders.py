"""What a comparison measures: the best of ComfyUI's own at as many model calls, our solvers, and
how many steps ComfyUI's own needs to land as near.

Its model calls are counted, so that a bar can say how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..presets.preset import Preset
from .comfy_bridge.levels import check_model
from .comfy_bridge.node_only import node_settings
from .comfy_bridge.ordinary import (
    POPULAR_SAMPLERS,
    Setting,
    calls_for,
    deterministic_samplers,
    scale_of,
    schedules,
    settings,
)
from .comfy_bridge.session import Session
from .evidence import REFERENCE_CALLS, ROUNDS, Measured, Trial, make_trial, runs_of_contest

EVERYTHING, POPULAR = "all built-in samplers and schedules", "popular samplers, all schedules"
NODE_ONLY = "all built-in, and settings that need nodes"
SHOWN = 8
EQUAL_SEEDS, EQUAL_FACTOR = 8, 3  # most seeds, and most steps as a multiple of its own
Kind = Literal["builtin", "node_only", "solver"]


@dataclass(frozen=True)
class Way:
    """One way of sampling.

    Args:
        measured: on all seeds.
        kind: ComfyUI's menus, ComfyUI's nodes, or ours.
        tried: how many settings it is the best of; 0 for ours.
    """

    measured: Measured
    kind: Kind
    tried: int = 0

    @property
    def mean(self) -> float:
        """Mean relative error."""
        return self.measured.mean


@dataclass(frozen=True)
class Equal:
    """How many steps a setting needs to land as near as a solver.

    Args:
        label: of the setting.
        steps: the fewest; None: even `most` are not enough.
        calls: model calls of so many steps; 0 where not known.
        most: steps tried.
    """

    label: str
    steps: int | None
    calls: int
    most: int


@dataclass(frozen=True)
class Results:
    """What a comparison found.

    Args:
        ways: the best of each kind of opponent for each number of calls, then the solvers.
        shown: numbers of the seeds to show, rising.
        pictures: latents of those seeds: the reference's, then one per way.
        equal: None where ours does not land nearer than the best of ComfyUI's menus.
    """

    ways: list[Way]
    shown: list[int]
    pictures: list[Tensor]
    equal: Equal | None

    def of(self, *kinds: Kind) -> list[Way]:
        """Those ways, in order."""
        return [way for way in self.ways if way.kind in kinds]

    @property
    def ours(self) -> Way:
        """The solver that lands nearest."""
        return min(self.of("solver"), key=lambda way: way.mean)

    @property
    def rival(self) -> Way:
        """The best of ComfyUI's own at as many model calls as `ours`."""
        return self.rival_of("builtin", "node_only")

    def rival_of(self, *kinds: Kind) -> Way:
        """The same among some kinds."""
        fair = [w for w in self.of(*kinds) if w.measured.calls == self.ours.measured.calls]
        return min(fair, key=lambda way: way.mean)


@dataclass(frozen=True)
class Comparison:
    """A comparison to run inside a session.

    Args:
        presets: solvers, in the order of the inputs.
        seeds, seed: how many starts, and where their noise begins.
        batch: starts per model call.
        opponents: EVERYTHING, POPULAR or NODE_ONLY.
        told: called with the model calls made and planned, after each.
    """

    presets: Sequence[Preset]
    seeds: int
    seed: int
    batch: int
    opponents: str
    told: Callable[[int, int], None] = lambda done, planned: None

    def run(self, session: Session) -> Results:
        """Measure the best ordinary settings and the presets on the same starts.

        Raises:
            MismatchError: a preset is for another kind of model.
        """
        for preset in self.presets:
            check_model(preset, session.sampling)
        rivals = {calls: self._rivals(session, calls)
                  for calls in sorted({p.solver.nfe for p in self.presets})}
        count = CallCount(self._planned(rivals), self.told)
        session.on_call = count.add
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.seeds, *session.latent_image.shape[1:])
        starts = session.starts(torch.randn(shape, generator=generator))
        trial = make_trial(session, starts, torch.arange(self.seeds), self.batch)
        ways = [Way(trial.best_of(tried, calls), kind, len(tried))
                for calls, kinds in rivals.items() for kind, tried in kinds.items()]
        ways += [Way(trial.solver(p.solver, p.info.name), "solver") for p in self.presets]
        found = Results(ways, [], [], None)
        found = replace(found, shown=seeds_to_show(found.ours.measured.errors))
        ends = [trial.reference, *(way.measured.ends for way in ways)]
        found = replace(found, pictures=[session.latent(x[found.shown]) for x in ends],
                        equal=_equal(found, rivals, trial))
        count.end()
        return found

    def _rivals(self, session: Session, calls: int) -> dict[Kind, list[Setting]]:
        """Settings of ComfyUI with at most so many calls."""
        names = POPULAR_SAMPLERS if self.opponents == POPULAR else deterministic_samplers()
        found: dict[Kind, list[Setting]] = {"builtin": settings(session.sampling, calls, names)}
        if self.opponents == NODE_ONLY:
            found["node_only"] = node_settings(session.sampling, calls, 1.0)
        return found

    def _planned(self, rivals: dict[int, dict[Kind, list[Setting]]]) -> int:
        """Most model calls, each of one picture, that it will take."""
        finals = ROUNDS.stages[-1][1]
        planned = REFERENCE_CALLS * self.seeds
        for calls, kinds in rivals.items():
            for tried in kinds.values():
                runs = runs_of_contest(tried, self.seeds, ROUNDS)
                planned += calls * (runs + min(finals, len(tried)) * self.seeds)
        planned += sum(p.solver.nfe for p in self.presets) * self.seeds
        most = max(rivals)
        longer = range(most + 1, EQUAL_FACTOR * most + 1)
        return planned + sum(longer) * min(EQUAL_SEEDS, self.seeds)


class CallCount:
    """Model calls made of those planned.

    Args:
        planned: how many there will be at most.
        told: called with both after each.
    """

    def __init__(self, planned: int, told: Callable[[int, int], None]) -> None:
        self.done, self.planned, self.told = 0, planned, told

    def add(self, pictures: int) -> None:
        """So many more were made."""
        self.done += pictures
        self.told(min(self.done, self.planned - 1), self.planned)

    def end(self) -> None:
        """That is all."""
        self.told(self.planned, self.planned)


def seeds_to_show(errors: Tensor) -> list[int]:
    """At most SHOWN seeds: half of them those with the largest errors, the rest the first ones.

    Args:
        errors: (S,) of our best solver.
    """
    worst = errors.argsort(descending=True).tolist()[: SHOWN // 2]
    others = [seed for seed in range(len(errors)) if seed not in worst]
    return sorted([*worst, *others[: SHOWN - len(worst)]])


def _equal(found: Results, rivals: dict[int, dict[Kind, list[Setting]]],
           trial: Trial) -> Equal | None:
    """How far the best of the menus has to go; None if it is as near already."""
    ours, rival = found.ours.measured, found.rival_of("builtin").measured
    count = min(EQUAL_SEEDS, len(ours.errors))
    wanted = float(ours.errors[:count].mean())
    if rival.mean <= ours.mean or float(rival.errors[:count].mean()) <= wanted:
        return None
    tried = rivals[ours.calls]["builtin"]
    setting = next(s for s in tried if s.label == rival.label)
    return steps_to_equal(trial, setting, wanted, count)


def steps_to_equal(trial: Trial, setting: Setting, wanted: float, count: int) -> Equal:
    """Add steps to a setting of the menus until it lands near enough.

    Args:
        trial: its first `count` starts are used.
        setting: sampler and schedule, which stay.
        wanted: mean relative error to reach.
        count: of starts.
    """
    own = len(setting.sigmas) - 1
    most = EQUAL_FACTOR * own
    for steps in range(own + 1, most + 1):
        longer = _longer(trial, setting, steps)
        if longer is None:
            continue  # this schedule has no list of so many steps
        calls = calls_for(setting.sampler, longer.sigmas)
        if float(trial.errors_of(longer, calls, 0, count).mean()) <= wanted:
            return Equal(setting.label, steps, calls, most)
    return Equal(setting.label, None, 0, most)


def _longer(trial: Trial, setting: Setting, steps: int) -> Setting | None:
    sampling = trial.session.sampling
    lists = schedules(sampling, steps, setting.sampler, trial.denoise)
    sigmas = lists.get(setting.scheduler)
    return None if sigmas is None else replace(
        setting, sigmas=sigmas, scale=scale_of(sampling, sigmas, trial.denoise))
