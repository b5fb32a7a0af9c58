"""The records of a search that several processes share: rank 0 has the journal and tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..solver_search.ranks import Ranks
from ..solver_search.records import Meter, Records, State, Values
from ..solver_search.search import GradientError, SearchStopped
from .journals import OtherSearch

MAKE, GIVEN, NO_GRADIENT, ENDED, OTHER = range(5)


class Together(Records):
    """Records on every rank.

    Args:
        ranks: those who share the search.
        journal: of rank 0; others have plain Records.
    """

    def __init__(self, ranks: Ranks, journal: Records) -> None:
        self.ranks, self.journal = ranks, journal
        self.inside = False

    def kept(self, name: str, make: Callable[[], Values], meter: Meter | None = None,
             about: Iterable[Tensor] = (), *, own: bool = False) -> Values:
        """See Records."""
        if self.inside:
            return make()
        self.inside = True
        try:
            if self.ranks.rank == 0:
                return self._first(name, make, meter or self.meter, about, own)
            return self._other(make, meter or self.meter)
        finally:
            self.inside = False

    def broken(self, error: Exception, meter: Meter) -> None:
        """See Records."""
        self.journal.broken(error, meter)

    def _first(self, name: str, make: Callable[[], Values], meter: Meter | None,
               about: Iterable[Tensor], own: bool) -> Values:
        made = []

        def telling() -> Values:
            made.append(self.ranks.told(MAKE))
            return make()

        try:
            values = self.journal.kept(name, telling, meter, about, own=own)
        except (GradientError, SearchStopped, OtherSearch) as error:
            if not made:
                self.ranks.told(_code(error))
            raise
        if not made:
            self.ranks.told(GIVEN)
            self.ranks.shared(values)
            self._state({} if meter is None else meter.state())
        return values

    def _other(self, make: Callable[[], Values], meter: Meter | None) -> Values:
        code = self.ranks.told(0)
        if code == MAKE:
            return make()
        if code == OTHER:
            raise OtherSearch("another rank has seen it")
        values = self.ranks.shared({}) if code == GIVEN else {}
        if code == NO_GRADIENT:
            raise GradientError("this model has no gradient, as was seen before")
        if code == ENDED:
            raise SearchStopped("budget of model calls is spent")
        state = self._state({})
        if meter is not None:
            meter.restore(state)
        return values

    def _state(self, state: State) -> State:
        """What rank 0 has."""
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()}
        return {name: float(value) for name, value in self.ranks.shared(values).items()}


def _code(error: BaseException) -> int:
    if isinstance(error, OtherSearch):
        return OTHER
    return NO_GRADIENT if isinstance(error, GradientError) else ENDED
