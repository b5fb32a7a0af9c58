"""Measure solvers and ordinary settings against a converged reference, on given starts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..solver_search.metrics import mean_and_interval, share_elsewhere
from ..solver_search.ranks import RankLost
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
PIONEERS = ("euler", "dpmpp_2m")  # one that is steady, one that is accurate


@dataclass(frozen=True)
class Rounds:
    """How a contest narrows.

    Args:
        stages: (starts, how many settings stay), in order.
        schedules: how many schedules all samplers are tried on, the best of those that PIONEERS
            are tried on; 0: every one.
    """

    stages: tuple[tuple[int, int], ...]
    schedules: int = 0


ROUNDS = Rounds(((4, 24), (16, 8), (64, 3)))  # all on 4 starts, the best 24 on 16, ...


@dataclass(frozen=True)
class Standings:
    """How a contest ended.

    Args:
        left: settings that stayed to the end, best first.
        ranking: all that were tried, best first after the first stage.
        error: mean relative error of the best.
    """

    left: list[Setting]
    ranking: list[Setting]
    error: float


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

    @property
    def median(self) -> float:
        """Median relative error."""
        return float(self.errors.double().quantile(0.5))

    @property
    def elsewhere(self) -> float:
        """Share of seeds that land on another picture."""
        return share_elsewhere(self.errors)


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
    """

    session: Session
    starts: Tensor
    items: Tensor
    reference: Tensor
    batch: int
    denoise: float = 1.0

    def solver(self, solver: Solver, label: str) -> Measured:
        """Measure a solver."""
        return self._measured(label, solver.nfe, _of_solver(self.session, solver),
                              len(self.items), solver.tensors.values())

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

    def best_of(self, tried: list[Setting], calls: int, rounds: Rounds = ROUNDS) -> Measured:
        """The best of some built-in settings: the better ones measured on all starts."""
        finals = contest(self, tried, calls, rounds).left
        return min((self.setting(setting, calls) for setting in finals), key=lambda m: m.mean)

    def errors_of(self, setting: Setting, calls: int, first: int, count: int) -> Tensor:
        """(count - first,) errors of a built-in setting on those starts; infinite when ComfyUI's
        sampler fails here."""
        found = self.session.records.kept(
            f"{setting.label} on {first} to {count}",
            lambda: {"errors": self._errors_of(setting, calls, first, count)})
        return found["errors"]

    def _errors_of(self, setting: Setting, calls: int, first: int, count: int) -> Tensor:
        part = Trial(self.session, self.starts[first:count], self.items[first:count],
                     self.reference[first:count], self.batch, self.denoise)
        ends = self.reference.clone()  # where it was not sampled it has no error
        try:
            ends[first:count] = part.setting(setting, calls).ends
        except RankLost:
            raise
        except (RuntimeError, ValueError) as error:
            log.warning("%s could not be tried: %s", setting.label, error)
            return torch.full((count - first,), float("inf"))
        errors = self.session.errors(ends, self.reference)[first:count]
        return errors.nan_to_num(float("inf"))

    def joined(self, other: Trial) -> Trial:
        """Both trials' starts in one."""
        parts = ((getattr(trial, name) for trial in (self, other))
                 for name in ("starts", "items", "reference"))
        return Trial(self.session, *(torch.cat(list(pair)) for pair in parts), self.batch,
                     self.denoise)

    def again(self, *parts: Measured) -> Measured:
        """Measurements of one way on successive starts of this trial as one."""
        ends = torch.cat([part.ends for part in parts])
        errors = self.session.errors(ends, self.reference)
        return Measured(parts[0].label, ends, errors, parts[0].calls)

    def _measured(self, label: str, calls: int, run: Callable[[Tensor, Tensor], Tensor],
                  count: int, about: Iterable[Tensor] = ()) -> Measured:
        ends = _in_batches(self.session, run, self.starts[:count], self.items[:count], self.batch,
                           list(about))
        errors = self.session.errors(ends, self.reference[:count])
        return Measured(label, ends, errors, calls)


def contest(trial: Trial, tried: Sequence[Setting], calls: int, rounds: Rounds) -> Standings:
    """Who is best among built-in settings: the better ones go on to more starts.

    Args:
        trial: its first starts are used.
        tried: settings with at most `calls` calls.
        rounds: how many stay when.
    """
    known: dict[str, Tensor] = {}

    def ranked(some: Sequence[Setting], count: int) -> list[Setting]:
        for setting in some:
            errors = known.get(setting.label, torch.zeros(0))
            if len(errors) < count:
                more = trial.errors_of(setting, calls, len(errors), count)
                known[setting.label] = torch.cat([errors, more.cpu()])
        return sorted(some, key=lambda setting: float(known[setting.label].mean()))

    first, *_ = counts = [min(count, len(trial.items)) for count, _ in rounds.stages]
    pioneers = ranked(_pioneers(tried, rounds), first)
    names = list(dict.fromkeys(setting.scheduler for setting in pioneers))[: rounds.schedules]
    others = [s for s in tried if s.label not in known and s.scheduler in names]
    left = ranking = ranked([*pioneers, *others], first)
    for count, (_, kept) in zip(counts, rounds.stages, strict=True):
        left = ranked(left, count)[:kept]
    return Standings(left, ranking, float(known[left[0].label].mean()))


def foremost(tried: Sequence[Setting], ranking: Sequence[Setting],
             most: int | None = None) -> list[Setting]:
    """Settings of one number of steps in the order found for another, at most so many."""
    place = {setting.label: i for i, setting in enumerate(ranking)}
    return sorted(tried, key=lambda setting: place.get(setting.label, len(place)))[:most]


def runs_of_contest(tried: Sequence[Setting], starts: int, rounds: Rounds) -> int:
    """Most starts that contest() samples."""
    pioneers = _pioneers(tried, rounds)
    known = {setting.label for setting in pioneers}
    others = Counter(s.sampler for s in tried if s.label not in known)
    tried_first = len(pioneers) + sum(min(n, rounds.schedules or n) for n in others.values())
    return runs_of_rounds(tried_first, starts, rounds)


def runs_of_rounds(left: int, starts: int, rounds: Rounds) -> int:
    """How many starts so many settings are sampled from, those that stay on more."""
    total = before = 0
    for count, kept in rounds.stages:
        count = min(count, starts)
        total, before, left = total + left * (count - before), count, min(left, kept)
    return total


def _pioneers(tried: Sequence[Setting], rounds: Rounds) -> list[Setting]:
    found = [s for s in tried if rounds.schedules and s.sampler in PIONEERS]
    return found or list(tried)


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
    return _in_batches(session, _of_solver(session, teacher), starts, items, batch,
                       [teacher.sigmas])


def is_flow(session: Session) -> bool:
    """Whether the session's model is a flow model."""
    return prediction(session.sampling) == "flow"


def _of_solver(session: Session, solver: Solver) -> Callable[[Tensor, Tensor], Tensor]:
    def run(x: Tensor, items: Tensor) -> Tensor:
        feature = None if solver.designer_in is None else session.probed().feature
        with session.at_levels(told_levels(solver)):
            return sample(lambda state, sigma: session.denoise(state, sigma, items), solver, x,
                          feature=feature, guidance=lambda _: session.added,
                          canvas=session.canvas)
    return run


def _in_batches(session: Session, run: Callable[[Tensor, Tensor], Tensor], starts: Tensor,
                items: Tensor, batch: int, about: Iterable[Tensor] = ()) -> Tensor:
    """Ends of all starts; those of each batch are kept in the session's records."""
    def ends(x: Tensor, own: Tensor) -> Tensor:
        found = session.records.kept("ends", lambda: {"ends": session.dealt(run, x, own)},
                                     about=(own, *about))
        return found["ends"].to(x.device)

    return torch.cat([ends(x, own) for x, own in zip(starts.split(batch), items.split(batch),
                                                     strict=True)])
