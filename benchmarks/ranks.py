"""What a second process brings to one search: seconds with one core each.

`python -m benchmarks.ranks RANK SIZE FOLDER` is one of them; measured() starts them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from .loading import load_model, pack

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1, 2)
STEPS, BATCH = 6, 8
REPEATS = 3


def measured() -> list[dict[str, Any]]:
    """A quick search of the default method, without its measuring, in one process and in two: of
    REPEATS in turns the one that other work on the machine held up least."""
    tries = [[_together(size) for size in SIZES] for _ in range(REPEATS)]
    rows = [min(found, key=lambda row: row["seconds"]) for found in zip(*tries, strict=True)]
    for row in rows:
        row["efficiency"] = round(rows[0]["seconds"] / (row["ranks"] * row["seconds"]), 3)
    return rows


def _together(size: int) -> dict[str, Any]:
    """One search in so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ranks", str(rank), str(size), folder],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}) for rank in range(size)]
        if any([process.wait() for process in processes]):
            raise RuntimeError(f"a search in {size} processes failed")
        every = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(size)]
    return every[0] | {"processor": round(sum(row["processor"] for row in every), 2)}


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    return ["", f"One quick search for {STEPS} steps in several processes of one core each (gloo; "
            f"demo_flow, CFG 3, {BATCH} pictures a call of all together), without its measuring: "
            f"the quickest of {REPEATS}. Processor seconds are those of all processes, waiting "
            "for each other included.",
            "", "| processes | seconds | processor seconds | model calls | error | efficiency |",
            "|" + "---|" * 6,
            *(f"| {r['ranks']} | {r['seconds']:.1f} | {r['processor']:.1f} | {r['calls']:,} | "
              f"{r['error']:.5f} | {r['efficiency']:.0%} |" for r in rows)]


def main(rank: int, size: int, folder: Path) -> None:
    """Search as one of several."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank,
                                   world_size=size)
    from .cost import _guider

    begun: list[tuple[float, float]] = []
    model, config = load_model("demo_flow"), pack("solver_search.config")
    ranks = pack("solver_search.ranks").Group()
    job = pack("nodes.search_job").Job(
        _guider(model), torch.zeros(BATCH, 16, 8, 8), config.SearchConfig(STEPS, "fit", "quick"),
        3.0, "cost", ranks=ranks, on_estimate=lambda _: begun.append(
            (time.perf_counter(), time.process_time())))
    run, = job.search()
    seconds, processor = (now - then for now, then in zip(
        (time.perf_counter(), time.process_time()), begun[0], strict=True))
    distributed.barrier()
    (folder / f"{rank}.json").write_text(json.dumps({
        "ranks": size, "seconds": round(seconds, 2), "processor": round(processor, 2),
        "calls": run.model_calls,
        "error": run.best_error}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
