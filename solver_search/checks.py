"""What makes a solver impossible, each said in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from .bases import BASIS, WEIGHTS

MAX_ROWS = 1024
MAX_WEIGHT = 1e4
ROW_SUM_TOLERANCE = 1e-4  # ComfyUI's deis integrates numerically: its rows sum to 1 within 9e-6
START_RANGE = (0.1, 10.0)
MAX_DESIGNER = 1e3


class SolverError(ValueError):
    """A solver that cannot be: the message says what, expected, found and what to do."""


def check(tensors: Mapping[str, Tensor], *, flow: bool) -> None:
    """Refuse what is no solver.

    Args:
        tensors: by name, float64; see Solver.
        flow: see Solver.

    Raises:
        SolverError: wrong shapes, out of order, too large, rows that do not sum to 1.
    """
    tensors = {name: t.detach() for name, t in tensors.items()}
    steps = tensors["sigmas"].numel() - 1
    _check_shapes(tensors, steps)
    _check_sigmas(tensors["sigmas"], flow)
    _check_weights(tensors, consistent="start" not in tensors)
    _check_designer(tensors, steps)


def _check_shapes(tensors: Mapping[str, Tensor], steps: int) -> None:
    sigmas = tensors["sigmas"]
    if sigmas.ndim != 1 or not 1 <= steps <= MAX_ROWS:
        raise SolverError(f"sigmas must be a list of 2 to {MAX_ROWS + 1} numbers, found shape "
                          f"{tuple(sigmas.shape)}.")
    square = dict.fromkeys((WEIGHTS, *BASIS), (steps, steps))
    expected = {**square, "start": (steps,), "model_sigmas": (steps,)}
    for name, value in tensors.items():
        shape = expected.get(name, tuple(value.shape))
        if tuple(value.shape) != shape:
            raise SolverError(f"{name} must have shape {shape} to go with {steps + 1} sigmas, "
                              f"found {tuple(value.shape)}.")


def _check_sigmas(sigmas: Tensor, flow: bool) -> None:
    if (sigmas[:-1] <= 0).any() or sigmas[-1] < 0:
        raise SolverError("sigmas must be positive (the last may be 0), found "
                          f"{_numbers(sigmas)}.")
    if (sigmas[1:] > sigmas[:-1]).any():
        raise SolverError(f"sigmas must never rise, found {_numbers(sigmas)}.")
    if flow and sigmas[0] > 1:
        raise SolverError(f"sigmas of a flow model end at 1, found {float(sigmas[0]):.6g}. "
                          "This table is perhaps for an eps or v model.")


def _check_weights(tensors: Mapping[str, Tensor], *, consistent: bool) -> None:
    for name in (WEIGHTS, *BASIS):
        if name in tensors:
            sums = consistent and not (name in BASIS and BASIS[name].guidance)
            _check_table(name, tensors[name], consistent=sums)
    (low, high), start, told = START_RANGE, tensors.get("start"), tensors.get("model_sigmas")
    if start is not None and not ((start >= low) & (start <= high)).all():
        raise SolverError(f"start must lie in {START_RANGE}, found {_numbers(start)}.")
    if told is not None and (told <= 0).any():
        raise SolverError(f"model_sigmas must be positive, found {_numbers(told)}.")


def _check_table(name: str, table: Tensor, *, consistent: bool) -> None:
    if np.triu(table.detach().cpu().numpy(), 1).any():  # torch's takes threads, slow on busy cores
        raise SolverError(f"{name} must be lower-triangular: a step can only use outputs that "
                          "are already there.")
    if table.abs().max() > MAX_WEIGHT:
        raise SolverError(f"{name} must stay within {MAX_WEIGHT:g} in size, found "
                          f"{float(table.abs().max()):.6g}.")
    off = (table.sum(dim=1) - 1).abs()
    if consistent and off.max() > ROW_SUM_TOLERANCE:
        row = int(off.argmax())
        raise SolverError(f"each row of {name} must sum to 1 within {ROW_SUM_TOLERANCE:g}, row "
                          f"{row} sums to {float(table[row].sum()):.6g}.")


def _check_designer(tensors: Mapping[str, Tensor], steps: int) -> None:
    inner, outer = tensors.get("designer_in"), tensors.get("designer_out")
    if inner is None and outer is None:
        return
    if inner is None or outer is None or "start" in tensors:
        raise SolverError("designer_in and designer_out must come together, with rows that sum "
                          "to 1 (no start).")
    shapes = inner.ndim == outer.ndim == 2 and inner.shape[1] > 3
    if not shapes or outer.shape[1] != inner.shape[0] + 1 or outer.shape[0] > steps:
        raise SolverError("designer_in must have shape (H, F + 3), designer_out (K, H + 1) with "
                          f"K at most {steps}, found {tuple(inner.shape)} and "
                          f"{tuple(outer.shape)}.")
    largest = max(float(inner.abs().max()), float(outer.abs().max()))
    if largest > MAX_DESIGNER:
        raise SolverError(f"designer entries must stay within {MAX_DESIGNER:g} in size, found "
                          f"{largest:.6g}.")


def _numbers(values: Tensor) -> str:
    shown = [f"{float(v):.5g}" for v in values[:12]]
    return "[" + ", ".join(shown) + (", ...]" if values.numel() > 12 else "]")
