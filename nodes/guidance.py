"""At which CFG scales a preset is better than ComfyUI's own samplers: measured around its own.

At each scale the opponent is the best there of a few settings of every sampler that was tried at
the preset's own scale: those that did best there. The range lies between the outermost scales
that are won without a lost one in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..presets.preset import Preset, PresetInfo
from .comfy_bridge.ordinary import Setting
from .comfy_bridge.session import Session
from .evidence import Trial, make_trial, starts_of_trials

AROUND = (0.5, 0.75, 1.25, 1.5)  # of what CFG adds to a picture: CFG - 1
ABOVE_ONE = (1.5, 2.0, 3.0)  # for what was searched without guidance
SCHEDULES = 3  # of each sampler
STAGES = ((4, 4),)  # all of them on 4 starts, the best 4 on all
CALLS = 60  # of the reference: far below the errors compared here (docs/decisions/guidance.md)
SEEDS = 8  # at least; half of those of the evidence


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


def scales(guidance: float) -> list[float]:
    """CFG scales to measure at, beside the preset's own."""
    if guidance <= 1:
        return list(ABOVE_ONE)
    return [round(1 + (guidance - 1) * share, 2) for share in AROUND]


def calls_of_range(family: Sequence[int], guidance: float, seeds: int, samplers: int) -> int:
    """Model calls of measure_around for presets of so many steps, one after the other."""
    contests = starts_of_trials([samplers * SCHEDULES] * len(family), seeds, STAGES)
    own = sum(steps * (seeds + starts) for steps, starts in zip(family, contests, strict=True))
    return len(scales(guidance)) * (CALLS * seeds + own)


def measure_around(session: Session, preset: Preset, own: Trial,
                   ranking: Sequence[Setting]) -> list[AtScale]:
    """The preset at the scales around its own.

    Args:
        session: under a guider whose CFG can be changed (Session.guidance).
        own: trial at the preset's scale; its first starts are used again.
        ranking: built-in settings, best first there.
    """
    few, found = _candidates(ranking), []
    seeds = seeds_of_range(len(own.items))
    starts, items = own.starts[:seeds], own.items[:seeds]
    for cfg in scales(session.guidance or 1.0):
        with session.guided(cfg):
            if cfg not in own.elsewhere:
                own.elsewhere[cfg] = make_trial(session, starts, items, own.batch, own.denoise,
                                                CALLS)
            found.append(_at(cfg, own.elsewhere[cfg], preset, few))
    return found


def seeds_of_range(evidence: int) -> int:
    """How many seeds each scale is measured on."""
    return min(evidence, max(SEEDS, evidence // 2))


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


def _at(cfg: float, trial: Trial, preset: Preset, settings: list[Setting]) -> AtScale:
    ours = trial.solver(preset.solver, preset.info.name)
    best, _ = trial.family_contest(settings, preset.solver.nfe, STAGES)
    return AtScale(cfg, ours.mean, best.mean)


def _candidates(ranking: Sequence[Setting]) -> list[Setting]:
    """The best schedules of each sampler: what wins at one scale may lose at another."""
    kept: dict[str, list[Setting]] = {}
    for setting in ranking:
        kept.setdefault(setting.sampler, []).append(setting)
    return [setting for few in kept.values() for setting in few[:SCHEDULES]]
