"""Model calls of one search: counted, bounded, and never made twice at the starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .first_calls import FirstCalls, first_calls
from .ranks import ALONE, Ranks
from .records import Records, State, Values
from .sample import Denoise
from .search import STOPPED, Budget, Problem, SearchError, SearchStopped

SPENT = "budget of {:g} model calls is spent"


@dataclass
class Calls:
    """The problem's denoise, with all that may end or spare a call.

    Args:
        problem: what is searched.
        budget: when to stop.
        stop: asked before every model call; true ends the search.
        on_call: told the model calls spent, after each.
        model_calls: that were made.
        added: what guidance added in the newest one.
        first: what the model answers at the starts, asked once; see begin().
        records: what was found out before, by a search that was ended; see records.py.
        ranks: the processes that share the search.
    """

    problem: Problem
    budget: Budget = field(default_factory=Budget)
    stop: Callable[[], bool] = lambda: False
    on_call: Callable[[int], None] = lambda calls: None
    model_calls: int = 0
    added: Tensor | None = None
    first: FirstCalls | None = None
    records: Records = field(default_factory=Records)
    ranks: Ranks = ALONE
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Wall time of the search, until now or until it ended."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def comfort(self) -> str:
        """What is said behind the model's failure."""
        return ""

    def begin(self) -> None:
        """Ask the model at all starts, unless that is known."""
        self.first = self.first or first_calls(self.problem, self._asked)

    def end(self) -> None:
        """No call is made any more."""
        self.ended = time.monotonic()

    def call(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        """The problem's denoise in batches, counted.

        Raises:
            SearchStopped: when the budget is spent or a stop was asked for.
            SearchError: when the model returns NaN or infinity.
        """
        size = self.problem.batch
        if not len(x):  # all of these starts are another rank's
            self.added = torch.zeros_like(x)
            return torch.zeros_like(x)
        known = None if self.first is None else self.first.answer(x, sigma, items)
        if known is not None:
            denoised, self.added = known
            return denoised
        if len(x) > size:
            sigma = sigma.expand(len(x))
            parts, added = [], []
            for i in range(0, len(x), size):
                parts.append(self.call(x[i:i + size], sigma[i:i + size], items[i:i + size]))
                added += [] if self.added is None else [self.added]
            self.added = torch.cat(added) if len(added) == len(parts) else None
            return torch.cat(parts)
        self._check(len(x))
        self.model_calls += len(x)
        denoised = self.problem.denoise(x, sigma, items)
        self.added = self.problem.guidance()
        self.on_call(self.model_calls)
        if not torch.isfinite(denoised.detach()).all():
            raise SearchError("the model returned NaN or infinity at sigma "
                              f"{float(sigma.detach().reshape(-1)[0]):.4g}.{self.comfort} Try a "
                              "higher precision for the model.")
        return denoised

    def denoise(self, items: Tensor) -> Denoise:
        """The counted denoiser of given starts."""
        return lambda x, sigma: self.call(x, sigma, items)

    def _asked(self, items: Tensor, sigma: Tensor) -> Values:
        """The model's answers at this rank's of some starts; see first_calls()."""
        def made() -> Values:
            own = self.ranks.own(items)
            denoised = self.ranks.together(lambda: self.call(self.problem.starts[own], sigma, own))
            added = {} if self.added is None else {"added": self.added}
            return {"items": own, "denoised": denoised, **added}

        return self.kept("first calls", made, own=True)

    @property
    def guided(self) -> bool:
        """Whether guidance added anything in the newest call."""
        return self.added is not None and bool(self.added.any())

    def kept(self, name: str, make: Callable[[], Values],
             about: Iterable[Tensor] = (), *, own: bool = False) -> Values:
        """What an operation with model calls answers; see Records."""
        counted = make if self.ranks.alone else lambda: self._counted(make)
        return self.records.kept(name, counted, self, about, own=own and not self.ranks.alone)

    def _counted(self, make: Callable[[], Values]) -> Values:
        """What all ranks spend counts; a budget ends an operation that it would have ended."""
        before = self.model_calls
        values = make()
        spent = torch.tensor([self.model_calls - before, int(self.guided)])
        calls, guided = self.ranks.summed(spent).tolist()
        most, self.model_calls = self.budget.model_calls, before + calls
        self.added = torch.full((1,), float(guided > 0))
        self.on_call(self.model_calls)
        if self.model_calls > most:
            self.model_calls = int(most)
            raise SearchStopped(SPENT.format(most))
        return values

    def agree(self) -> None:
        """After an operation that failed, all ranks count what rank 0 has counted."""
        self.model_calls = self.ranks.told(self.model_calls)

    def state(self) -> State:
        """See Meter."""
        return {"steps": self.problem.steps, "calls": self.model_calls, "seconds": self.seconds,
                "guided": float(self.guided)}

    def restore(self, state: State) -> None:
        """See Meter."""
        self.model_calls = int(state["calls"])
        self.started = time.monotonic() - state["seconds"]
        self.added = torch.full((1,), state["guided"])
        self.on_call(self.model_calls)

    def _check(self, calls: int) -> None:
        if self.stop():
            raise SearchStopped(STOPPED)
        if not self.ranks.alone:
            return  # what is spent is counted together, operation by operation
        if self.model_calls + calls > self.budget.model_calls:
            raise SearchStopped(SPENT.format(self.budget.model_calls))
        if self.seconds > self.budget.seconds:
            raise SearchStopped(f"budget of {self.budget.seconds:g} seconds is spent")
