"""One of several that search: `python -m tests.ranks_child RANK SIZE FOLDER METHOD ...`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from solver_search.ranks import Group, Ranks
from solver_search.run import Run, search

from .searches import METHODS_SHORT, problem

STARTS = 9  # and 4 held out: not the same number for each rank


def found(name: str, ranks: Ranks) -> dict[str, Any]:
    """What a search finds, as plain numbers."""
    run = search(METHODS_SHORT[name], Run(problem(fit_count=STARTS, batch=4), ranks=ranks))
    return {"error": run.best_error, "calls": run.model_calls, "label": run.best_label,
            "curve": [error for _, error in run.curve],
            "tensors": {key: t.tolist() for key, t in run.best.tensors.items()}}


def main(rank: int, size: int, folder: Path, methods: list[str]) -> None:
    """Search with each method and write what was found."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank,
                                   world_size=size)
    ranks = Group()
    every = {name: found(name, ranks) for name in methods}
    (folder / f"{rank}.json").write_text(json.dumps(every))
    distributed.barrier()  # gloo ends a process with an error when the other one leaves first


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
