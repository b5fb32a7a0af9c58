"""A prompt's progress in one console line; where there is no console, a line now and then."""

from __future__ import annotations

import shutil
import sys
from types import TracebackType

from .client import Progress
from .steps import say

SECONDS_BETWEEN_LINES = 10.0


class ProgressLine:
    """Shows `Progress` events between entering and leaving."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._node = ""
        self._told = float("-inf")

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live and self._node:
            say("\n")

    def show(self, progress: Progress) -> None:
        """Replace the line, or add one if it is time."""
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            say("\r" + line(progress)[:width].ljust(width))
        elif self._is_time(progress):
            say(line(progress) + "\n")
            self._told = progress.seconds
        self._node = progress.node

    def _is_time(self, progress: Progress) -> bool:
        waited = progress.seconds - self._told >= SECONDS_BETWEEN_LINES
        return waited or progress.node != self._node


def line(progress: Progress) -> str:
    """`Node 5 SolverSearch_Search  120/400   34 s`"""
    steps = f"{progress.value}/{progress.total}  " if progress.total else ""
    return f"Node {progress.node} {progress.node_type}  {steps}{progress.seconds:.0f} s"
