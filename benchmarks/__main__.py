"""`python run.py bench`: every benchmark, into benchmarks/results/ (hours on two cores).

    --small           a few minutes, into output/benchmarks/small/
    quality [...]     only some rows; see `python run.py bench quality --help`
    parts [...]       only image to image: denoise below 1
    transfer          only solvers away from where they were searched
    cost | plots      only these
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import cost, parts, plots, quality, transfer
from .cells import WORK

SMALL = WORK / "small"
OTHERS = ["dss", "dss_published", "s4s", "s4s_alt", "dlms", "gits"]
BUDGETS = ["quick", "standard", "thorough"]
OURS = [f"fit:{budget}" for budget in BUDGETS]
FULL = [
    ["--models", "demo_flow", "bench_wan", "--cfg", "1", "3", "7", "--calls", "4", "5", "6", "8",
     "10", "12", "--lists", "--transfer", "--methods", *OURS],
    ["--models", "demo_flow", "--cfg", "1", "3", "--calls", "6", "8", "--no-opponents",
     "--methods", *[f"{name}:{budget}" for name in OTHERS for budget in BUDGETS]],
    ["--models", "mixture_flow", "mixture_eps", "--cfg", "1", "--calls", "4", "5", "6", "8", "10",
     "12", "--lists", "--methods", *OURS, *[f"{name}:thorough" for name in OTHERS]],
    ["--models", "demo_eps", "--cfg", "1", "3", "--calls", "5", "6", "8", "10", "--methods",
     *OURS],
    ["--models", "demo_eps", "--cfg", "1", "--calls", "6", "--no-opponents", "--methods",
     *[f"{name}:standard" for name in OTHERS]],
]


def main(arguments: list[str]) -> None:
    """Run what is asked for."""
    if arguments in (["-h"], ["--help"]):
        sys.exit(__doc__)
    match arguments:
        case []:
            everything(FULL, quality.RESULTS)
        case ["--small"]:
            everything([["--models", "demo_flow", "mixture_eps", "--cfg", "1", "--calls", "6",
                         "--seeds", "64", "--methods", "fit:quick", "gits:quick"]], SMALL)
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


def everything(plans: list[list[str]], results: Path) -> None:
    """Rows of all plans, costs, plots."""
    for plan in plans:
        quality.main(plan, results)
    if results == quality.RESULTS:  # needs the searches of the full run
        parts.main([], results)
        transfer.main(results)
    cost.main(results)
    plots.main(results)


if __name__ == "__main__":
    main(sys.argv[1:])
