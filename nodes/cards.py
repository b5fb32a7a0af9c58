"""Presets as JSON for browsers: a card for a list, and all that a file holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..presets.file import Contents
from ..presets.preset import Preset
from ..presets.shelf import Listed
from ..presets.words import guidance_range, promise
from .comfy_bridge.ordinary_lists import ordinary_lists
from .measured import NOTHING, Known, told

SAME = ("name", "family", "prediction", "guidance", "guidance_low", "guidance_high",
        "guidance_measured", "width",
        "height", "frames", "denoise", "shift", "sigma_max", "error", "error_interval",
        "error_median", "error_elsewhere", "baseline_error", "baseline", "baseline_interval",
        "baseline_median", "baseline_elsewhere", "difference_interval", "held_out_seeds",
        "author", "notes", "created", "method",
        "licence", "builtin", "state", "architecture", "header_hash", "model_bytes",
        "model_hash", "precision", "patches", "measured")
PICTURES = ("picture", "reference_picture")


def card(preset: Preset, file: Listed | None, *, pictures: bool,
         figures: Known = NOTHING) -> dict[str, Any]:
    """What a list shows of a preset; unknown is null or "".

    Args:
        preset: it.
        file: where it lies; None: not in a folder.
        pictures: whether the file has any.
        figures: preset id -> what was measured on this machine.
    """
    info = preset.info
    return {**{key: getattr(info, key) for key in SAME}, "file": file.name if file else "",
            "id": preset.id, "own": bool(file and file.own), "model": info.model_name,
            "flow": preset.solver.flow, "steps": preset.steps, "pictures": pictures,
            "promise": promise(info, calls=preset.steps), "range": guidance_range(info),
            "here": told(preset, figures),
            "bytes": file.size if file else 0, "mtime": file.mtime if file else None}


def detail(found: Contents, file: Listed | None,
           figures: Known = NOTHING) -> dict[str, Any]:
    """A card with the numbers and everything else the file says, pictures left out."""
    preset, solver = found.preset, found.preset.solver
    facts = {key: value for key, value in asdict(preset.info).items()
             if value not in ("", None, 0) and key not in PICTURES}
    start = solver.start
    pictures = any(getattr(preset.info, p) for p in PICTURES)
    return {**card(preset, file, pictures=pictures, figures=figures),
            "sigmas": solver.sigmas.tolist(), "weights": solver.weights.tolist(),
            "start": None if start is None else start.tolist(),
            "beside": {name: rows.tolist() for name, rows in solver.beside.items()},
            "ordinary": ordinary_lists(preset.info, solver.nfe),
            "holds": {"version": found.version, "workflow": found.workflow, "facts": facts,
                      "pictures": [p for p in PICTURES if getattr(preset.info, p)],
                      "tensors": {name: list(t.shape) for name, t in solver.tensors.items()},
                      "other_words": list(found.others)}}
