"""What a search will cost, told before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..solver_search.config import MethodInfo
from ..solver_search.search import Problem
from .comfy_bridge.memory import Held
from .comfy_bridge.session import Session

LONG = 30 * 60  # seconds: nobody waits for it
FEW = 3  # pictures that a call holds on the mean, however many it may: docs/performance.md
# Measured on small models: 1.09 of the error of a solver searched at full size, and 1.07 from a
# third of the side (benchmarks/results/small_large.md).
SMALLER = (". To have it sooner, search at half the width and height: that takes about a quarter "
           "of the time, and in our tests such solvers landed nearly as close at full size")


@dataclass(frozen=True)
class Estimate:
    """Cost of a search, from one timed model call.

    Args:
        calls: most model calls of the search itself.
        proof: most model calls of the measurement behind it.
        seconds: about how long both take.
        batch: pictures per call.
        memory: bytes beside the weights.
        gradient: whether the search differentiates through the model.
    """

    calls: int
    proof: int
    seconds: float
    batch: int
    memory: float
    gradient: bool

    @property
    def text(self) -> str:
        """For people, before the search starts."""
        many = "1 picture" if self.batch == 1 else f"{self.batch} pictures"
        how = ", learning by gradients" if self.gradient else ""
        return (f"about {duration(self.seconds)} and {size(self.memory)} of memory "
                f"beside the model ({self.calls + self.proof:,} model calls at most, {many} "
                f"at a time{how}){self.advice}")

    @property
    def advice(self) -> str:
        """How to have it sooner, where that is worth it; whoever shows it adds the full stop."""
        return SMALLER if self.seconds > LONG else ""


def duration(seconds: float) -> str:
    """For people: 40 seconds, 6 minutes, 1 h 20 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Of so many bytes, for people: less than 0.1 GB, 1.3 GB."""
    return f"{count / 2**30:.2g} GB" if count > 0.1 * 2**30 else "less than 0.1 GB"


def estimated(session: Session, problem: Problem, calls: int, proof: int,
              method: MethodInfo) -> Estimate:
    """Time a model call of this search.

    Args:
        session: with the model loaded.
        problem: what is searched.
        calls, proof: most model calls of the search, and of the measurement behind it.
        method: how it is searched.
    """
    x = problem.starts[: problem.batch]
    with Held() as held:
        seconds = _seconds_each(problem, x) * (calls * method.pace + proof)
    # what ComfyUI reserves is meant for GPUs: a processor takes .4 to 1.8 times as much
    taken = (held.most if session.device.type == "cpu"
             else session.activation_bytes(problem.batch))
    return Estimate(calls, proof, seconds, problem.batch, taken + 2 * x.nbytes, method.gradient)


def _seconds_each(problem: Problem, x: Tensor) -> float:
    """Of one picture, in a call of as many as most calls hold."""
    items, sigma, few = torch.arange(len(x)), torch.tensor(problem.sigma_max), slice(0, FEW)
    if len(x) > FEW:
        problem.denoise(x, sigma, items)  # whether memory is short is seen now
    problem.denoise(x[few], sigma, items[few])  # warms up
    begun = time.perf_counter()
    problem.denoise(x[few], sigma, items[few])  # its answer in main memory: the device is done
    return (time.perf_counter() - begun) / len(x[few])
