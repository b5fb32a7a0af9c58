"""What the full run and `--all` measure: arguments of one quality run per cell, slow ones first.

Both together make every row of results/quality.json (tests/test_benchmarks.py compares them).
"""

from __future__ import annotations

from collections.abc import Sequence

Task = list[str]
BUDGETS = ("quick", "standard", "thorough")
OTHERS = ("dss", "dss_published", "s4s", "s4s_alt", "dlms", "gits")
GOAL, WIDE = (4, 5, 6, 8, 10), (4, 5, 6, 8, 10, 12)
SCALES = (3, 1, 7)  # CFG
TRANSFORMERS, MIXTURES = ("demo_flow", "bench_wan"), ("mixture_flow", "mixture_eps")
FAST = (*TRANSFORMERS, *MIXTURES)  # a model call takes about 1 ms; on demo_eps 10


def cells(models: Sequence[str], cfgs: Sequence[float], calls: Sequence[int],
          methods: Sequence[str], *options: str) -> list[Task]:
    """Tasks of these cells."""
    return [["--models", model, "--cfg", f"{cfg:g}", "--calls", str(n), *options, "--methods",
             *methods] for model in models for cfg in cfgs for n in calls]


def at(methods: Sequence[str], *budgets: str) -> list[str]:
    """method:budget of each."""
    return [f"{name}:{budget}" for name in methods for budget in budgets]


def others(models: Sequence[str], cfgs: Sequence[float], calls: Sequence[int],
           methods: Sequence[str]) -> list[Task]:
    """Tasks of other methods; the built-in settings are measured with the default."""
    return cells(models, cfgs, calls, methods, "--no-opponents")


OURS = at(["fit"], *BUDGETS)
FULL = [*cells(["demo_eps", "bench_icons"], SCALES, GOAL[::-1], OURS),
        *cells(TRANSFORMERS, SCALES, GOAL, OURS),
        *cells(MIXTURES, (1,), GOAL, OURS),
        *others(["demo_flow"], (1,), (6,), at(OTHERS, *BUDGETS))]
REST = [*cells(["demo_eps", "bench_icons"], (3, 1), (12,), OURS),
        *others(["demo_eps"], (1, 3), GOAL, at(OTHERS, "quick", "standard")),
        *others(["demo_eps"], (1,), (6, 8, 10), at(["dss"], "thorough")),
        *others(["demo_eps"], (3,), (6, 8), at(["dss"], "thorough")),
        *others(["demo_eps"], (1, 3), (6, 8), at(["s4s", "s4s_alt", "dlms"], "thorough")),
        *cells(TRANSFORMERS, (3, 1), (12,), OURS),
        *cells(MIXTURES, (1,), (12,), OURS),
        *others(FAST, (1,), WIDE, at(OTHERS, "quick", "standard")),
        *others(FAST, (1,), (6, 8), at(OTHERS, "thorough")),
        *others(TRANSFORMERS, (3,), GOAL, at(OTHERS, "quick", "standard")),
        *others(TRANSFORMERS, (3,), (5, 6, 8), at(["dss", "gits"], "thorough")),
        *others(TRANSFORMERS, (3,), (6, 8), at(["s4s", "s4s_alt", "dlms"], "thorough")),
        *others(["demo_flow"], (1,), (6,), at(["dlms_designer"], *BUDGETS))]
NODE_ONLY = cells([*TRANSFORMERS, "demo_eps"], (1, 3), GOAL, (), "--no-opponents", "--node-only")
TRANSFER = cells(["demo_flow", "bench_wan"], (1, 3, 7), (6, 8), (), "--no-opponents", "--transfer")
FEW = cells(["demo_flow", "mixture_eps"], (1,), (6,), ["fit:quick", "gits:quick"],
            "--seeds", "64")
