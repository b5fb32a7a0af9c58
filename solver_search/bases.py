"""What the tables of a solver act on beside the denoised outputs D.

Two of them are parts of one sum: D and what guidance adds, G[j] = D[j] - C[j] with C the output
for the positive prompt alone, (CFG - 1)(C - U) where CFG is plain. Rows over G have no condition
on their sum. The others let each channel's mean over all places follow a table of its own
*instead* of the one over D or G.
"""

from __future__ import annotations

from typing import NamedTuple


class Basis(NamedTuple):
    """What a further table of weights acts on.

    Args:
        name: of the table, and of its tensor in a file.
        guidance: G, what guidance adds to the output for the positive prompt; else D.
        mean: only the channel means of it.
        instead: the table that this part follows where it has none of its own; None: nothing.
    """

    name: str
    guidance: bool
    mean: bool
    instead: str | None


WEIGHTS = "weights"
BASES = (
    Basis("mean_weights", guidance=False, mean=True, instead=WEIGHTS),
    Basis("guidance_weights", guidance=True, mean=False, instead=None),
    Basis("guidance_mean_weights", guidance=True, mean=True, instead="guidance_weights"),
)
BASIS = {basis.name: basis for basis in BASES}
