"""The numbers that a refinement may change, one by one, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..parameters import Parameters, Space


@dataclass(frozen=True)
class Coordinate:
    """One number a refinement may change.

    Args:
        kind: progress, row, start or scale.
        index: which one.
        call: first model call whose input it changes.
        limit: most it may move in one step.
        step: finite-difference step.
    """

    kind: str
    index: tuple[int, ...]
    call: int
    limit: float
    step: float


def coordinates(raw: Parameters, difference: float) -> list[Coordinate]:
    """All numbers of a solver that move, in the order of the calls they first touch."""
    count, free = len(raw.steps), raw.start is not None
    gaps = _progress(raw).diff()
    found = []
    for k in range(1, count):
        gap = float(min(gaps[k - 1], gaps[k]))
        found.append(Coordinate("progress", (k,), k, 0.4 * gap, 5 * difference * gap))
    for n in range(count):
        last = n + 1 if free else n
        found += [Coordinate("row", (n, j), n + 1, 1.0, difference) for j in range(last)]
        if free and n + 1 < count:
            found.append(Coordinate("start", (n,), n + 1, 0.2, difference))
        if raw.scales is not None:
            found.append(Coordinate("scale", (n,), n, 0.4, difference))
    return sorted(found, key=lambda c: c.call)


def linearisation_calls(steps: int) -> int:
    """Model calls that linearising one start costs with all numbers free: its own run, noise
    levels, those told to the model, rows and their sums."""
    rows = sum((n + 1) * (steps - 1 - n) for n in range(steps))
    sums = steps * (steps - 1) // 2
    return steps + steps ** 2 + sums + rows


def moved(raw: Parameters, space: Space, along: list[Coordinate], change: Tensor) -> Parameters:
    """Raw numbers after adding `change` to the given coordinates (progress: not its logits)."""
    progress = space.clock.progress(space.clock.sigma(_progress(raw)))
    tensors = {kind: None if t is None else t.clone()
               for kind, t in {**_tensors(raw), "progress": progress}.items()}
    for coordinate, delta in zip(along, change.tolist(), strict=True):
        tensors[coordinate.kind][coordinate.index] += delta
    steps = tensors["progress"].diff().clamp_min(1e-9).log()
    return Parameters(steps, tensors["row"], tensors["start"], tensors["scale"],
                      raw.beside)


def values(raw: Parameters, along: list[Coordinate]) -> Tensor:
    """(P,) the coordinates' present values."""
    tensors = _tensors(raw)
    return torch.stack([tensors[c.kind][c.index] for c in along])


def _tensors(raw: Parameters) -> dict[str, Tensor | None]:
    return {"row": raw.rows, "start": raw.start, "scale": raw.scales,
            "progress": _progress(raw)}


def _progress(raw: Parameters) -> Tensor:
    gaps = raw.steps.softmax(0)
    return torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0)[:-1],
                      torch.ones(1, dtype=torch.float64)])
