"""What came of a cell: it works, or it is refused in words."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .families import Subject
from .media import Latent, finite, media, off
from .ways import Pair, Way, picture
from .who import Own

ROUNDING = 1e-5  # of the largest number: float32 sums in another order, a few model calls
KEPT = 3e-7  # of the largest number: latents are scaled for the model and back, in float32
WORKS = "works"


class CellError(AssertionError):
    """A preset gave another picture than it must."""


def outcome(make: Callable[[], Subject], way: Way) -> str:
    """"works", or the sentence a preset is refused with.

    Args:
        make: a fresh subject for each run, so that no patch keeps a state.

    Raises:
        CellError: if a picture differs from the one expected.
    """
    with torch.inference_mode():
        said = {pair.name: _trial(make, way, pair) for pair in way.pairs}
    if len(set(said.values())) > 1:
        raise CellError(f"not the same for each preset: {said}")
    return next(iter(said.values()))


def _trial(make: Callable[[], Subject], way: Way, pair: Pair) -> str:
    expected, subject = way.run(make(), pair.expected), make()
    if not finite(expected):
        raise CellError(f"{pair.name}: what is expected here is not finite and proves nothing.")
    try:
        found = way.run(subject, pair.found)
    except ValueError as error:
        return f"refused: {error}"
    if not finite(found) or off(found, expected) > ROUNDING:
        raise CellError(f"{pair.name} is off by {off(found, expected):.2g} of the largest number.")
    _check_kept(make, way, pair, found)
    return WORKS


def _check_kept(make: Callable[[], Subject], way: Way, pair: Pair, found: Latent) -> None:
    """Outside the mask the picture stays as near to what it was as ComfyUI's euler leaves it."""
    if way.mask is None:
        return
    ours = _change_outside(make(), way, found)
    euler = _change_outside(make(), way, way.run(make(), Own()))
    if ours > max(euler, KEPT):
        raise CellError(f"{pair.name} changes what is outside the mask by {ours:.2g} of the "
                        f"largest number, ComfyUI's euler by {euler:.2g}.")


def _change_outside(subject: Subject, way: Way, found: Latent) -> float:
    parts = zip(media(found), media(picture(subject)), media(way.mask(subject)), strict=True)
    return max(float(((a - b).abs() * (mask == 0)).max() / b.abs().max()) for a, b, mask in parts)
