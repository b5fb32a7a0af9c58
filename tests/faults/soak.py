"""Hundreds of searches and samplings, sound and broken ones, with an eye on what grows."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .hurting import at, doing, since
from .runner import Fault, ended, look
from .stage import FLOW, NAME, Stage
from .table import LASTING, cancel
from .traces import open_files, tensors_alive

METHODS = ("fit", "dss", "s4s", "fit", "dlms")
POINTS = 10  # of the line
SETTLED = 0.3  # of the rounds: allocators and caches of torch and ComfyUI fill until then
RSS_GROWTH = 0.03  # of it: pages that the allocator keeps; a leak of one latent a round is more


class Point(NamedTuple):
    """What the process holds after so many rounds."""

    rounds: int
    megabytes: float
    tensors: int
    files: int
    threads: int

    def __str__(self) -> str:
        return (f"after {self.rounds:4} rounds: {self.megabytes:7.1f} MB, {self.tensors} tensors, "
                f"{self.files} files open, {self.threads} threads")


@dataclass(frozen=True)
class Line:
    """Points in the order of rounds."""

    points: tuple[Point, ...]

    def growth(self) -> list[str]:
        """What grows once everything has settled, in words."""
        last = self.points[-1]
        first = next(p for p in self.points if p.rounds >= SETTLED * last.rounds)
        found = [f"{name} grew from {a} to {b}" for name, a, b in zip(
            first._fields[2:], first[2:], last[2:], strict=True) if b > a]
        if last.megabytes > first.megabytes * (1 + RSS_GROWTH):
            found.append(f"memory grew from {first.megabytes:.1f} to {last.megabytes:.1f} MB")
        return found


def soak(stage: Stage, rounds: int) -> Line:
    """Search, use what was found, delete it; each round differently."""
    for number in range(len(METHODS)):  # what each method keeps for good is kept then
        _round(stage, number)
    points = [_point(0)]
    for number in range(rounds):
        _round(stage, number)
        if (number + 1) % max(1, rounds // POINTS) == 0:
            points.append(_point(number + 1))
            sys.stdout.write(f"{points[-1]}\n")
            sys.stdout.flush()
    return Line(tuple(points))


def _round(stage: Stage, number: int) -> None:
    model, method = stage.subjects[FLOW].model, METHODS[number % len(METHODS)]
    answer = {3: since(60, LASTING["NaN"][0]), 7: at(80, doing(cancel)),
              9: since(30, LASTING["too little memory"][0])}.get(number % 10)
    with _hurt(stage, answer):
        ending = ended(stage, Fault("", (), method=method, given={"seed": number}), model)
    if ending.preset is not None:
        used = stage.world.of("Use").execute(model, ending.preset).args[0]
        stage.picture(FLOW, used)
    stage.picture()
    for path in stage.folder.glob(f"{NAME}*"):
        path.unlink()
    stage.module("nodes.comfy_bridge.folders").shelf()


@contextlib.contextmanager
def _hurt(stage: Stage, answer: object) -> Iterator[None]:
    from .hurting import watched

    if answer is None:
        yield
        return
    with watched(stage.subjects[FLOW].model, lambda: look(stage), answer):
        yield


def _point(rounds: int) -> Point:
    tensors = tensors_alive()
    return Point(rounds, _megabytes(), tensors, open_files(), threading.active_count())


def _megabytes() -> float:
    """Resident memory."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return 0.0
    return int(statm.read_text().split()[1]) * 4096 / 2**20
