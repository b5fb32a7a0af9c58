"""One training loop for all networks: AdamW, averaged weights, a state file to resume from.

Every step draws from a generator seeded by (seed, step), so a run that was killed and resumed
sees the same batches as one that was not. The learning rate warms up, stays, and falls linearly
to zero over the last part of the steps.
"""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .curves import append_row

LOGGER = logging.getLogger(__name__)
Loss = Callable[[nn.Module, torch.Generator], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train one network.

    Attributes:
        name: of the state and curve files.
        steps: optimiser steps in all.
        learning_rate: at its plateau.
        average: decay of the averaged weights, per step.
        fall: part of the steps over which the learning rate falls to zero.
        warm_up: steps until the plateau.
        clip: largest norm of the gradient.
        every: steps between rows of the curve and between saved states.
    """

    name: str
    steps: int
    learning_rate: float
    average: float = 0.999
    fall: float = 0.3
    warm_up: int = 100
    clip: float = 1.0
    every: int = 50

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rising = min(1.0, (step + 1) / self.warm_up)
        falling = min(1.0, (self.steps - step) / (self.fall * self.steps))
        return self.learning_rate * rising * falling


def train(model: nn.Module, loss: Loss, plan: Plan, folder: Path) -> nn.Module:
    """Train, or go on where an earlier run stopped.

    Args:
        model: trained in place.
        loss: (model, generator of this step) -> named scalars; "loss" is minimised.
        plan: length and rates.
        folder: of the state file; the curve goes to `training_curves` beside this file.

    Returns:
        The model with averaged weights.
    """
    averaged = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    step, seconds = _resume(model, averaged, optimiser, folder / f"{plan.name}.pt")
    while step < plan.steps:
        began, rows = time.monotonic(), []
        for _ in range(min(plan.every, plan.steps - step)):
            rows.append(_step(model, averaged, optimiser, loss, plan, step))
            step += 1
        seconds += time.monotonic() - began
        row = {key: sum(float(r[key]) for r in rows) / len(rows) for key in rows[0]}
        append_row(plan.name, {"step": step, "seconds": round(seconds, 1), **row})
        LOGGER.info("%s %d/%d %.0f s %s", plan.name, step, plan.steps, seconds, row)
        _save(model, averaged, optimiser, folder / f"{plan.name}.pt", step, seconds)
    return averaged


def _step(
    model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, loss: Loss,
    plan: Plan, step: int,
) -> dict[str, torch.Tensor]:  # fmt: skip
    generator = torch.Generator().manual_seed(1_000_003 * len(plan.name) + step)
    for group in optimiser.param_groups:
        group["lr"] = plan.rate(step)
    terms = loss(model, generator)
    if not torch.isfinite(terms["loss"]):
        raise FloatingPointError(f"{plan.name}: the loss of step {step} is {terms['loss']}")
    optimiser.zero_grad(set_to_none=True)
    terms["loss"].backward()
    nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimiser.step()
    _average(averaged, model, min(plan.average, (1 + step) / (10 + step)))
    return {key: term.detach() for key, term in terms.items()}


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    kept, new = list(averaged.parameters()), list(model.parameters())
    torch._foreach_lerp_(kept, new, 1 - decay)


def _save(
    model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, path: Path,
    step: int, seconds: float,
) -> None:  # fmt: skip
    state = {
        "model": model.state_dict(),
        "averaged": averaged.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _resume(
    model: nn.Module, averaged: nn.Module, optimiser: torch.optim.Optimizer, path: Path
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], state["seconds"]
