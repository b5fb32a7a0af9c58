"""`python run.py bench`: every benchmark, into benchmarks/results/ (hours on two cores).

    --small           a few minutes, into output/benchmarks/small/
    --jobs N          of the full run: cells at a time, one core each (default: all cores)
    quality [...]     only some rows; see `python run.py bench quality --help`
    parts [...]       only image to image: denoise below 1
    transfer          only solvers away from where they were searched
    cost | plots      only these
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from . import cost, parts, plots, quality, transfer
from .cells import WORK
from .loading import ROOT
from .report import write_table

SMALL = WORK / "small"
OTHERS = ("dss", "dss_published", "s4s", "s4s_alt", "dlms", "gits")
BUDGETS = ("quick", "standard", "thorough")
OURS = tuple(f"fit:{budget}" for budget in BUDGETS)
EVERY = tuple(f"{name}:{budget}" for name in OTHERS for budget in BUDGETS)
GOAL, WIDE = (5, 6, 8, 10), (4, 5, 6, 8, 10, 12)
Task = list[str]


def tasks(models: Sequence[str], cfgs: Sequence[float], calls: Sequence[int],
          methods: Sequence[str], *options: str) -> list[Task]:
    """Arguments of one quality run per cell."""
    return [["--models", model, "--cfg", f"{cfg:g}", "--calls", str(n), *options, "--methods",
             *methods] for model in models for cfg in cfgs for n in calls]


SLOW = [*tasks(["demo_eps"], (3, 1), GOAL[::-1], OURS),
        *tasks(["demo_eps"], (1,), (6,), [f"{name}:standard" for name in OTHERS],
               "--no-opponents")]
FAST = [*tasks(["demo_flow", "bench_wan"], (1, 3), WIDE, OURS, "--lists"),
        *tasks(["demo_flow"], (7,), (6, 8), OURS[2:]),
        *tasks(["demo_flow"], (1,), (6,), [*EVERY, "dlms_designer:thorough"], "--no-opponents"),
        *tasks(["demo_flow", "bench_wan"], (1, 3), GOAL, ["dss:thorough", "gits:thorough"],
               "--no-opponents"),
        *tasks(["demo_flow", "bench_wan"], (1, 3), (6, 8), ["s4s:thorough", "s4s_alt:thorough",
               "dlms:thorough"], "--no-opponents"),
        *tasks(["mixture_flow", "mixture_eps"], (1,), WIDE, OURS, "--lists"),
        *tasks(["mixture_flow", "mixture_eps"], (1,), (6,), [f"{n}:thorough" for n in OTHERS],
               "--no-opponents")]
FULL = [SLOW[0], *FAST, *SLOW[1:]]
TRANSFER = tasks(["demo_flow", "bench_wan", "demo_eps"], (1, 3), (6, 8), (), "--no-opponents",
                 "--transfer")
FEW = tasks(["demo_flow", "mixture_eps"], (1,), (6,), ["fit:quick", "gits:quick"],
            "--seeds", "64")


def main(arguments: list[str]) -> None:
    """Run what is asked for."""
    if arguments in (["-h"], ["--help"]):
        sys.exit(__doc__)
    match arguments:
        case []:
            everything(os.cpu_count() or 1)
        case ["--jobs", count] if count.isdigit() and int(count) > 0:
            everything(int(count))
        case ["--small"]:
            for task in FEW:
                quality.main(task, SMALL)
            cost.main(SMALL)
            plots.main(SMALL)
        case ["quality", *rest]:
            quality.main(rest)
        case ["parts", *rest]:
            parts.main(rest)
        case ["transfer"]:
            transfer.main()
        case ["cost"]:
            cost.main()
        case ["plots"]:
            plots.main()
        case _:
            sys.exit(f"{' '.join(arguments)} is not known.\n\n{__doc__}")


def everything(jobs: int) -> None:
    """Rows of all cells, several at a time; then what needs their searches, costs, plots."""
    with ThreadPoolExecutor(jobs) as pool:
        failed = [task for task, code in zip(FULL, pool.map(_alone, FULL), strict=True) if code]
    for task in TRANSFER:
        quality.main(task)
    write_table(quality.RESULTS)
    parts.main([])
    transfer.main()
    cost.main()
    plots.main()
    if failed:
        sys.exit("These cells failed: " + "; ".join(" ".join(task) for task in failed))


def _alone(task: Task) -> int:
    """One task in a process of its own, on one core; returns its exit code."""
    return subprocess.run([sys.executable, "-m", "benchmarks", "quality", *task], cwd=ROOT,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode


if __name__ == "__main__":
    main(sys.argv[1:])
