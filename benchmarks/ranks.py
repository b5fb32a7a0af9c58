"""What a second process brings to one search: seconds with one core each.

`python -m benchmarks.ranks RANK SIZE SIDE FOLDER` is one of them; measured() starts them.
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
SIZES, SIDES = (1, 2), (8, 32)  # of processes, of latents
STEPS, BATCH = 6, 8
REPEATS = 3
PHASES = ("searching", "measuring")


def measured() -> list[dict[str, Any]]:
    """A quick search of the default method in one process and in two: of REPEATS in turns the one
    that other work on the machine held up least."""
    return [row for side in SIDES for row in _at(side)]


def _at(side: int) -> list[dict[str, Any]]:
    tries = [[_together(size, side) for size in SIZES] for _ in range(REPEATS)]
    rows = [min(found, key=_whole) for found in zip(*tries, strict=True)]
    for row in rows:
        row["efficiency"] = {phase: round(rows[0][phase] / (row["ranks"] * row[phase]), 3)
                             for phase in PHASES}
    return rows


def _whole(row: dict[str, Any]) -> float:
    return sum(row[phase] for phase in PHASES)


def _together(size: int, side: int) -> dict[str, Any]:
    """One search in so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ranks", str(rank), str(size), str(side), folder],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}) for rank in range(size)]
        if any([process.wait() for process in processes]):
            raise RuntimeError(f"a search in {size} processes failed")
        every = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(size)]
    return every[0] | {"processor": round(sum(row["processor"] for row in every), 2)}


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown."""
    return ["", f"One quick search for {STEPS} steps in several processes of one core each (gloo; "
            f"demo_flow, CFG 3, {BATCH} pictures a call of all together): the quickest of "
            f"{REPEATS}. Processor seconds are those of all processes, waiting for each other "
            "included.",
            "", "| latents | processes | searching, seconds | efficiency | measuring, seconds | "
            "efficiency | processor seconds | calls of both | error on unseen seeds |",
            "|" + "---|" * 9,
            *(f"| {r['side']} x {r['side']} | {r['ranks']} | {r['searching']:.1f} | "
              f"{r['efficiency']['searching']:.0%} | {r['measuring']:.1f} | "
              f"{r['efficiency']['measuring']:.0%} | {r['processor']:.1f} | {r['calls']:,} | "
              f"{r['error']:.5f} |" for r in rows)]


def main(rank: int, size: int, side: int, folder: Path) -> None:
    """Search as one of several."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank,
                                   world_size=size)
    from .cost import _guider

    times: dict[str, tuple[float, float]] = {}

    def begin(phase: str) -> None:
        times.setdefault(phase, (time.perf_counter(), time.process_time()))

    job = pack("nodes.search_job").Job(
        _guider(load_model("demo_flow")), torch.zeros(BATCH, 16, side, side),
        pack("solver_search.config").SearchConfig(STEPS, "fit", "quick"), 3.0, "cost",
        ranks=pack("solver_search.ranks").Group(),
        on_event=lambda event: begin("measuring" if "measuring" in event.phase else "other"),
        stop=lambda: begin("searching"))  # None: it goes on
    (preset, run), = job.run()
    begin("ended")
    distributed.barrier()
    (first, spent), (middle, _), (last, all_spent) = (
        times.get(phase, times["ended"]) for phase in (*PHASES, "ended"))
    (folder / f"{rank}.json").write_text(json.dumps({
        "side": side, "ranks": size, "searching": round(middle - first, 2),
        "measuring": round(last - middle, 2), "processor": round(all_spent - spent, 2),
        "calls": run.model_calls + job.measured, "error": preset.info.error}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))
