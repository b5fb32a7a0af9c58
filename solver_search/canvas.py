r"""What lies where in a state: its media side by side, and what a mask keeps.

A video with its sound comes as one row of numbers, (B, 1, N). A table acts on every number alike
and need not know; channel means and relative errors do.

Outside a mask (m = 0) a state goes straight from its start to the picture L that was there:

    line = (sigma'/sigma[0]) x[0] + reach L,     reach = alpha' - (sigma'/sigma[0]) alpha[0]

Consistent rows do that by themselves, since the model's outputs are L there. Free rows make
T = start (sigma'/sigma[0]) x[0] + reach (sum_j weights[j]) L of it, so a run ends at

    x + (1 - m) (line - T)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .forms import reach
from .solver import Solver

LEAST_SIZE = 1e-6  # of the whole state's: a medium that is silent has no error of its own


@dataclass(frozen=True)
class Canvas:
    """Where a run paints.

    Args:
        shapes: (C, ...) of each medium of a packed state, in order; empty: the state is one
            medium, (B, C, ...).
        mask: which share of each place is painted, shaped as a state; None: all of it.
        picture: what the mask keeps, shaped as a state; None: what the model's last output has
            there.
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    mask: Tensor | None = None
    picture: Tensor | None = None

    def parts(self, x: Tensor) -> list[Tensor]:
        """(B, C, ...) of each medium."""
        if len(self.shapes) < 2:
            return [x]
        pieces = x.flatten(1).split([math.prod(shape) for shape in self.shapes], dim=1)
        return [piece.reshape(len(x), *shape)
                for piece, shape in zip(pieces, self.shapes, strict=True)]

    def means(self, x: Tensor) -> Tensor:
        """Mean over all places of each channel of each medium; may be added to a state."""
        if len(self.shapes) < 2:
            return channel_means(x)
        spread = [channel_means(part).expand(part.shape).reshape(len(x), -1)
                  for part in self.parts(x)]
        return torch.cat(spread, dim=1).reshape(x.shape)

    def painted(self, change: Tensor) -> Tensor:
        """A change of the state, where it may be painted."""
        return change if self.mask is None else change * self.mask

    def ended(self, solver: Solver, start: Tensor, end: Tensor, denoised: Tensor) -> Tensor:
        """The end of a run with what the mask keeps put back; see the module.

        Args:
            solver: that ran.
            start, end: (B, C, ...) first and last state.
            denoised: (B, C, ...) the model's last output.
        """
        if self.mask is None:
            return end
        picture = denoised if self.picture is None else self.picture
        ratio = float(solver.sigmas[-1] / solver.sigmas[0])
        far = float(reach(solver.sigmas, flow=solver.flow)[-1])
        line = ratio * start + far * picture
        keep = ratio if solver.start is None else ratio * float(solver.start[-1])
        made = keep * start + far * float(solver.weights[-1].sum()) * picture
        return torch.where(self.mask == 0, line, end + (1 - self.mask) * (line - made))

    def balanced(self, x: Tensor, reference: Tensor) -> Tensor:
        """States in which each medium counts the same, whatever its size and number of places.

        Args:
            x: (B, C, ...) states.
            reference: (S, C, ...) states that say how large each medium is.
        """
        return x if len(self.shapes) < 2 else x * self.balance(reference)

    def balance(self, reference: Tensor) -> Tensor:
        """(1, C, ...) factors after which each medium of `reference` has the same norm."""
        known = torch.stack([part.double().flatten(1).norm(dim=1)
                             for part in self.parts(reference)], dim=1)
        each = [part.new_full((1, part[0].numel()), factor) for part, factor in zip(
            self.parts(reference), self.factors(known).tolist(), strict=True)]
        return torch.cat(each, dim=1).reshape(1, *reference.shape[1:])

    def factors(self, known: Tensor) -> Tensor:
        """(M,) the same, one for each medium, from the sizes of some states, (B, M)."""
        places = known.new_tensor([math.prod(shape) for shape in self.shapes])
        least = LEAST_SIZE * (known.square().sum(1).mean() / places.sum()).sqrt()
        norms = (known.square().mean(0) / places).sqrt().clamp_min(least) * places.sqrt()
        return norms.sum() / norms


PLAIN = Canvas()


def channel_means(x: Tensor) -> Tensor:
    """(B, C, 1, ...) mean over all places of a state (B, C, ...)."""
    places = tuple(range(2, x.ndim))
    return x.mean(places, keepdim=True) if places else x

