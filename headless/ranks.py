"""Several processes for one search, each with a card, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .comfyui import comfy_module

TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
CARDS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Place:
    """Which of several processes this is.

    Args:
        rank: among all; the first one writes and speaks for all.
        local: among those of this machine.
        size: of all.
    """

    rank: int = 0
    local: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def take_card(self, comfy: Sequence[str]) -> None:
        """Leave ComfyUI one card of this machine to see; before it is started."""
        if self.size == 1 or "--cpu" in comfy:
            return
        seen = [name for name in os.environ.get(CARDS[0], "").split(",") if name.strip()]
        card = seen[self.local] if self.local < len(seen) else str(self.local)
        os.environ.update(dict.fromkeys(CARDS, card))


ALONE = Place()


def place() -> Place:
    """From torchrun's environment; alone without it."""
    if not all(name in os.environ for name in TORCHRUN):
        return ALONE
    return Place(*(int(os.environ[name]) for name in TORCHRUN[:3]))


@contextmanager
def joined(here: Place) -> Iterator[Any]:  # Ranks, whose module needs torch
    """The processes of the search, for as long as it runs; ComfyUI has been started.

    Args:
        here: which of them this is.
    """
    from ..solver_search import ranks

    if here.size == 1:
        yield ranks.ALONE
        return
    distributed = comfy_module("torch.distributed")
    cpu = comfy_module("comfy.cli_args").args.cpu
    distributed.init_process_group("gloo" if cpu else "nccl")
    try:
        yield ranks.Group()
    finally:
        distributed.destroy_process_group()
