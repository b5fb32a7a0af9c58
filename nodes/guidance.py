"""At which CFG scales a preset is better than ComfyUI's own samplers: measured around its own.

At each scale the opponent is the best there of a few settings of every sampler that was tried at
the preset's own scale: those that did best there. The range lies between the outermost scales
that are won without a lost one in between.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, replace

from ..presets.preset import Preset, PresetInfo
from ..solver_search.config import SearchConfig
from .comfy_bridge.ordinary import Setting
from .comfy_bridge.session import Session
from .evidence import Rounds, Trial, contest, foremost, make_trial, runs_of_rounds


@dataclass(frozen=True)
class Range:
    """What is measured of a preset at other CFG scales.

    Args:
        around: scales, as shares of what CFG adds to a picture: CFG - 1.
        above_one: scales for what was searched without guidance.
        schedules: of each sampler, those that did best at the preset's own scale.
        rounds: how the opponents are narrowed to the best one; the last round is on `seeds`.
        seeds: at each scale.
        calls: of the reference: far below the errors compared here (docs/decisions/guidance.md).
        reach: of a search for a CFG range, how far its ends are from the middle.
    """

    around: tuple[float, ...]
    above_one: tuple[float, ...]
    schedules: int
    rounds: Rounds
    seeds: int
    calls: int = 48
    reach: float = 0.0

    def scales(self, guidance: float) -> list[float]:
        """CFG scales to measure at, beside the preset's own."""
        if self.reach:
            return [round(guidance + 2 * (share - 1) * self.reach, 2) for share in self.around]
        if guidance <= 1:
            return list(self.above_one)
        return [round(1 + (guidance - 1) * share, 2) for share in self.around]


AROUND, ABOVE_ONE = (0.5, 0.75, 1.25, 1.5), (1.5, 2.0, 3.0)
RANGES = {
    "quick": Range((0.5, 1.5), (1.5, 3.0), 1, Rounds(((1, 3), (4, 1))), 4),
    "standard": Range(AROUND, ABOVE_ONE, 2, Rounds(((2, 4), (8, 1))), 8),
    "thorough": Range(AROUND, ABOVE_ONE, 3, Rounds(((4, 4), (16, 1))), 16, 60),
}


def range_of(config: SearchConfig) -> Range:
    """What is measured after a search; of one for a CFG range both ends and between."""
    return replace(RANGES[config.effort], reach=config.reach)


@dataclass(frozen=True)
class AtScale:
    """Mean relative errors at one CFG scale: of the preset, and of the best built-in setting."""

    cfg: float
    error: float
    builtin: float

    @property
    def won(self) -> bool:
        """Whether the preset is the better one."""
        return self.error < self.builtin

    @property
    def text(self) -> str:
        """For the file: 4: 0.12 / 0.14."""
        return f"{self.cfg:.3g}: {self.error:.3g} / {self.builtin:.3g}"


@dataclass(frozen=True)
class Elsewhere:
    """What a preset leaves at a CFG scale for those of other numbers of steps: the starts with
    their reference, and the built-in settings, best first."""

    trial: Trial
    ranking: list[Setting]


def calls_of_range(steps: int, guidance: float, settings: int, extent: Range, *,
                   reference: bool = True) -> int:
    """Most model calls of measure_around with so many settings at each scale."""
    runs = runs_of_rounds(settings, extent.seeds, extent.rounds)
    each = extent.seeds * (steps + reference * extent.calls) + steps * runs
    return len(extent.scales(guidance)) * each


def measure_around(session: Session, preset: Preset, own: Trial, ranking: Sequence[Setting],
                   extent: Range, known: MutableMapping[float, Elsewhere] | None = None,
                   most: int | None = None) -> list[AtScale]:
    """The preset at the scales around its own.

    Args:
        session: under a guider whose CFG can be changed (Session.guidance).
        own: trial at the preset's scale; its first starts are used again.
        ranking: built-in settings, best first there.
        extent: how much is measured.
        known: scale -> what an earlier preset left there; what is lacking is added.
        most: settings tried at each scale (None: as the extent says).
    """
    few, found, known = _candidates(ranking, extent.schedules), [], {} if known is None else known
    starts, items = own.starts[:extent.seeds], own.items[:extent.seeds]
    for cfg in extent.scales(session.guidance or 1.0):
        with session.guided(cfg):
            there = known.get(cfg) or Elsewhere(make_trial(
                session, starts, items, own.batch, own.denoise, extent.calls), few)
            tried = foremost(ranking if cfg in known else few, there.ranking, most)
            ours = there.trial.solver(preset.solver, preset.info.name)
            standings = contest(there.trial, tried, preset.solver.nfe, extent.rounds)
            known.setdefault(cfg, replace(there, ranking=standings.ranking))
            found.append(AtScale(cfg, ours.mean, standings.error))
    return found


def with_range(info: PresetInfo, own: AtScale, others: Iterable[AtScale]) -> PresetInfo:
    """What the file says of CFG."""
    every = sorted([own, *others], key=lambda at: at.cfg)
    low, high = _range(every, every.index(own))
    return replace(info, guidance_low=low, guidance_high=high,
                   guidance_measured=", ".join(at.text for at in every))


def _range(every: list[AtScale], i: int) -> tuple[float | None, float | None]:
    if not every[i].won:
        return None, None
    low = high = i
    while low > 0 and every[low - 1].won:
        low -= 1
    while high + 1 < len(every) and every[high + 1].won:
        high += 1
    return every[low].cfg, every[high].cfg


def _candidates(ranking: Sequence[Setting], schedules: int) -> list[Setting]:
    """The best schedules of each sampler: what wins at one scale may lose at another."""
    kept: dict[str, list[Setting]] = {}
    for setting in ranking:
        kept.setdefault(setting.sampler, []).append(setting)
    return [setting for few in kept.values() for setting in few[:schedules]]
