"""Evidence: what a preset is worth on unseen seeds, and at which CFG scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..presets.preset import Preset, PresetInfo
from .comfy_bridge.ordinary import (
    POPULAR_SAMPLERS,
    Setting,
    deterministic_samplers,
    settings,
)
from .comfy_bridge.session import Session
from .evidence import REFERENCE_CALLS, Trial, starts_of_trials
from .guidance import AtScale, calls_of_range, measure_around, seeds_of_range, with_range


def prove(trial: Trial, preset: Preset, *,
          thorough: bool) -> tuple[PresetInfo, list[Setting]]:
    """Evidence of a preset on a trial's starts, beside the best built-in setting's; and the
    settings tried, the better ones first."""
    ours, calls = trial.solver(preset.solver, preset.info.name), preset.solver.nfe
    tried = trial.ordinary(calls, everything=thorough)
    best, ranking = trial.family_contest(tried, calls)
    return replace(
        preset.info, error=ours.mean, error_interval=ours.interval,
        baseline=f"{best.label}, the best of {len(ranking)} built-in settings",
        baseline_error=best.mean, baseline_interval=best.interval,
        held_out_seeds=len(trial.items), reference="deis, 100 calls"), ranking


def ranged(session: Session, preset: Preset, trial: Trial, ranking: list[Setting]) -> PresetInfo:
    info = preset.info
    own = AtScale(session.guidance or 0.0, info.error or 0.0, info.baseline_error or 0.0)
    return with_range(info, own, measure_around(session, preset, trial, ranking))


def proof_calls(session: Session, family: Sequence[int], seeds: int, denoise: float, *,
                thorough: bool) -> int:
    """Model calls that prove and ranged take for presets of so many steps, one after the other."""
    names = deterministic_samplers() if thorough else POPULAR_SAMPLERS
    tried = [settings(session.sampling, steps, names, denoise) for steps in family]
    contests = starts_of_trials([len(found) for found in tried], seeds)
    own = sum(steps * (seeds + starts) for steps, starts in zip(family, contests, strict=True))
    own += seeds * REFERENCE_CALLS
    if session.guidance is None:
        return own
    return own + calls_of_range(family, session.guidance, seeds_of_range(seeds),
                                len({setting.sampler for setting in tried[0]}))
