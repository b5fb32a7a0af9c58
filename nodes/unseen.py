"""Seeds and prompts that a search never saw, with a reference that can judge its result."""

from __future__ import annotations

import torch
from torch import Tensor

from ..presets.preset import Preset
from ..solver_search.settled import Settled, settled
from ..solver_search.teacher import TEACHER
from .comfy_bridge.session import Session
from .evidence import Trial, accurate_ends, make_trial
from .extent import CHECKED, EXTENTS, Extent, most_seeds, size_of_part
from .search_setup import Setup


class Unseen:
    """Seeds that the search never saw, part by part, with a reference of `calls` model calls.

    Args:
        setup, session: see proof.prove().
        preset: what the reference must be able to judge: of a family, that of the most steps.
    """

    def __init__(self, setup: Setup, session: Session, preset: Preset) -> None:
        extent = EXTENTS[setup.config.effort]
        self.setup, self.session = setup, session
        self.most = most_seeds(setup, session, extent)
        self.deal()
        self.first = setup.unseen(session, 0, size_of_part(setup))
        self.settled, self.checked = self._settled(extent, preset)
        self.calls = self.settled.calls
        self.parts: dict[int, Trial] = {}

    def deal(self) -> None:
        """Give these seeds their prompts."""
        self.setup.deal(self.session, self.most)

    @property
    def text(self) -> str:
        """For the file."""
        off = "" if self.settled.agreed else f"; {self.settled.off:.2g} from a shorter one"
        return f"{TEACHER}, {self.calls} calls{off}"

    def __call__(self, part: int) -> Trial:
        """Trial of one part; the session then has the prompts of these seeds."""
        self.deal()
        if part not in self.parts:
            self.parts[part] = self._made(part)
        return self.parts[part]

    def _made(self, part: int) -> Trial:
        batch, denoise = self.setup.batch, self.setup.config.denoise
        if part:
            starts, items = self.setup.unseen(self.session, part, size_of_part(self.setup))
            return make_trial(self.session, starts, items, batch, denoise, self.calls)
        starts, items = self.first
        rest = slice(len(self.checked), None)  # the reference of the others is there
        ends = [self.checked] if len(starts) == len(self.checked) else [
            self.checked, accurate_ends(self.session, starts[rest], items[rest], batch,
                                        self.calls, denoise)]
        return Trial(self.session, starts, items, torch.cat(ends), batch, denoise)

    def _settled(self, extent: Extent, preset: Preset) -> tuple[Settled, Tensor]:
        """How many calls the reference needs to judge a solver, and its ends on a few seeds."""
        tried: dict[int, Tensor] = {}
        starts, items = (part[:CHECKED] for part in self.first)
        session, setup, canvas = self.session, self.setup, self.session.canvas

        def ends_of(calls: int) -> Tensor:
            tried[calls] = accurate_ends(session, starts, items, setup.batch, calls,
                                         setup.config.denoise)
            return tried[calls]

        def judged(reference: Tensor) -> float:
            return Trial(session, starts, items, reference, setup.batch).again(ours).mean

        ours = Trial(session, starts, items, starts, setup.batch).solver(preset.solver, "")
        found = settled(ends_of, judged, extent.reference, extent.longest, canvas)
        return found, tried[found.calls]
