"""What came of a cell: it works, it is refused in words, or ComfyUI itself cannot do it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .families import Subject
from .media import Latent, finite, media, off
from .ways import Pair, Way, picture
from .who import Own

# Of the largest number. Both ways begin from the same float32 noise and meet the model with
# states that differ by a rounding or two, which random networks hand on. Most found: 1.46e-6.
ROUNDING = 2e-6
# Of the largest number: latents are scaled for the model and back, in float32. Most found: 2.1e-7,
# where ComfyUI's euler leaves up to 7.8e-7.
KEPT = 3e-7
WORKS, NOT_THERE = "works", "not in ComfyUI"


class CellError(AssertionError):
    """A preset gave another picture than it must."""


def outcome(make: Callable[[], Subject], way: Way) -> str:
    """"works", the sentence a preset is refused with, or "not in ComfyUI".

    Args:
        make: a fresh subject for each run, so that no patch keeps a state.

    Raises:
        CellError: if a picture differs from the one expected.
    """
    with torch.inference_mode():
        try:
            own = way.run(make(), Own())
        except (AttributeError, RuntimeError):  # nested latents, which some of its nodes forget
            return NOT_THERE
        said = {pair.name: _trial(make, way, pair, own) for pair in way.pairs}
    if len(set(said.values())) > 1:
        raise CellError(f"not the same for each preset: {said}")
    return next(iter(said.values()))


def _trial(make: Callable[[], Subject], way: Way, pair: Pair, own: Latent) -> str:
    expected = own if isinstance(pair.expected, Own) else way.run(make(), pair.expected)
    if not finite(expected):
        raise CellError(f"{pair.name}: what is expected here is not finite and proves nothing.")
    subject = make()
    try:
        found = way.run(subject, pair.found)
    except ValueError as error:
        return f"refused: {error}"
    far = off(found, expected)
    if not far <= ROUNDING:  # NaN is not
        raise CellError(f"{pair.name} is off by {far:.2g} of the largest number.")
    if way.mask is not None:
        _check_kept(subject, way, pair, (found, own))
    return WORKS


def _check_kept(subject: Subject, way: Way, pair: Pair, ends: tuple[Latent, Latent]) -> None:
    """Outside the mask the picture stays as near to what it was as ComfyUI's euler leaves it."""
    ours, euler = (change_outside(subject, way, end) for end in ends)
    if not ours <= max(euler, KEPT):
        raise CellError(f"{pair.name} changes what is outside the mask by {ours:.2g} of the "
                        f"largest number, ComfyUI's euler by {euler:.2g}.")


def change_outside(subject: Subject, way: Way, end: Latent) -> float:
    """Largest change where the way's mask is 0, of the picture's largest number."""
    parts = zip(media(end), media(picture(subject)), media(way.mask(subject)), strict=True)
    return max(float(((a - b).abs() * (mask == 0)).max() / b.abs().max()) for a, b, mask in parts)
