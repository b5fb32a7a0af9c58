"""What was measured on this machine: kept, looked up for a model, and told to browsers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..presets.fields import PresetError
from ..presets.figures import FACTS, Figures, Ledger, figures_of
from ..presets.info import PresetInfo
from ..presets.preset import Preset
from .comfy_bridge.folders import own_folder
from .comfy_bridge.model import ModelFacts

Known = Mapping[str, tuple[Figures, ...]]
NOTHING: Known = {}
LEDGER = Ledger()
LINES = 4  # measurements that go along in a shared file
TOLD = 8  # measurements of one preset that a browser gets
log = logging.getLogger("solver-search")


def all_figures() -> Known:
    """Preset id -> what was measured here, the newest first; nothing where it cannot be read."""
    try:
        return LEDGER.of(own_folder())
    except PresetError as error:
        log.warning("%s", error)
        return {}


def keep(measured: Iterable[Preset], folder: Path | None = None) -> str:
    """Keep the evidence of presets that was found on this machine.

    Args:
        measured: with the model they were measured on in their facts.
        folder: of the ledger; None: people's own.

    Returns:
        Why it could not be kept, else "".
    """
    try:
        LEDGER.add(folder or own_folder(), [figures_of(p.id, p.info) for p in measured])
    except OSError as error:
        said = f"The figures could not be kept: {error.strerror}."
        log.warning("%s", said)
        return said
    return ""


def here(preset: Preset, model: ModelFacts, guidance: float | None,
         figures: Known) -> PresetInfo | None:
    """What was measured here of a preset on this very model; of several the nearest CFG's.

    Args:
        guidance: the CFG asked for; None: the newest is taken.
        figures: see `all_figures`.
    """
    found = [f.info for f in figures.get(preset.id, ()) if _same_model(f.info, model)]
    if not found or guidance is None:
        return found[0] if found else None
    return min(found, key=lambda info: abs((info.guidance or 0.0) - guidance))


def _same_model(info: PresetInfo, model: ModelFacts) -> bool:
    if info.patches != model.patches or info.family != model.family:
        return False
    if info.header_hash and model.header_hash:
        return info.header_hash == model.header_hash
    return bool(info.model_name) and info.model_name == model.file_name


def told(preset: Preset, figures: Known) -> list[dict[str, Any]]:
    """A preset's figures for a browser, the newest first."""
    return [{("model" if name == "model_name" else name): getattr(each.info, name)
             for name in FACTS} for each in figures.get(preset.id, ())[:TOLD]]


def own_lines(preset: Preset, figures: Known) -> str:
    """A preset's figures as lines that may go along in its file; not those it states itself."""
    return "\n".join(_line(each.info) for each in figures.get(preset.id, ())[:LINES]
                     if each.info.error != preset.info.error)


def _line(info: PresetInfo) -> str:
    ours, other = info.error or 0.0, info.baseline_error or 0.0
    return (f"{info.model_name[:120] or info.family}, CFG {info.guidance or 0:g}: error "
            f"{ours:.3g} against {other:.3g} ({info.baseline[:80]}), {info.held_out_seeds} "
            f"seeds, {info.created}")
