"""What a search has found out so far, operation by operation, so that it can go on where it ended.

A search is a function of its setting and of what a few operations with model calls answer:
trajectories of the teacher, errors on some starts, fitted rows, one linearisation, one gradient.
All between them is arithmetic on small numbers, the same each time. So whoever keeps the answers
in their order and gives them back brings a search to where it was, without a model call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from torch import Tensor

Values = Mapping[str, Tensor]
State = Mapping[str, float]


class Meter(Protocol):
    """Who counts what operations spend."""

    def state(self) -> State:
        """What was spent until now."""
        ...

    def restore(self, state: State) -> None:
        """Go on from what was spent."""
        ...


class Records:
    """Keeps nothing: each operation is done when it is asked for.

    `meter` counts what operations spend that have none of their own.
    """

    meter: Meter | None = None

    def kept(self, name: str, make: Callable[[], Values], meter: Meter | None = None,
             about: Iterable[Tensor] = (), *, own: bool = False) -> Values:
        """What an operation answers: the next record if there is one, else made and recorded.

        Args:
            name: of the operation; the same search asks in the same order.
            make: does it; what it asks for itself is part of its answer.
            meter: counts what it spends; None: nobody does.
            about: numbers that it depends on, to see that a record is of this search.
            own: the answer is that of one of several processes, of no use alone: it is made again.
        """
        return make()

    def broken(self, error: Exception, meter: Meter) -> None:
        """An operation was not done, and the search has dealt with that: nor shall it be when
        the search goes on.

        Args:
            error: SearchStopped by a budget, or GradientError.
        """
