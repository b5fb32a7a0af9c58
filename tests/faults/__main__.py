"""python -m tests.faults: see the package."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from demo.comfyui import load_comfy

from ..fuzz.everything import everything
from ..world import opened
from .places import PLACES
from .runner import CANCELLED, HANDED_OUT, KILLED, RAISED, SENTENCE, Runner
from .soak import soak
from .stage import Stage, emptied, staged
from .table import all_faults


def main() -> int:
    """Exit code 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--only", default="", help="faults whose names hold this, nothing else")
    parser.add_argument("--soak", type=int, default=0, metavar="N",
                        help="N rounds of searching and sampling instead, memory watched")
    parser.add_argument("--inputs", type=int, default=100_000, help="of the fuzzer")
    parser.add_argument("--seed", type=int, default=7, help="of the fuzzer")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as place, on_stage(Path(place)) as stage:
        if options.soak:
            return _soaked(stage, options.soak)
        wrong += _faults(stage, options.only) + _places(stage, options.only)
        if not options.only:
            wrong += everything(options.inputs, options.seed, stage.world)
    return int(bool(wrong))


@contextlib.contextmanager
def on_stage(place: Path) -> Iterator[Stage]:
    """A ComfyUI in this process, its models and temporary files in `place`."""
    logging.disable(logging.WARNING)
    load_comfy("nodes")
    load_comfy("comfy.utils").set_progress_bar_enabled(False)
    import torch

    torch.set_num_threads(1)
    with opened(place) as world, staged(world) as stage:
        yield stage


def _faults(stage: Stage, only: str) -> int:
    runner, ends, wrong, lost = Runner(stage), Counter(), 0, 0
    for fault in all_faults():
        if only not in fault.name:
            continue
        ending, problems = runner.run(fault)
        ends[ending.kind] += 1
        wrong += bool(problems)
        lost += sum(line.startswith("lost: ") for line in problems)
        _tell(fault.name, problems)
    out = sum(ends[kind] for kind in HANDED_OUT)
    words = ends[SENTENCE] + ends[RAISED]
    people = ends[CANCELLED] + ends[KILLED]
    sys.stdout.write(
        f"faults: tried {ends.total()}, best handed out {out}, refused with a sentence {words}, "
        f"ended by people {people}, crashes {ends['crash']}, files lost {lost}, wrong {wrong}\n")
    return wrong


def _places(stage: Stage, only: str) -> int:
    wrong = tried = 0
    for place in PLACES:
        if only in place.name:
            emptied(stage)
            problems = place.run(stage)
            tried, wrong = tried + 1, wrong + bool(problems)
            _tell(place.name, problems)
    emptied(stage)
    sys.stdout.write(f"folders: tried {tried}, wrong {wrong}\n")
    return wrong


def _soaked(stage: Stage, rounds: int) -> int:
    growth = soak(stage, rounds).growth()
    sys.stdout.write("".join(f"WRONG  {line}\n" for line in growth) or "flat\n")
    return int(bool(growth))


def _tell(name: str, problems: list[str]) -> None:
    lines = "".join(f"WRONG  {name}: {line}\n" for line in problems)
    sys.stdout.write(lines or f"ok     {name}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
