"""`python run.py bench`: the default search beside all built-in settings, the others in one cell.

Into benchmarks/results/; many hours on two cores.

    --small           a few minutes, into output/benchmarks/small/
    --all             every row there is, parts of the way and transfer (a night)
    --jobs N          cells at a time, one core each (default: all cores)
    quality [...]     only some rows; see `python run.py bench quality --help`
    parts [...]       only image to image: denoise below 1
    ranges [...]      only the CFG ranges that searches say, checked
    transfer          only solvers away from where they were searched
    ablations         only parts of the published methods left out
    asked | choice    what the model is asked; by which starts a search should choose
    ranking           where the best known solver is among those that are tried
    cost [...]        only what searches and sampling cost
    plots             only these
    true-size [...]   networks at their true size with random weights
    small-large [...] solvers searched at one size and used at another
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from . import (
    ablations,
    asked,
    choice,
    cost,
    parts,
    plots,
    quality,
    ranges,
    ranking,
    small_large,
    transfer,
    true_size,
)
from .cells import WORK
from .loading import ROOT
from .report import write_table
from .tasks import FEW, FULL, NODE_ONLY, REST, TRANSFER, Task

SMALL = WORK / "small"


def main(arguments: list[str]) -> None:
    """Run what is asked for."""
    match arguments:
        case ["quality", *rest]:
            quality.main(rest)
        case ["parts", *rest]:
            parts.main(rest)
        case ["ranges", *rest]:
            ranges.main(rest)
        case ["transfer"]:
            transfer.main()
        case ["ablations"]:
            ablations.main()
        case ["asked", *rest]:
            asked.main(rest)
        case ["choice", *rest]:
            choice.main(rest)
        case ["ranking", *rest]:
            ranking.main(rest)
        case ["cost", *rest]:
            cost.main(rest)
        case ["plots"]:
            plots.main()
        case ["true-size", *rest]:
            true_size.main(rest)
        case ["small-large", *rest]:
            small_large.main(rest)
        case _:
            _whole(_options(arguments))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("run.py bench", add_help=False)
    parser.add_argument("-h", "--help", action="store_true", help="what else there is")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--small", action="store_true")
    which.add_argument("--all", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    if chosen.help:
        sys.exit(__doc__)
    if chosen.jobs < 1:
        parser.error(f"--jobs must be at least 1, found {chosen.jobs}.")
    return chosen


def _whole(chosen: argparse.Namespace) -> None:
    if chosen.small:
        for task in FEW:
            quality.main(task, SMALL)
        cost.main(["--efforts", "quick"], SMALL)
        plots.main(SMALL)
        return
    failed = _side_by_side(FULL + REST + NODE_ONLY if chosen.all else FULL, chosen.jobs)
    if chosen.all:
        _away()
    cost.main()
    plots.main()
    if failed:
        sys.exit("These cells failed: " + "; ".join(" ".join(task) for task in failed))


def _away() -> None:
    """Where solvers are used elsewhere than they were searched: needs those of the other rows."""
    for task in TRANSFER:
        quality.main(task)
    parts.main([])
    parts.main(["--models", "demo_eps", "--calls", "6", "--seeds", "64"])
    transfer.main()
    ranges.main(["--calls", "6"])
    for cfg, effort in (("1", "standard"), ("7", "quick")):
        ranges.main(["--models", "demo_flow", "--cfg", cfg, "--calls", "6", "--efforts", effort])
    ablations.main()
    choice.main([])
    ranking.main([])
    asked.main([])


def _side_by_side(tasks: list[Task], jobs: int) -> list[Task]:
    """Run tasks, several at a time; returns those that failed."""
    with ThreadPoolExecutor(jobs) as pool:
        failed = [t for t, code in zip(tasks, pool.map(_alone, tasks), strict=True) if code]
    write_table(quality.RESULTS)
    return failed


def _alone(task: Task) -> int:
    """One task in a process of its own, on one core; returns its exit code."""
    return subprocess.run([sys.executable, "-m", "benchmarks", "quality", *task], cwd=ROOT,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode


if __name__ == "__main__":
    main(sys.argv[1:])
