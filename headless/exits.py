"""How the command ends: one number for scripts, one sentence for people."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; 0 also stands for what was there already, and for a search that somebody ended
    whose best solver is kept."""

    DONE = 0
    FAILED = 1  # of several jobs at least one; or what none of the others says
    REQUEST = 2  # nothing was run
    MODEL = 3  # it cannot be loaded or searched
    MEMORY = 4
    SAVING = 5
    EARLY = 6  # ended before anything was measured, and not because somebody asked for it


class Stopped(BaseException):
    """Somebody ended the command by a signal, and nothing is running that could keep its best."""


class Refusal(Exception):
    """Something that cannot be done.

    Args:
        code: the exit code.
        sentence: what was expected, what was found, what to do.
    """

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
