"""Errors of pictures against a reference. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import PLAIN, Canvas

ELSEWHERE = 0.5  # relative error from which on a picture is another one than its reference


def relative_errors(x: Tensor, reference: Tensor, canvas: Canvas = PLAIN) -> Tensor:
    """(B,) distance of each x to its reference over the references' root mean square norm.

    Of several media each counts the same: the root mean square of what each has by itself.

    Args:
        x: (B, ...) results.
        reference: (B, ...) converged results of the same starts.
        canvas: which media lie in them.
    """
    return scaled(distances(x, reference, canvas), sizes(reference, canvas), canvas)


def distances(x: Tensor, reference: Tensor, canvas: Canvas = PLAIN) -> Tensor:
    """(B, M) length of x - reference in each medium."""
    return sizes(x - reference, canvas)


def sizes(x: Tensor, canvas: Canvas = PLAIN) -> Tensor:
    """(B, M) length of x in each medium."""
    return torch.stack([part.double().flatten(1).norm(dim=1) for part in canvas.parts(x)], dim=1)


def scaled(lengths: Tensor, known: Tensor, canvas: Canvas = PLAIN) -> Tensor:
    """(B,) relative errors from the distances to references of sizes `known`, (B, M)."""
    if lengths.shape[1] > 1:
        factors = canvas.factors(known)
        lengths, known = ((t * factors).norm(dim=1, keepdim=True) for t in (lengths, known))
    return lengths[:, 0] / known[:, 0].square().mean().sqrt()


def share_elsewhere(errors: Tensor) -> float:
    """Share of pictures that are another picture than their reference."""
    return float((errors > ELSEWHERE).double().mean())


def paired(errors: Tensor, others: Tensor) -> tuple[float, float]:
    """Mean of errors - others on the same starts, and its standard error; infinite for one."""
    difference = errors.double() - others.double()
    if len(difference) < 2:
        return float(difference.mean()), float("inf")
    return float(difference.mean()), float(difference.std() / len(difference) ** 0.5)


def mean_and_interval(errors: Tensor) -> tuple[float, float]:
    """Mean and half width of its 95 % interval (normal approximation)."""
    spread = errors.std() if len(errors) > 1 else torch.zeros(())
    return float(errors.mean()), float(1.96 * spread / len(errors) ** 0.5)
