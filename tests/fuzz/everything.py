"""All fuzzers in turn, with what each found."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from .campaign import Counts, archives, campaign, ledgers, names

SHARES = {"files": 0.698, "names": 0.15, "ledgers": 0.1, "archives": 0.02, "requests": 0.02,
          "journals": 0.002, "hypothesis": 0.01}


def everything(inputs: int, seed: int, world: Any = None) -> int:  # noqa: ANN401
    """Prints a line for each kind of input, and every kind of crash with its first input.

    Args:
        inputs: how many in all.
        seed: of all choices.
        world: the pack as ComfyUI loaded it, for requests and journals; None: there are none.

    Returns:
        How many kinds of crash there were.
    """
    kinds: dict[str, Callable[[int], Counts]] = {
        "files": lambda count: campaign(count, seed),
        "names": lambda count: names(count, seed),
        "ledgers": lambda count: ledgers(count, seed),
        "archives": lambda count: archives(count, seed),
    }
    if world is not None:
        from .journals import journals
        from .requests import requests

        kinds["requests"] = lambda count: requests(world, count, seed)
        kinds["journals"] = lambda count: journals(count, seed)
    kinds["hypothesis"] = _properties
    crashes = tried = refused = 0
    whole = sum(SHARES[name] for name in kinds)
    for name, run in kinds.items():
        counts = run(math.ceil(inputs * SHARES[name] / whole))
        crashes, tried = crashes + len(counts.crashes), tried + counts.tried
        refused += counts.refused
        sys.stdout.write(f"{name}: {counts}\n")
        sys.stdout.flush()
    sys.stdout.write(f"fuzz: tried {tried}, refused with a sentence {refused}, kinds of crash "
                     f"{crashes}\n")
    return crashes


def _properties(count: int) -> Counts:
    from .properties import properties

    return properties(math.ceil(count / 3))
