"""A request understood: its model loaded, its prompts encoded, its search's key known."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..nodes.comfy_bridge.model import ModelFacts, UnsuitableModelError, facts
from ..nodes.comfy_bridge.prompts import joined
from ..nodes.comfy_bridge.session import Guider, make_guider
from ..nodes.found import journal_key, search_key
from ..nodes.journals import SUFFIX
from ..nodes.search import checked_cfg, spread
from ..nodes.step_list import read_steps
from ..presets.store import MAX_NAME, check_name, fitting_name
from ..solver_search.config import SearchConfig
from .canvas import empty
from .exits import Exit, Refusal
from .loading import Loaded, encode, load
from .request import read_prompts

ROOM = len(" 32 steps 99")  # of a name, for what comes behind it


@dataclass(frozen=True)
class Asked:
    """A request with its model.

    Args:
        options: of the command line.
        loaded: the model as a workflow has it.
        guider: at the CFG asked for, in the middle of a range.
        latent: (B, C, ...) zeros of the size asked for.
        config: for the first number of steps.
        numbers: of steps, in their order.
        known: facts of the model.
    """

    options: argparse.Namespace
    loaded: Loaded
    guider: Guider
    latent: Tensor
    config: SearchConfig
    numbers: Sequence[int]
    known: ModelFacts

    def key(self, numbers: Sequence[int]) -> str:
        """Of a search for these numbers of steps."""
        return search_key(self.guider, self.latent, replace(self.config, steps=numbers[0]),
                          numbers)

    def journal(self, numbers: Sequence[int]) -> str:
        """Name of the journal of that search."""
        return journal_key(self.key(numbers), self.guider, self.latent) + SUFFIX

    @property
    def setting(self) -> str:
        """Digits of all but the numbers of steps."""
        return search_key(self.guider, self.latent, replace(self.config, steps=6), ())

    @property
    def name(self) -> str:
        """Of the job: as asked for, or of file, size and CFG."""
        given, (width, height) = self.options, self.options.size
        if given.name:
            return check_name(given.name)
        stem = fitting_name(Path(given.checkpoint or given.model).stem) or self.known.family
        ends = f"{given.cfg:g} to {given.cfg_to:g}" if given.cfg_to else f"{given.cfg:g}"
        parts = [f" {width}x{height}", f" x{given.frames}" if given.frames > 1 else "",
                 f" cfg {ends}", f" denoise {given.denoise:g}" if given.denoise < 1 else ""]
        about = "".join(parts)
        return stem[: MAX_NAME - ROOM - len(about)].rstrip(" .") + about

    def named(self, base: str, steps: int) -> str:
        """Of the preset for so many steps."""
        alone = bool(self.options.name) and len(self.numbers) == 1
        return base if alone else f"{base} {steps} steps"


def ask(options: argparse.Namespace) -> Asked:
    """Load the model and understand the request.

    Raises:
        Refusal: in words.
    """
    try:
        numbers = read_steps(options.steps)
        config = SearchConfig(numbers[0], options.method, options.effort, options.seed,
                              options.denoise)
        if options.name:
            check_name(options.name)
    except ValueError as error:
        raise Refusal(Exit.REQUEST, str(error)) from error
    lines = read_prompts(options.prompts)
    loaded = load(options)
    try:
        known = facts(loaded.model)
    except UnsuitableModelError as error:
        raise Refusal(Exit.MODEL, str(error)) from error
    return _asked(options, loaded, known, lines, numbers, config)


def _asked(options: argparse.Namespace, loaded: Loaded, known: ModelFacts, lines: list[str],
           numbers: list[int], config: SearchConfig) -> Asked:
    positive = joined([encode(loaded, line, options) for line in lines])
    guider = make_guider(loaded.model, positive, encode(loaded, options.negative, options),
                         options.cfg)
    latent = empty(loaded.model, *options.size, options.frames, options.batch)["samples"]
    try:
        guider, reach = spread(guider, options.cfg_to)
        checked_cfg(float(guider.cfg))
    except ValueError as error:
        raise Refusal(Exit.REQUEST, str(error)) from error
    return Asked(options, loaded, guider, latent, replace(config, reach=reach), numbers, known)
