"""Bytes of all tensors alive at once: what a search holds, without the allocator's noise."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


class LiveTensors(TorchDispatchMode):
    """Counts storages made while it is active; what a kernel holds inside is not seen.

    Args:
        now: bytes alive.
        peak: most of them at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Callable, types: tuple, args: tuple = (),
                           kwargs: dict[str, Any] | None = None) -> object:
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, made)
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


class DeviceShare:
    """Most bytes that model calls held at once, their inputs included.

    Args:
        live: the counter that is active.
        denoise: Session.denoise, to watch.
    """

    def __init__(self, live: LiveTensors, denoise: Callable[..., Tensor]) -> None:
        self.live, self.denoise = live, denoise
        self.peak = 0

    def __call__(self, session: object, x: Tensor, *rest: object) -> Tensor:
        """One call, in the place of the session's method."""
        before, whole = self.live.now, self.live.peak
        self.live.peak = before
        answer = self.denoise(session, x, *rest)
        self.peak = max(self.peak, self.live.peak - before + x.nbytes)
        self.live.peak = max(self.live.peak, whole)
        return answer
