"""Seconds inside the network, and the most memory that was held."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

KILOBYTES = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there


class Meter:
    """Sums up the calls of a network while it watches.

    On a GPU, work is queued: there the time between two events of the device is summed up, of
    calls that have ended.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._seconds = 0.0
        self._begun: Any = None
        self._pairs: list[tuple[Any, Any]] = []

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Count the calls of a network within."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        hooks = (network.register_forward_pre_hook(self._before),
                 network.register_forward_hook(self._after))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def seconds(self) -> float:
        """Inside the network, so far."""
        if self._pairs:
            torch.cuda.synchronize()
            self._settle(0)
        return self._seconds

    def _before(self, *_: object) -> None:
        self._begun = _now()

    def _after(self, *_: object) -> None:
        self.calls += 1
        if isinstance(self._begun, float):
            self._seconds += time.perf_counter() - self._begun
        else:
            self._pairs.append((self._begun, _now()))
            self._settle(100)

    def _settle(self, kept: int) -> None:
        while len(self._pairs) > kept and self._pairs[0][1].query():
            begun, ended = self._pairs.pop(0)
            self._seconds += begun.elapsed_time(ended) / 1000


def _now() -> Any:  # noqa: ANN401
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def peaks() -> dict[str, int | None]:
    """Most bytes held at once: on the GPU by torch, in main memory by this process."""
    device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {"device_bytes": device, "host_bytes": _host()}


def _host() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTES
