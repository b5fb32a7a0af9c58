"""The report of a search: what came out first, what went wrong second, numbers last."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from ..presets.preset import Preset, PresetInfo
from ..presets.words import difference_is_clear
from .said import Said
from .search_job import Member

AGAIN = "Turn on 'search again' to search anew."


def report(found: Sequence[Member], warnings: Sequence[str],
           missing: Collection[str] = ()) -> Said:
    """A search that ended by itself; members as they are named on disk, but for the missing."""
    verdict = " ".join(_verdict(member.preset, missing) for member in found)
    return Said(verdict, tuple(warnings), (*_details(found), f"torch {torch.__version__}"))


def report_stopped(found: Sequence[Member], spent: str, warnings: Sequence[str],
                   missing: Collection[str] = ()) -> Said:
    """A search that somebody ended; what it had is handed out."""
    named = " ".join(_verdict(m.preset, missing) if not m.preset.info.state else
                     f"{_place(m.preset.info, missing)}, not measured." for m in found)
    return Said(f"Stopped by you after {spent}. {named}", tuple(warnings), _details(found))


def report_broken(found: Sequence[Member], warnings: Sequence[str],
                  missing: Collection[str] = ()) -> Said:
    """A search that the model ended."""
    kept = " ".join(f"{_place(m.preset.info, missing)}, not measured." for m in found)
    return Said(f"The search broke off; the best until then is there. {kept}", tuple(warnings),
                _details(found))


def report_found(preset: Preset) -> Said:
    """A search that was made before."""
    every = (preset, *preset.siblings)
    names = ", ".join(f"'{p.info.name}'" for p in every)
    return Said(f"Found, searched on {preset.info.created}: {names}. {AGAIN}", (),
                tuple(line for p in every for line in (p.promise, f"id {p.id}.")))


def _place(info: PresetInfo, missing: Collection[str]) -> str:
    """Where a preset is."""
    return f"{'Not saved:' if info.name in missing else 'Saved as'} '{info.name}'"


def _verdict(preset: Preset, missing: Collection[str] = ()) -> str:
    info = preset.info
    saved = f"{_place(info, missing)}:"
    if info.error is None:
        return f"{_place(info, missing)}, not measured."
    seeds = f"on {info.held_out_seeds} unseen seeds"
    if info.builtin:
        return (f"{saved} the search found nothing better than {info.builtin}, so that is what it "
                f"holds ({seeds}).")
    if not info.baseline_error:
        return f"{saved} error {info.error:.3g} {seeds}."
    setting = info.baseline.split(",")[0]
    if not difference_is_clear(info):
        return f"{saved} as good as the best built-in ({setting}), too close to call {seeds}."
    share = info.error / info.baseline_error - 1
    return (f"{saved} error {abs(share):.0%} {'lower' if share < 0 else 'higher'} than the best "
            f"built-in ({setting}) {seeds}.")


def _details(found: Sequence[Member]) -> tuple[str, ...]:
    return tuple(line for member in found for line in _lines(member))


def _lines(member: Member) -> list[str]:
    preset, run = member
    return [
        preset.promise,
        *_side_by_side(preset.info),
        f"Found by: {run.best_label}; the search {run.ended_by} after {run.model_calls} model "
        f"calls and {run.seconds:.0f} s.",
        f"'{preset.info.name}': {preset.solver.nfe} steps, {preset.info.method}, id {preset.id}.",
    ]


def _side_by_side(info: PresetInfo) -> list[str]:
    """Mean, median and share of other pictures of ours and the opponent, where measured."""
    rows = (("saved", info.error, info.error_median, info.error_elsewhere),
            ("best built-in", info.baseline_error, info.baseline_median,
             info.baseline_elsewhere))
    return [f"{name}: mean {mean:.4f}, median {median:.4f}, {elsewhere:.0%} other pictures"
            for name, mean, median, elsewhere in rows
            if mean is not None and median is not None and elsewhere is not None]
