"""Measure solvers and ordinary settings against a converged reference, on given starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..solver_search.metrics import mean_and_interval, relative_errors
from ..solver_search.sample import sample, told_levels
from ..solver_search.solver import Solver
from ..solver_search.teacher import accurate_teacher
from .comfy_bridge.model import first_sigma, prediction
from .comfy_bridge.ordinary import (
    POPULAR_SAMPLERS,
    Setting,
    deterministic_samplers,
    run_setting,
    settings,
)
from .comfy_bridge.session import Session

log = logging.getLogger("solver-search")
REFERENCE_CALLS = 100
Stages = tuple[tuple[int, int], ...]  # (starts, how many settings stay)
STAGES: Stages = ((4, 24), (16, 8), (64, 3))  # all on 4, the best 24 on 16, ..., 3 on all
FOLLOWING = 12  # settings of a contest that are tried again with another number of calls


@dataclass(frozen=True)
class Measured:
    """Results of one way of sampling.

    Args:
        label: as people write it.
        ends: (S, C, ...) finished states.
        errors: (S,) relative errors against the reference.
        calls: model calls of one picture.
    """

    label: str
    ends: Tensor
    errors: Tensor
    calls: int

    @property
    def mean(self) -> float:
        """Mean relative error."""
        return mean_and_interval(self.errors)[0]

    @property
    def interval(self) -> float:
        """Half width of the mean's 95 % interval."""
        return mean_and_interval(self.errors)[1]


@dataclass(frozen=True)
class Trial:
    """Fixed starts of one session, with their converged ends.

    Args:
        session: the loaded model.
        starts: (S, C, ...) states where `denoise` begins.
        items: (S,) which prompt each start belongs to.
        reference: (S, C, ...) ends of the accurate teacher.
        batch: starts per model call.
        denoise: share of the way; 1 is from pure noise.
        finalists: labels of the settings that were the best in the first of a family's contests.
        elsewhere: the same starts at other CFG scales, made when first asked for.
    """

    session: Session
    starts: Tensor
    items: Tensor
    reference: Tensor
    batch: int
    denoise: float = 1.0
    finalists: list[str] = field(default_factory=list)
    elsewhere: dict[float, Trial] = field(default_factory=dict)

    def solver(self, solver: Solver, label: str) -> Measured:
        """Measure a solver."""
        return self._measured(label, solver.nfe, _of_solver(self.session, solver), len(self.items))

    def setting(self, setting: Setting, calls: int, count: int | None = None) -> Measured:
        """Measure a built-in sampler and schedule on the first `count` starts."""
        return self._measured(setting.label, calls,
                              lambda x, items: run_setting(self.session, setting, x, items),
                              count or len(self.items))

    def ordinary(self, calls: int, *, everything: bool) -> list[Setting]:
        """Built-in settings with at most `calls` calls: of every deterministic sampler, or only
        of the popular ones."""
        names = deterministic_samplers() if everything else POPULAR_SAMPLERS
        return settings(self.session.sampling, calls, names, self.denoise)

    def best_ordinary(self, calls: int, *, everything: bool) -> tuple[Measured, int]:
        """The best built-in setting with at most `calls` calls, and how many were tried."""
        tried = self.ordinary(calls, everything=everything)
        return self.best_of(tried, calls), len(tried)

    def best_of(self, tried: list[Setting], calls: int, stages: Stages = STAGES) -> Measured:
        """The best of some built-in settings; see contest()."""
        return self.contest(tried, calls, stages)[0]

    def contest(self, tried: list[Setting], calls: int,
                stages: Stages = STAGES) -> tuple[Measured, list[Setting]]:
        """The best of some built-in settings, and those tried as they were ranked first.

        All are tried on a few starts, the better ones on more, the best few on all.
        """
        finals, ranking = self._finals(tried, calls, stages)
        return finals[0], ranking

    def family_contest(self, tried: list[Setting], calls: int,
                       stages: Stages = STAGES) -> tuple[Measured, list[Setting]]:
        """contest() for one of several numbers of calls: those after the first try only what was
        among its best (docs/decisions/fit.md)."""
        finals, ranking = self._finals(self._known_best(tried), calls, stages)
        self.finalists.extend([] if self.finalists else [m.label for m in finals])
        return finals[0], ranking

    def _finals(self, tried: list[Setting], calls: int,
                stages: Stages) -> tuple[list[Measured], list[Setting]]:
        left, ranking = tried, None
        for count, kept in stages:
            if count < len(self.items) and len(left) > kept:
                order = sorted(left, key=lambda s, n=count: self._mean_on(s, calls, n))
                left, ranking = order[:kept], ranking or order
        finals = sorted((self.setting(setting, calls) for setting in left), key=lambda m: m.mean)
        labels = [m.label for m in finals]
        return finals, ranking or sorted(left, key=lambda s: labels.index(s.label))

    def _known_best(self, tried: list[Setting]) -> list[Setting]:
        """As many as a later contest tries, the first one's finalists foremost; before it all."""
        if not self.finalists:
            return tried
        place = {label: i for i, label in enumerate(self.finalists)}
        order = sorted(tried, key=lambda setting: place.get(setting.label, len(place)))
        return order[: min(FOLLOWING, len(place))]

    def _mean_on(self, setting: Setting, calls: int, count: int) -> float:
        """Mean error on the first starts; infinite when ComfyUI's sampler fails here."""
        try:
            mean = self.setting(setting, calls, count).mean
        except (RuntimeError, ValueError) as error:
            log.warning("%s could not be tried: %s", setting.label, error)
            return float("inf")
        return mean if mean == mean else float("inf")

    def _measured(self, label: str, calls: int, run: Callable[[Tensor, Tensor], Tensor],
                  count: int) -> Measured:
        ends = _in_batches(run, self.starts[:count], self.items[:count], self.batch)
        errors = relative_errors(ends, self.reference[:count], self.session.canvas)
        return Measured(label, ends, errors, calls)


def starts_of_trials(tried: Sequence[int], seeds: int, stages: Stages = STAGES) -> list[int]:
    """How many starts the contests of one trial sample, each among so many settings."""
    found: list[int] = []
    finals = 0
    for left in tried:
        total = 0
        left = min(left, FOLLOWING, finals) if finals else left
        for count, kept in stages:
            if count < seeds and left > kept:
                total, left = total + count * left, kept
        finals = finals or left
        found.append(total + seeds * left)
    return found


def make_trial(session: Session, starts: Tensor, items: Tensor, batch: int,
               denoise: float = 1.0, calls: int = 0) -> Trial:
    """Starts with their reference ends, of `calls` model calls each (0: as evidence has)."""
    reference = accurate_ends(session, starts, items, batch, calls or REFERENCE_CALLS, denoise)
    return Trial(session, starts, items, reference, batch, denoise)


def accurate_ends(session: Session, starts: Tensor, items: Tensor, batch: int, calls: int,
                  denoise: float = 1.0) -> Tensor:
    """(S, C, ...) finished states of the accurate teacher."""
    teacher = accurate_teacher(calls, first_sigma(session.sampling, denoise),
                               flow=is_flow(session))
    return _in_batches(_of_solver(session, teacher), starts, items, batch)


def is_flow(session: Session) -> bool:
    """Whether the session's model is a flow model."""
    return prediction(session.sampling) == "flow"


def _of_solver(session: Session, solver: Solver) -> Callable[[Tensor, Tensor], Tensor]:
    def run(x: Tensor, items: Tensor) -> Tensor:
        feature = None if solver.designer_in is None else session.probed().feature
        with session.at_levels(told_levels(solver)):
            return sample(lambda state, sigma: session.denoise(state, sigma, items), solver, x,
                          feature=feature, canvas=session.canvas)
    return run


def _in_batches(run: Callable[[Tensor, Tensor], Tensor], starts: Tensor, items: Tensor,
                batch: int) -> Tensor:
    parts: Iterable[Tensor] = [run(x, i) for x, i in zip(starts.split(batch), items.split(batch),
                                                         strict=True)]
    return torch.cat(list(parts))
