"""Signals that end the command: gently where something runs that can keep its best."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .exits import Stopped

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK")
           if hasattr(signal, name)]


class Listener:
    """Asks whatever runs to end; the second signal, or one that nobody can heed, ends at once.

    Python runs signal handlers in the main thread, between two steps of what runs there.

    Args:
        stop: asks, and says whether something will end by itself.
    """

    def __init__(self) -> None:
        self.stop: Callable[[], bool] = lambda: False
        self.heard = 0

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
        self.heard += 1
        if self.heard > 1 or not self.stop():
            raise Stopped
