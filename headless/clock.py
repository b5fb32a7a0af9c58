"""When a job began, and how long its parts took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Clock:
    """When the job began, and seconds of its parts."""

    began: float = field(default_factory=time.time)
    parts: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is within."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.parts[name] = round(time.perf_counter() - begun, 2)
