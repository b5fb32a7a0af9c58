"""Models that fail at a call of one's choice: a hook in the real network, gone afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Answer = Callable[[int, Tensor], Tensor]


@dataclass
class Census:
    """What was seen of a search's model calls.

    Args:
        calls: of each call: the search's state, whether its best was on disk, whether its
            gradient was wanted, and how many pictures it held.
        hurt: calls at which something was done.
    """

    calls: list[tuple[str, bool, bool, int]] = field(default_factory=list)
    hurt: list[int] = field(default_factory=list)

    def place(self, wanted: Callable[[tuple[str, bool, bool, int]], bool], *,
              last: bool = False) -> int:
        """Number of the first or last call of a kind."""
        found = [n for n, call in enumerate(self.calls) if wanted(call)]
        return found[-1 if last else 0]


@contextlib.contextmanager
def watched(model: Any, look: Callable[[], tuple[str, bool]],  # noqa: ANN401
            answer: Answer | None = None) -> Iterator[Census]:
    """Each call of the model's network is counted, and may answer otherwise or raise.

    Args:
        model: ComfyUI's ModelPatcher.
        look: the search's state, and whether its best is on disk.
        answer: (number of the call, the network's answer) -> what it answers instead.
    """
    census = Census()

    def hook(module: object, given: tuple, found: Tensor) -> Tensor:
        number = len(census.calls)
        census.calls.append((*look(), torch.is_grad_enabled(), len(found)))
        try:
            changed = found if answer is None else answer(number, found)
        except BaseException:
            census.hurt.append(number)
            raise
        if changed is not found:
            census.hurt.append(number)
        return changed

    handle = model.model.diffusion_model.register_forward_hook(hook)
    try:
        yield census
    finally:
        handle.remove()


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """The answer with one number in it that cannot be."""
    def fill(found: Tensor) -> Tensor:
        hurt = found.clone()
        hurt.flatten()[0] = value
        return hurt
    return fill


def raising(error: Callable[[], BaseException]) -> Callable[[Tensor], Tensor]:
    """Instead of an answer, an error."""
    def fail(found: Tensor) -> Tensor:
        raise error()
    return fail


def raising_in_backward(error: Callable[[], BaseException]) -> Callable[[Tensor], Tensor]:
    """A sound answer whose gradient cannot be had."""
    def give(found: Tensor) -> Tensor:
        def fail(gradient: Tensor) -> Tensor:
            raise error()
        if not found.requires_grad:
            return found
        changed = found.clone()
        changed.register_hook(fail)
        return changed
    return give


def doing(action: Callable[[], None]) -> Callable[[Tensor], Tensor]:
    """The answer, after something was done elsewhere."""
    def act(found: Tensor) -> Tensor:
        action()
        return found.clone()
    return act


def noisy(size: float) -> Callable[[Tensor], Tensor]:
    """Another answer at each call, without touching the process's random numbers."""
    generator = torch.Generator().manual_seed(1)

    def blur(found: Tensor) -> Tensor:
        noise = torch.randn(found.shape, generator=generator)
        return found + size * found.abs().mean() * noise.to(found)
    return blur


def blurred(size: float) -> Callable[[Tensor], Tensor]:
    """The same with the process's random numbers, as nodes that add noise draw them."""
    return lambda found: found + size * found.abs().mean() * torch.randn_like(found)


def remembering() -> Callable[[Tensor], Tensor]:
    """What was answered before plays a part, as with momentum."""
    last: list[Tensor] = []

    def answer(found: Tensor) -> Tensor:
        mixed = found + 0.5 * last[-1] if last and last[-1].shape == found.shape else found.clone()
        last[:] = [mixed.detach()]
        return mixed
    return answer


def at(wanted: int, hurt: Callable[[Tensor], Tensor]) -> Answer:
    """Only at one call."""
    return lambda number, found: hurt(found) if number == wanted else found


def since(wanted: int, hurt: Callable[[Tensor], Tensor]) -> Answer:
    """From one call on."""
    return lambda number, found: hurt(found) if number >= wanted else found


def for_more_than(pictures: int, hurt: Callable[[Tensor], Tensor]) -> Answer:
    """Only where a call holds more pictures."""
    return lambda number, found: hurt(found) if len(found) > pictures else found
