"""The processes that share one search, each with a card of its own.

Starts are dealt: each belongs to the rank that its number leaves as a remainder. A rank runs the
model on its own starts; what all need is gathered: inner products, gradients of a few dozen
numbers, distances per start, and finished pictures where these are compared with each other. All
then take the same decisions from the same numbers. Whole trajectories are never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, distributed

from .search import STOPPED, GradientError, SearchError, SearchStopped, is_autograd

T = TypeVar("T")
FAILURES = (Exception,)  # of a model, which is other people's code
FINE, STOP, NO_GRADIENT, FAILED = range(4)
LOST = ("another process of this search was lost ({}). What was found until then is kept; start "
        "it again, with as many processes as there are, and it goes on from its journal.")


class RankLost(SearchError):
    """Another process of the search is gone."""


class Ranks:
    """One process alone."""

    size = 1
    rank = 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def own(self, items: Tensor) -> Tensor:
        """Those starts that this rank runs."""
        return items

    def gathered(self, rows: Tensor, items: Tensor) -> Tensor:
        """(len(items), ...) from the rows that each rank has of its own."""
        return rows

    def summed(self, value: Tensor) -> Tensor:
        """Sum over all ranks."""
        return value

    def together(self, work: Callable[[], T]) -> T:
        """Do it everywhere; where it fails on one rank it fails on all."""
        return work()

    def alike(self, work: Callable[[], T]) -> T:
        """As together; but of several ranks all then raise a SearchError, whatever one raised,
        so that what handles it does the same everywhere."""
        return work()

    def told(self, number: int) -> int:
        """What rank 0 says."""
        return number

    def shared(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What rank 0 has; what others give says nothing."""
        return dict(values)


ALONE = Ranks()


class Group(Ranks):
    """The processes of torch.distributed's default group, which has begun.

    Raises:
        RankLost: in all methods, when another one is.
    """

    def __init__(self) -> None:
        self.size, self.rank = distributed.get_world_size(), distributed.get_rank()
        backend = distributed.get_backend()
        self.device = torch.device("cuda" if backend == "nccl" else "cpu")

    def own(self, items: Tensor) -> Tensor:
        """See Ranks."""
        return items[items % self.size == self.rank]

    def gathered(self, rows: Tensor, items: Tensor) -> Tensor:
        """See Ranks."""
        whose = items % self.size
        counts = [int((whose == rank).sum()) for rank in range(self.size)]
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [part[:count] for part, count in zip(self._all(padded), counts, strict=True)]
        order = torch.cat([(whose == rank).nonzero().flatten() for rank in range(self.size)])
        return torch.cat(parts)[order.argsort().to(rows.device)]

    def summed(self, value: Tensor) -> Tensor:
        """See Ranks; added in the same order everywhere, so that all have the same bits."""
        return torch.stack(self._all(value)).sum(0)

    def together(self, work: Callable[[], T]) -> T:
        """See Ranks."""
        found, error = None, None
        try:
            found = work()
        except FAILURES as raised:
            error = raised
        worst = max(int(code) for code in self._all(torch.tensor([_code(error)])))
        if error is not None and _code(error) == worst:
            raise error
        if worst == STOP:
            raise SearchStopped(STOPPED)
        if worst == NO_GRADIENT:
            raise GradientError("this model cannot be differentiated, as another process of this "
                                "search has seen.")
        if worst == FAILED:
            raise SearchError("the model failed in another process of this search; its log says "
                              "how.")
        return found

    def alike(self, work: Callable[[], T]) -> T:
        """See Ranks."""
        def guarded() -> T:
            try:
                return work()
            except SearchStopped:
                raise
            except FAILURES as error:
                raise SearchError(f"{type(error).__name__}: {error}") from error

        return self.together(guarded)

    def told(self, number: int) -> int:
        """See Ranks."""
        return int(self._all(torch.tensor([number]))[0])

    def shared(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See Ranks."""
        names = self._text("\n".join(f"{name} {str(t.dtype)[6:]} {','.join(map(str, t.shape))}"
                                     for name, t in values.items()))
        found = {}
        for line in names.splitlines():
            name, kind, shape = line.split(" ")
            empty = torch.zeros([int(n) for n in shape.split(",") if n],
                                dtype=getattr(torch, kind))
            found[name] = self._from_first(values[name] if self.rank == 0 else empty)
        return found

    def _text(self, text: str) -> str:
        data = torch.tensor(list(text.encode()), dtype=torch.uint8)
        size = self.told(len(data))
        whole = data if self.rank == 0 else torch.zeros(size, dtype=torch.uint8)
        return bytes(self._from_first(whole).tolist()).decode()

    def _from_first(self, value: Tensor) -> Tensor:
        flat = value.contiguous().reshape(-1).view(torch.uint8).to(self.device)
        self._safely(lambda: distributed.broadcast(flat, 0))
        return flat.cpu().view(value.dtype).reshape(value.shape)

    def _all(self, value: Tensor) -> list[Tensor]:
        """The same from each rank, bit by bit."""
        flat = value.detach().contiguous().reshape(-1).view(torch.uint8).to(self.device)
        found = [torch.empty_like(flat) for _ in range(self.size)]
        if flat.numel():
            self._safely(lambda: distributed.all_gather(found, flat))
        return [part.to(value.device).view(value.dtype).reshape(value.shape) for part in found]

    def _safely(self, talk: Callable[[], object]) -> None:
        try:
            talk()
        except RuntimeError as error:
            raise RankLost(LOST.format(str(error).split("\n")[0][:80])) from error


def _code(error: Exception | None) -> int:
    if error is None:
        return FINE
    if isinstance(error, SearchStopped):
        return STOP
    short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    gradient = isinstance(error, RuntimeError) and is_autograd(error)
    return NO_GRADIENT if short or gradient else FAILED
