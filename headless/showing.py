"""The command `show`: what preset files hold. It needs no model and no ComfyUI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..presets.fields import PresetError
from ..presets.preset import Preset, tensors
from ..presets.store import read
from .exits import Exit
from .telling import Teller

PICTURES = ("picture", "reference_picture")


def show(paths: Sequence[Path], told: Teller) -> int:
    """Tell of each file.

    Returns:
        the exit code: REQUEST if one is no sound preset.
    """
    code, verdict = Exit.DONE, ""
    for path in paths:
        try:
            preset = read(path.expanduser())
        except PresetError as error:
            told.tell("error", file=str(path), lines=[str(error)], sentence=str(error))
            code, verdict = Exit.REQUEST, str(error)
            continue
        told.tell("preset", file=str(path), lines=_lines(preset), **_data(preset))
    told.tell("end", exit=int(code), state="failed" if code else "done", verdict=verdict)
    return int(code)


def _data(preset: Preset) -> dict[str, Any]:
    known = {name: value for name, value in asdict(preset.info).items() if name not in PICTURES}
    numbers = {name: value.tolist() for name, value in tensors(preset.solver).items()}
    return {"id": preset.id, "steps": preset.solver.nfe, "promise": preset.promise,
            "info": known, "solver": numbers}


def _lines(preset: Preset) -> list[str]:
    info = preset.info
    size = f", latent {info.width}x{info.height}" if info.width else ""
    size += f"x{info.frames}" if info.frames else ""
    cfg = "" if info.guidance is None else f" at CFG {info.guidance:g}"
    sigmas = ", ".join(f"{sigma:.4g}" for sigma in preset.solver.sigmas.tolist())
    state = f" ({info.state})" if info.state else ""
    return [f"{info.name}{state}", f"  {preset.promise}",
            f"  {preset.solver.nfe} steps for {info.family or info.prediction}{cfg}{size}; "
            f"searched on {info.model_name or 'an unknown file'} by {info.method or 'unknown'} "
            f"{info.created}", f"  sigmas {sigmas}", f"  id {preset.id}"]
