"""What the methods that descend a gradient share: batches, rates, and checks of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ..gradient import recomputed
from ..parameters import Parameters, Space, to_solver
from ..ranks import ALONE, Ranks
from ..records import Values
from ..run import Run
from ..sample import sample
from ..search import GradientError, SearchError, is_autograd
from ..solver import Solver

# 16-bit models need long steps; a network that oscillates in time needs short ones.
SPOT_CHECK_STEPS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
BESIDE = 3e-3  # of a raw number: about half a model time (160 per unit of ln sigma)
SPOT_CHECK_TOLERANCE = 0.05  # the best step agrees to about 2 % in float32 (tiny random SD3)

CHECKED = 2  # starts of a spot check
RECOMPUTED = 2  # model calls of a pass: forward, and once more in the backward pass
OFFERS_SHARE = 0.2  # of the budget, for measuring iterates on held-out starts


@dataclass(frozen=True)
class DescentSettings:
    """What every descent has.

    Args:
        iterations: most optimiser steps; a budget may end them sooner.
        batch: starts per iteration.
        seed: order of the starts.
        offers: how often, at most, the iterate is measured on held-out starts.
        known: share of the budget for the choice of a start among all handcrafted tables and
            schedules (known.py); 0 begins as the method's paper does.
    """

    iterations: int = 400
    batch: int = 8
    seed: int = 0
    offers: int = 20
    known: float = 0.0


Settings = TypeVar("Settings", bound=DescentSettings)


class LossOf(Protocol):
    """Loss of raw numbers on given starts; targets at the sigmas of `met`, or of the solver."""

    def __call__(self, raw: Parameters, items: Tensor, met: Solver | None = None) -> Tensor:
        """See the class."""
        ...


def batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches of start indices, every start once per round."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).split(size)


def within_budget(run: Run, settings: Settings, passes: int, phases: int = 1) -> Settings:
    """The same settings with the iterations and offers that the rest of the budget pays for;
    learning begins.

    Args:
        passes: model calls that an iteration makes per start and sampling step, those of
            recomputed passes included (a backward pass itself is not counted).
        phases: each ends with an offer of its own and needs one iteration.
    """
    run.stage = "learn"
    left = run.budget.model_calls - run.model_calls
    if math.isinf(left):
        return settings
    each = run.problem.fit / math.ceil(run.problem.fit / settings.batch)  # starts, on average
    measured = len(run.held_out) * run.problem.steps
    offers = max(1, min(settings.offers, int(OFFERS_SHARE * left / measured) - phases))
    paid = (left - (offers + phases) * measured) / (each * run.problem.steps * passes)
    return replace(settings, iterations=max(phases, min(settings.iterations, int(paid))),
                   offers=offers)


def due(settings: DescentSettings, iteration: int) -> bool:
    """Whether the iterate is measured after this iteration, as after the last."""
    every = math.ceil(settings.iterations / settings.offers)
    return iteration % every == 0 or iteration == settings.iterations


def cosine(rate: float, iteration: int, iterations: int) -> float:
    """A rate that falls to 0 by half a cosine."""
    return rate * (1 + math.cos(math.pi * iteration / iterations)) / 2


def check_finite(loss: Tensor, iteration: int) -> None:
    """Stop at the first loss that is no number.

    Raises:
        SearchError: naming the iteration.
    """
    if not torch.isfinite(loss.detach()):
        raise SearchError(f"the loss became NaN at iteration {iteration}; the best solver before "
                          "it is kept. Lower the learning rate or raise the model's precision.")


def end_loss(run: Run, space: Space) -> LossOf:
    """Mean squared relative error of the end points, through all model calls."""
    @torch.enable_grad()
    def loss(raw: Parameters, items: Tensor, met: Solver | None = None) -> Tensor:
        end = sample(recomputed(run.denoise(items)), to_solver(raw, space),
                     run.problem.starts[items])
        return relative_square(end, run.reference_of(items))
    return loss


def relative_square(end: Tensor, target: Tensor) -> Tensor:
    """Mean over starts of |end - target|^2 / |target|^2."""
    return ((end - target).flatten(1).square().sum(1) / target.flatten(1).square().sum(1)).mean()


def checked_gradient(run: Run, loss_of: LossOf, raw: Parameters, items: Tensor,
                     met: Solver) -> None:
    """spot_check(), once in a search that goes on."""
    def made() -> Values:
        spot_check(loss_of, raw, items, met, run.ranks)
        return {}

    run.kept("gradient checked", made, raw.tensors())


def gradient_of(run: Run, loss_of: Callable[[Tensor], Tensor], tensors: Sequence[Tensor],
                items: Tensor) -> list[Tensor]:
    """Gradient of a mean over starts, from what each rank finds on its own."""
    return _dealt(run.ranks, loss_of, tensors, items)


def _dealt(ranks: Ranks, loss_of: Callable[[Tensor], Tensor], tensors: Sequence[Tensor],
           items: Tensor) -> list[Tensor]:
    own = ranks.own(items)

    def mine() -> list[Tensor]:
        if not len(own):
            return [torch.zeros_like(t) for t in tensors]
        share = len(own) / len(items)
        return [share * g for g in torch.autograd.grad(loss_of(own), tensors)]

    return [ranks.summed(gradient) for gradient in ranks.together(mine)]


def spot_check(loss_of: LossOf, raw: Parameters, items: Tensor, met: Solver,
               ranks: Ranks = ALONE) -> None:
    """Compare the gradient with central differences, one random uphill direction per raw tensor.

    Some networks drop part of a gradient without an error (in-place edits, fused kernels). Uphill,
    since across the gradient there is only noise to compare. Targets stay where they are, as in
    the search, where no gradient flows through them. It is done a little beside `raw`: searches
    begin at a discrete model's own times, where its time as a function of sigma has a kink and
    central differences say the mean of both sides.

    Args:
        items: a few of them are checked.
        met: where targets are taken.
        ranks: who share the starts.

    Raises:
        GradientError: if they differ or there is no gradient.
    """
    items = items[:CHECKED]
    generator = torch.Generator().manual_seed(1)
    tensors = [(t.detach() + BESIDE * torch.randn(t.shape, generator=generator, dtype=t.dtype))
               .requires_grad_() for t in raw.tensors()]
    gradients = _gradients(loss_of, raw, tensors, items, met, ranks)
    for i, gradient in enumerate(gradients):
        along = [torch.zeros_like(t) for t in tensors]
        sizes = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype).abs()
        along[i] = torch.where(gradient < 0, -sizes, sizes)
        slope = float((gradient * along[i]).sum())
        measured = []
        for step in SPOT_CHECK_STEPS:
            measured.append(_slope(lambda there: _mean(ranks, loss_of, raw.with_tensors(there),
                                                       items, met), tensors, along, step))
            if abs(slope - measured[-1]) <= SPOT_CHECK_TOLERANCE * abs(measured[-1]) + 1e-9:
                break
        else:
            raise GradientError(
                f"this model's gradient is wrong: along a test direction it says {slope:.4g}, "
                f"finite differences say {min(measured, key=lambda m: abs(m - slope)):.4g}. Use "
                "the method 'fit', which needs no gradient.")


def _gradients(loss_of: LossOf, raw: Parameters, tensors: list[Tensor], items: Tensor,
               met: Solver, ranks: Ranks) -> list[Tensor]:
    """Gradient of the loss; networks with kernels of their own may have none."""
    try:
        return _dealt(ranks, lambda own: loss_of(raw.with_tensors(tensors), own, met), tensors,
                      items)
    except RuntimeError as error:
        if not is_autograd(error) or isinstance(error, GradientError):
            raise
        raise GradientError(f"this model cannot be differentiated ({error}). Use the method "
                            "'fit', which needs no gradient.") from error


def _mean(ranks: Ranks, loss_of: LossOf, raw: Parameters, items: Tensor, met: Solver) -> float:
    """The loss of all starts, from what each rank finds on its own."""
    own = ranks.own(items)
    share = len(own) / len(items)
    found = ranks.together(lambda: share * loss_of(raw, own, met).detach() if len(own)
                           else torch.zeros(()))
    return float(ranks.summed(found.double()))


def _slope(loss: Callable[[list[Tensor]], float], tensors: list[Tensor], along: list[Tensor],
           step: float) -> float:
    """Central difference of the loss along a direction."""
    ends = [loss([t.detach() + sign * step * v for t, v in zip(tensors, along, strict=True)])
            for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step)
