"""What a search will cost, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass

LONG = 30 * 60  # seconds: nobody waits for it
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
        how = ", learning by gradients" if self.gradient else ""
        return (f"about {duration(self.seconds)} and {self.memory / 2**30:.2g} GB of memory "
                f"beside the model ({self.calls + self.proof:,} model calls at most, {self.batch} "
                f"pictures at a time{how}){self.advice}")

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
