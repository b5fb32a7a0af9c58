"""Errors of pictures against a reference. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import PLAIN, Canvas


def relative_errors(x: Tensor, reference: Tensor, canvas: Canvas = PLAIN) -> Tensor:
    """(B,) distance of each x to its reference over the references' root mean square norm.

    Of several media each counts the same: the root mean square of what each has by itself.

    Args:
        x: (B, ...) results.
        reference: (B, ...) converged results of the same starts.
        canvas: which media lie in them.
    """
    difference = canvas.balanced(x - reference, reference).double().flatten(1).norm(dim=1)
    return difference / unit(reference, canvas)


def unit(reference: Tensor, canvas: Canvas = PLAIN) -> Tensor:
    """What relative errors are counted in: the root mean square length of these references."""
    lengths = canvas.balanced(reference, reference).double().flatten(1).norm(dim=1)
    return lengths.square().mean().sqrt()


def mean_and_interval(errors: Tensor) -> tuple[float, float]:
    """Mean and half width of its 95 % interval (normal approximation)."""
    spread = errors.std() if len(errors) > 1 else torch.zeros(())
    return float(errors.mean()), float(1.96 * spread / len(errors) ** 0.5)
