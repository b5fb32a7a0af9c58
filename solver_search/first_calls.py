"""The model's answers where every solver begins, so that each is asked for once.

A teacher, a ready-made solver and fitted rows all begin at x[0] = a start and ask for
D(x[0], sigma_max): the same call whatever the schedule. Of a solver of N calls that is one in N.
Only solvers that tell the model another noise level in their first call ask anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .records import Values
from .search import Problem

MOST_BYTES = 2**31  # of main memory; with larger latents the calls are made again


@dataclass(frozen=True)
class FirstCalls:
    """Answers at the starts.

    Args:
        starts: (S, C, ...) states at sigma_max.
        sigma: 0-d, of the starts' dtype.
        denoised: (S, C, ...); with several ranks those of this rank's starts.
        added: (S, C, ...) what guidance added, where that is known.
    """

    starts: Tensor
    sigma: Tensor
    denoised: Tensor
    added: Tensor | None

    def answer(self, x: Tensor, sigma: Tensor,
               items: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """What the model says and what guidance added; None: it must be asked.

        Args:
            x: (B, C, ...) states.
            sigma: 0-d or (B,) told to the model.
            items: (B,) which starts they belong to.
        """
        learned = x.requires_grad or sigma.requires_grad
        if learned or not (sigma.to(self.sigma.dtype) == self.sigma).all():
            return None
        if not torch.equal(x, self.starts[items]):
            return None
        return self.denoised[items], None if self.added is None else self.added[items]


def first_calls(problem: Problem, ask: Callable[[Tensor, Tensor], Values]) -> FirstCalls | None:
    """Ask the model at all starts.

    Args:
        problem: what is searched.
        ask: given some starts' numbers and the noise level, asks the model and returns `items`,
            those that it was asked for, `denoised`, and `added` where that is known.

    Returns:
        None where answers are too large to be kept, or features of each call are read.
    """
    starts = problem.starts
    if problem.feature is not None or 2 * starts.nbytes > MOST_BYTES:
        return None
    sigma = torch.tensor(problem.sigma_max).to(starts)
    found = [ask(part, sigma) for part in torch.arange(len(starts)).split(problem.batch)]
    added = all("added" in known for known in found)
    return FirstCalls(starts, sigma, _placed(starts, found, "denoised"),
                      _placed(starts, found, "added") if added else None)


def _placed(starts: Tensor, found: list[Values], name: str) -> Tensor:
    """(S, C, ...) answers in the order of the starts."""
    whole = torch.zeros_like(starts)
    for known in found:
        whole[known["items"]] = known[name].to(whole)
    return whole
