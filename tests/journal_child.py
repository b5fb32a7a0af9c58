"""One short search in a process of its own: `python -m tests.journal_child FOLDER [RANK SIZE]`.

With several ranks the folder also gets what each found, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from torch import distributed

from demo.comfyui import use_device

from .conftest import comfyui_path
from .pack import load


def main(folder: Path, rank: int = 0, size: int = 1) -> None:
    """Search with its journal in the folder."""
    sys.path.insert(0, str(comfyui_path()))
    use_device(importlib.import_module("comfy.cli_args").args)  # before anything else of comfy
    journal, families = (importlib.import_module(f"tests.{name}") for name in (
        "test_journal", "matrix.families"))
    if size > 1:
        distributed.init_process_group("gloo", f"file://{folder.parent}/meeting", rank=rank,
                                       world_size=size)
    ranks = load("solver_search.ranks")
    with pytest.MonkeyPatch.context() as patch, journal.counting() as asked:
        journal.shorten(patch)
        job = journal.job(families.FAMILIES["SD3"].build(), folder,
                          ranks=ranks.Group() if size > 1 else ranks.ALONE)
        (member,) = job.run()
    told = {"curve": member.run.curve, "calls": member.run.model_calls, "broken": job.broken,
            "asked": asked.made, "measured": job.measured, "own": journal.numbers([member])[0][:3],
            "state": member.preset.info.state, "error": member.preset.info.error,
            "tool": member.preset.info.tool_version, "warnings": job.warnings,
            "tensors": {key: t.tolist() for key, t in member.preset.solver.tensors.items()}}
    (folder.parent / f"{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
