"""What a second program does in the same folder: run by places.py, twice at once.

    python -m tests.faults.beside FOLDER a 150        saves, lists and deletes
    python -m tests.faults.beside FOLDER search NAME  a search in a ComfyUI of its own
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import torch

from ..pack import load


def main() -> int:
    """One line of JSON: what was done, and what did not hold."""
    folder, what, more = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    found = _search(folder, more) if what == "search" else _rounds(folder, what, int(more))
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _rounds(folder: Path, own: str, rounds: int) -> dict[str, Any]:
    """Saves under names that the other uses, too; deletes what it saved itself and what not."""
    store, bins, shelf = load("presets.store"), load("presets.bin"), load("presets.shelf").Shelf()
    listed, chance = load("presets.shelf").listed, Random(own)
    kept, problems = [], []
    for number in range(rounds):
        name = _saved(store, folder, own, number)
        names = sorted(n for n in os.listdir(folder) if n.endswith(store.SUFFIX))
        shelf.refresh(listed(names, [str(folder)]))
        problems += [f"torn: {error}" for error in shelf.broken.values()
                     if "no such file" not in error]
        if chance.random() < 0.5:
            bins.throw_away(folder, folder / f"{name}.safetensors")
        else:
            kept.append(f"{name}.safetensors")
        if number % 10 == 9:
            store.save(folder, _preset(own, number), name="shared", overwrite=True)
            store.read(folder / "shared.safetensors")
    return {"saved": rounds, "kept": kept, "problems": problems}


def _saved(store: Any, folder: Path, own: str, number: int) -> str:  # noqa: ANN401
    while True:
        name = store.free_name(folder, "d")
        try:
            store.save(folder, _preset(own, number), name=name, overwrite=False)
        except store.TakenError:
            continue
        return name


def _preset(own: str, number: int) -> Any:  # noqa: ANN401
    presets, solver = load("presets.preset"), load("solver_search.solver").Solver
    level = 0.1 + (number + 1) / 1000 + (0.5 if own == "b" else 0.0)
    table = solver(torch.tensor([1.0, level, 0.0]), torch.eye(2), True)
    return presets.Preset(table, presets.PresetInfo(name="d", prediction="flow", shift=1.0))


def _search(folder: Path, name: str) -> dict[str, Any]:
    from .__main__ import on_stage

    with tempfile.TemporaryDirectory() as place, on_stage(Path(place)) as stage:
        stage.folder.parent.mkdir(parents=True, exist_ok=True)
        if stage.folder.is_dir():
            stage.folder.rmdir()
        stage.folder.symlink_to(folder)
        preset = stage.search(name).args[0]
    return {"file": f"{preset.info.name}.safetensors", "id": preset.id}


if __name__ == "__main__":
    sys.exit(main())
