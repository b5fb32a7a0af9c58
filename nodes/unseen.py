"""Seeds and prompts that a search never saw, with a reference that can judge its result."""

from __future__ import annotations

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
        self.settled = self._settled(extent, preset)
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
        starts, items = self.first if part == 0 else self.setup.unseen(
            self.session, part, size_of_part(self.setup))
        return make_trial(self.session, starts, items, self.setup.batch,
                          self.setup.config.denoise, self.calls)

    def _settled(self, extent: Extent, preset: Preset) -> Settled:
        """How many calls the reference needs to judge a solver."""
        starts, items = (part[:CHECKED] for part in self.first)
        session, setup, canvas = self.session, self.setup, self.session.canvas

        def ends_of(calls: int) -> Tensor:
            return accurate_ends(session, starts, items, setup.batch, calls,
                                 setup.config.denoise)

        def judged(reference: Tensor) -> float:
            return Trial(session, starts, items, reference, setup.batch).again(ours).mean

        ours = Trial(session, starts, items, starts, setup.batch).solver(preset.solver, "")
        return settled(ends_of, judged, extent.reference, extent.longest, canvas)
