"""The headless command with searches of 300 model calls, as a program of its own.

    python tests/small_door.py search ... --effort quick

Jobs of a manifest are started by the same program.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"fit": 4, "held_out": 2, "model_calls": 300, "teacher_calls": 12, "screened": 1,
         "compared": 2, "refined": 1, "iterations": 1, "evidence": 3}


def small(part: Callable[[str], Any]) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Quick searches and their evidence made small: tables, their keys, the new values.

    Args:
        part: gives a module of the pack.
    """
    config, proof, guidance = (part(name) for name in (
        "solver_search.config", "nodes.proof", "nodes.guidance"))
    yield config.EFFORTS, "quick", config.Effort(**SMALL)
    for module in (proof, *map(part, ("nodes.evidence", "nodes.contenders", "nodes.measure"))):
        yield vars(module), "POPULAR_SAMPLERS", ("euler",)
    yield proof.EXTENTS, "quick", replace(proof.EXTENTS["quick"], reference=16)
    yield guidance.RANGES, "quick", replace(guidance.RANGES["quick"], around=(1.5,), calls=20)


def main() -> int:
    """The command's exit code."""
    sys.path.insert(0, str(ROOT))
    entry = importlib.import_module("headless.__main__")
    door = entry.door()

    def part(name: str) -> Any:  # noqa: ANN401
        return importlib.import_module(f"{entry.PACK}.{name}")

    comfyui, jobs = part("headless.comfyui"), part("headless.jobs")
    original, jobs.FOLDER = comfyui.start, Path(__file__).resolve()

    def start(*given: object, **named: object) -> None:
        original(*given, **named)
        for table, name, value in small(part):
            table[name] = value

    comfyui.start = start
    return door.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
