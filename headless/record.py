"""The report of a job: one JSON file beside its presets. Fields are listed in docs/headless.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..nodes.comfy_bridge.model import ModelFacts
from ..nodes.said import Said
from ..nodes.version import VERSION
from ..presets.preset import Preset
from .asked import Asked
from .clock import Clock
from .comfyui import comfy_module
from .exits import Exit, Refusal
from .meter import Meter, peaks
from .request import MANY

FORMAT = 1
MARK = "solver_search_report"
SAID = ("error", "error_interval", "error_median", "baseline", "baseline_error",
        "baseline_interval", "baseline_median", "difference_interval", "builtin", "guidance_low",
        "guidance_high", "held_out_seeds", "held_out_prompts", "state")


@dataclass
class Outcome:
    """How a job ended.

    Args:
        state: done, found, stopped, broke_off, estimated or failed.
        exit: code of the process.
        said: verdict, warnings, details.
        presets: as they lie on the disk, with the names of their files.
        calls: model calls by what they were for.
    """

    state: str
    exit: int
    said: Said
    presets: list[tuple[Preset, str]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Of everything that has a say in the result."""
    management = comfy_module("comfy.model_management")
    device = management.get_torch_device()
    return {"solver_search": VERSION, "torch": str(torch.__version__),
            "comfyui": comfy_module("comfyui_version").__version__,
            "python": platform.python_version(), "device": str(device),
            "device_name": management.get_torch_device_name(device)}


def about_model(known: ModelFacts) -> dict[str, Any]:
    """Which model exactly."""
    return {"file": known.file_name, "family": known.family, "prediction": known.prediction,
            "shift": known.shift, "precision": known.precision, "patches": known.patches,
            "architecture": known.architecture, "header_hash": known.header_hash}


def about_preset(preset: Preset, file: str) -> dict[str, Any]:
    """What a preset says that a script may want."""
    info = preset.info
    return {"file": file, "name": info.name, "id": preset.id, "steps": preset.solver.nfe,
            "promise": preset.promise, "model_calls": info.model_calls,
            "seconds": info.seconds, **{name: getattr(info, name) for name in SAID}}


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """The request, by the names of the command line."""
    return {name: _plain(value) for name, value in sorted(vars(options).items())
            if name not in (*MANY, "run", "command", "json")}


def reported(asked: Asked, outcome: Outcome, clock: Clock, meter: Meter) -> dict[str, Any]:
    """The report of a job, as docs/headless.md lists it."""
    whole = round(time.time() - clock.began, 2)
    stamp = datetime.datetime.fromtimestamp(clock.began, datetime.timezone.utc)
    return {
        "state": outcome.state, "exit": int(outcome.exit), "verdict": outcome.said.verdict,
        "warnings": list(outcome.said.warnings),
        "errors": [outcome.said.verdict] if outcome.state == "failed" else [],
        "details": list(outcome.said.details),
        "presets": [about_preset(preset, file) for preset, file in outcome.presets],
        "calls": {**outcome.calls, "network": meter.calls},
        "seconds": {"whole": whole, **clock.parts, "in_network": round(meter.seconds, 2)},
        "memory": peaks(), "model": about_model(asked.known),
        "request": request_of(asked.options), "setting": asked.setting,
        "versions": versions(), "started": stamp.isoformat(timespec="seconds"),
    }


def free_base(folder: Path, name: str, setting: str) -> str:
    """The name, or with 2, 3 ... behind it the first whose report is of this setting or missing.

    Args:
        setting: digits of all the job depends on.
    """
    base, number = name, 1
    while (folder / f"{base}.json").exists() and _setting(folder / f"{base}.json") != setting:
        number += 1
        base = f"{name} {number}"
    return base


def write(path: Path, report: Mapping[str, Any]) -> Path:
    """Write the report, wholly or not at all.

    Raises:
        Refusal: if the disk refuses.
    """
    partial = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(json.dumps({MARK: FORMAT, **report}, indent=1) + "\n", "utf-8")
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise Refusal(Exit.SAVING, f"The report {path.name} could not be written: "
                      f"{error.strerror}.") from error
    return path


def _setting(path: Path) -> str:
    try:
        found = json.loads(path.read_text("utf-8"))
        return str(found.get("setting", "")) if isinstance(found, dict) else ""
    except (OSError, ValueError):
        return ""


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value
