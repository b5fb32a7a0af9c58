"""Signals that end the command: gently where something runs that can keep its best."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .exits import Stopped

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK")
           if hasattr(signal, name)]
SAME = 3.0  # seconds


class Listener:
    """Asks whatever runs to end; another signal, or one that nobody can heed, ends at once.

    One that comes right behind is the same wish: a terminal, torchrun and a cluster each send
    their own.

    Python runs signal handlers in the main thread, between two steps of what runs there.

    Args:
        stop: asks, and says whether something will end by itself.
    """

    def __init__(self) -> None:
        self.stop: Callable[[], bool] = lambda: False
        self.heard: float | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals within."""
        before = {one: signal.signal(one, self._heard) for one in SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _heard(self, *_: object) -> None:
        now = time.monotonic()
        if self.heard is not None and now - self.heard < SAME:
            return
        again, self.heard = self.heard is not None, now
        if again or not self.stop():
            raise Stopped
