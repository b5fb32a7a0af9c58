"""How much the proof of a search does, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

from ..solver_search.settled import lengthened, lengths
from .comfy_bridge.session import Session
from .evidence import Rounds
from .search_setup import Setup

FINALISTS = 3  # of the built-in settings, on the unseen seeds
CHECKED = 2  # seeds on which the reference's length is settled
PARTS = 2  # into which the seeds are divided that are always measured


@dataclass(frozen=True)
class Extent:
    """How much a proof does.

    Args:
        rounds: of the contest.
        reference: model calls of the shortest reference; the longest is the next length.
        everything: whether every deterministic sampler takes part, or the popular ones.
    """

    rounds: Rounds
    reference: int
    everything: bool = False

    @property
    def longest(self) -> int:
        """Model calls of the longest reference."""
        return lengthened(self.reference)


EXTENTS = {
    "quick": Extent(Rounds(((1, 10), (3, 5), (6, FINALISTS)), 6), 32),
    "standard": Extent(Rounds(((2, 16), (6, 6), (16, FINALISTS)), 12), 48),
    "thorough": Extent(Rounds(((4, 24), (16, 8), (64, FINALISTS))), 64, everything=True),
}


def size_of_part(setup: Setup) -> int:
    """Seeds of a part."""
    return -(-setup.config.sizes.evidence // PARTS)


def calls_each(setup: Setup, session: Session, reference: int) -> int:
    """Model calls that one more seed takes."""
    return reference + (1 + FINALISTS) * setup.config.steps + setup.painting(session)


def most_final(setup: Setup, session: Session, extent: Extent) -> int:
    """Most model calls of the comparison: if the reference must be long, there are no more seeds
    than PARTS parts and what a tenth of the search's budget pays for."""
    seeds = PARTS * size_of_part(setup) * calls_each(setup, session, extent.longest)
    return seeds + setup.config.sizes.model_calls // 10


def check_calls(extent: Extent, steps: int) -> int:
    """Most model calls that settle the reference's length, with a solver of so many steps."""
    return CHECKED * (sum(lengths(extent.reference, extent.longest)) + steps)


def most_seeds(setup: Setup, session: Session, extent: Extent) -> int:
    return most_final(setup, session, extent) // calls_each(setup, session, extent.reference)
