"""What a search works on: starts with their prompts, the model's answers, the schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..solver_search.canvas import PLAIN
from ..solver_search.clocks import rest
from ..solver_search.config import METHODS, SearchConfig
from ..solver_search.metrics import distances
from ..solver_search.run import Run
from ..solver_search.search import Problem, factors_of
from ..solver_search.solver import Solver
from ..solver_search.tableaus import TABLEAUS
from .comfy_bridge.latents import first_medium
from .comfy_bridge.model import ModelFacts, clocks, first_sigma
from .comfy_bridge.ordinary import screened
from .comfy_bridge.session import Session
from .evidence import Trial, accurate_ends, is_flow

GOLDEN = (5**0.5 - 1) / 2
SCALES = 4  # that a search for a CFG range deals over its starts
PICTURE_CALLS = 24  # for pictures to begin from, when an image-to-image search is given none
PICTURE_SEED = 2**20
PART_SEED = 2**21  # between parts of the unseen seeds
SIZE_CALLS, SIZE_STARTS = 24, 2  # of the run that tells how large each of several media is
EVEN_STARTS = 2  # by which it is seen how errors grow over a CFG range
GROWN = 100.0  # most that they are taken to grow
DIFFERENCES = {torch.float16: 1e-2, torch.bfloat16: 3e-2}  # measured: smaller steps drown in noise


class GuiderError(ValueError):
    """A guider that cannot do what is asked for; the message says what to do."""


@dataclass(frozen=True)
class Setup:
    """A request with its picture size.

    Args:
        latent: (B, C, ...) its shape is the picture size, B the pictures per model call; may be
            ComfyUI's nest of several media.
        config: what is asked for.
        single: one picture per model call, whatever B: a compiled model is compiled anew for
            each number of pictures, and a search has calls of all numbers up to B.
    """

    latent: Any
    config: SearchConfig
    single: bool = False

    @property
    def batch(self) -> int:
        """Pictures per model call."""
        return 1 if self.single else len(first_medium(self.latent))

    def problem(self, session: Session, model: ModelFacts) -> Problem:
        """What is searched; the prompts are dealt first."""
        sizes, denoise = self.config.sizes, self.config.denoise
        self.deal(session)
        first = first_sigma(session.sampling, denoise)
        starts = self._starts(session, self.config.seed, torch.arange(sizes.searched))
        balance = _product(self._balance(session, starts), self._evening(session, starts))
        memory = MainMemory(session, balance)
        return Problem(
            denoise=memory.denoise,
            starts=starts.cpu() if balance is None else starts.cpu() * balance,
            fit=sizes.fit,
            flow=model.flow,
            sigma_max=first,
            schedules=self.schedules(session),
            clock=rest(clocks(session.sampling)[0], first),
            time=rest(clocks(session.sampling)[1], first),
            batch=self.batch,
            difference=DIFFERENCES.get(model.dtype, 2e-3),
            guidance=memory.added,
            feature=_feature(session) if METHODS[self.config.method].designer else None,
            canvas=session.canvas,
            balance=balance,
        )

    def schedules(self, session: Session) -> dict[str, Tensor]:
        """Name -> (N + 1,) the ordinary schedules, beginning where the way begins."""
        denoise = self.config.denoise
        first = first_sigma(session.sampling, denoise)
        found = screened(session.sampling, self.config.steps, denoise)
        return {name: _from(first, sigmas) for name, sigmas in found.items()}

    def searched(self, session: Session, run: Run) -> Trial:
        """The search's own starts in the model's units, with the ends of its teacher."""
        self.deal(session)
        problem, balance = run.problem, run.problem.balance
        states = (problem.starts, run.reference_of(torch.arange(len(problem.starts))))
        starts, ends = (x if balance is None else x / balance for x in states)
        return Trial(session, starts.to(session.device), torch.arange(len(starts)),
                     ends.to(session.device), self.batch, self.config.denoise)

    def unseen(self, session: Session, part: int, count: int) -> tuple[Tensor, Tensor]:
        """(count, C, ...) starts that the search never saw and their items, with prompts that it
        never saw where there are enough; each part has others. See deal()."""
        items = self.config.sizes.searched + part * count + torch.arange(count)
        return self._starts(session, self.config.seed + 1 + part * PART_SEED, items), items

    def deal(self, session: Session, unseen: int = 0) -> None:
        """Give each start its prompt: those of the search, then so many unseen ones. Without
        these, starts of a search for a CFG range get their scales too.

        Raises:
            GuiderError: if a range is asked for and the guider's CFG cannot be changed.
        """
        scales = self._scales(session) if self.config.reach and not unseen else None
        session.deal(self._dealt(session.prompts, unseen), scales)

    def _scales(self, session: Session) -> Tensor:
        """(starts,) CFG scales, evenly from one end of the range to the other, in turn."""
        if session.guidance is None:
            raise GuiderError("A search for a CFG range needs a guider with one CFG and a "
                              "negative prompt, found another kind. Set cfg_to to 0, or "
                              "connect model and prompts instead of the guider.")
        dealt = torch.linspace(-self.config.reach, self.config.reach, SCALES)
        return session.guidance + dealt[torch.arange(self.config.sizes.searched) % SCALES]

    def extra_calls(self, session: Session) -> int:
        """Model calls spent before the search begins."""
        sized = 0 if session.canvas == PLAIN else SIZE_CALLS * SIZE_STARTS
        sized += 2 * EVEN_STARTS * 3 * self.config.steps if self.config.reach else 0
        return sized + self.config.sizes.searched * self.painting(session)

    def painting(self, session: Session) -> int:
        """Model calls of the picture that one start begins from; 0: none is painted."""
        return PICTURE_CALLS if self.config.denoise < 1 and session.empty else 0

    def _dealt(self, prompts: int, evidence: int) -> Tensor:
        """(starts,) prompt of each; with three prompts or more some are kept for evidence."""
        order, searched = spread(prompts), torch.arange(self.config.sizes.searched)
        later, kept = torch.arange(evidence), unseen(prompts)
        if not kept:
            return order[torch.cat([searched, len(searched) + later]) % prompts]
        return order[torch.cat([searched % (prompts - kept), prompts - kept + later % kept])]

    def _starts(self, session: Session, seed: int, items: Tensor) -> Tensor:
        """States where the way begins. Image to image: noise over the latents that were given,
        or, if they are empty, over pictures the model paints for this."""
        noise = self._noise(session, len(items), seed)
        if self.config.denoise >= 1:
            return session.starts(noise)
        if session.empty:
            begun = session.starts(self._noise(session, len(items), seed + PICTURE_SEED))
            pictures = accurate_ends(session, begun, items, self.batch, PICTURE_CALLS)
        else:
            pictures = session.latent_image[items % len(session.latent_image)]
        return session.starts(noise, self.config.denoise, pictures)

    def _noise(self, session: Session, count: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((count, *session.latent_image.shape[1:]), generator=generator)

    def _balance(self, session: Session, starts: Tensor) -> Tensor | None:
        """(1, ...) factors after which each of several media counts the same; None: only one."""
        if session.canvas == PLAIN:
            return None
        items = torch.arange(SIZE_STARTS)
        ends = accurate_ends(session, starts[:SIZE_STARTS], items, self.batch, SIZE_CALLS,
                             self.config.denoise)
        return session.canvas.balance(ends).cpu()

    def _evening(self, session: Session, starts: Tensor) -> Tensor | None:
        """(S, 1, ...) factors after which starts at each scale of a CFG range err about alike,
        else those at its upper end decide alone; None: all have one scale.

        Errors grow about exponentially with the scale. How fast, is seen by how far Euler lands
        from itself with twice the steps, from the same starts at both ends of the range.
        """
        if session.scales is None:
            return None
        scales, (low, high) = session.scales, session.scales.aminmax()
        few = starts[:EVEN_STARTS].repeat(2, *[1] * (starts.ndim - 1))
        session.deal(session.order[:EVEN_STARTS].repeat(2),
                     torch.stack([low, high]).repeat_interleave(EVEN_STARTS))
        trial = Trial(session, few, torch.arange(len(few)), few, self.batch, self.config.denoise)
        once, twice = (trial.solver(self._euler(session, n), "").ends
                       for n in (self.config.steps, 2 * self.config.steps))
        self.deal(session)
        lower, upper = distances(once, twice, session.canvas).log().mean(1).tensor_split(2)
        grown = float((upper - lower).mean().nan_to_num(0.0, 0.0, 0.0).clamp(0, math.log(GROWN)))
        factors = (grown * (scales.mean() - scales) / (high - low)).exp()
        return factors.reshape(-1, *[1] * (starts.ndim - 1)).to(starts.dtype).cpu()

    def _euler(self, session: Session, steps: int) -> Solver:
        schedules = replace(self, config=replace(self.config, steps=steps)).schedules(session)
        return TABLEAUS["euler"](next(iter(schedules.values())), flow=is_flow(session))


def _product(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None else other if one is None else one * other


def spread(count: int) -> Tensor:
    """(count,) an order of a list in which any few neighbours come from all over it: people write
    prompts that are alike one below the other. The ranks of multiples of the golden ratio."""
    return (torch.arange(count, dtype=torch.float64) * GOLDEN).frac().argsort().argsort()


def unseen(prompts: int) -> int:
    """How many of the prompts are kept for evidence: a quarter, from three prompts on."""
    return max(1, prompts // 4) if prompts >= 3 else 0


def _from(first: float, sigmas: Tensor) -> Tensor:
    """The same schedule, beginning exactly at sigma `first` (lists are rounded)."""
    return torch.cat([torch.tensor([first], dtype=torch.float64), sigmas[1:].double()])


class MainMemory:
    """The model's answers to states in main memory; the device holds one batch at a time.

    Args:
        balance: see Problem.
    """

    def __init__(self, session: Session, balance: Tensor | None) -> None:
        self.session, self.balance = session, balance
        self.newest: Tensor | None = None

    def denoise(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        """See Problem."""
        there, factors = self.session.device, factors_of(self.balance, items)
        own, self.newest = x if factors is None else x / factors, factors
        found = self.session.denoise(own.to(there), sigma.to(there), items).to(x.device)
        return found if factors is None else found * factors

    def added(self) -> Tensor | None:
        """What guidance added in the newest call, in main memory and the search's units."""
        if self.session.added is None:
            return None
        found = self.session.added.detach().cpu()
        return found if self.newest is None else found * self.newest


def _feature(session: Session) -> Callable[[], Tensor]:
    probe = session.probed()
    return lambda: probe.feature().cpu()
