"""What came of a cell: it works, or it is refused in words."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .families import Subject
from .ways import Way, euler

ROUNDING = 1e-5  # of the largest number: float32 sums in another order, a few model calls
WORKS = "works"


class CellError(AssertionError):
    """Euler as a preset gave another picture than ComfyUI's euler."""


def outcome(make: Callable[[], Subject], way: Way) -> str:
    """"works", or the sentence a preset is refused with.

    Args:
        make: a fresh subject for each of the two runs, so that no patch keeps a state.

    Raises:
        CellError: if the two pictures differ.
    """
    with torch.inference_mode():
        theirs, subject = way(make(), None), make()
        try:
            ours = way(subject, euler(subject))
        except ValueError as error:
            return f"refused: {error}"
    if not torch.isfinite(theirs).all():
        raise CellError("ComfyUI's own euler gave NaN here: the cell proves nothing.")
    off = float((ours - theirs).abs().max() / theirs.abs().max())
    if off > ROUNDING:
        raise CellError(f"Euler as a preset is off by {off:.2g} of the largest number.")
    return WORKS
