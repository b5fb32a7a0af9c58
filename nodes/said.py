"""What a node says: the verdict first, warnings second, ids and trivia last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LOOK_ALIKE = str.maketrans({"<": "\u2039", ">": "\u203a", "&": "\uff06"})
BROKEN = (("[[", "[ ["), ("]]", "] ]"), ("://", ": //"), ("www.", "www ."))


@dataclass(frozen=True)
class Said:
    """One utterance of a node.

    Args:
        verdict: what matters most, in one sentence.
        warnings: what may spoil pictures, and what to do about it.
        details: what else is worth knowing, the least important last.
    """

    verdict: str
    warnings: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Lines in the order of importance."""
        return "\n".join(filter(None, (self.verdict, *self.warnings, *self.details)))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"verdict": self.verdict, "warnings": list(self.warnings),
                "details": list(self.details)}

    def ui(self, **more: object) -> dict[str, Any]:
        """To be merged into a node's `ui`; `more` joins what the front end gets as data."""
        return {"text": (harmless(self.text),), "solver_search": ({**self.as_dict(), **more},)}


def as_said(said: Said | str) -> Said:
    """Lines of a text as an utterance: the first is the verdict."""
    if isinstance(said, Said):
        return said
    verdict, *details = said.split("\n")
    return Said(verdict, details=tuple(details))


def harmless(text: str) -> str:
    """The text with look-alikes for whatever a page could take for HTML or a link.

    Names and notes come from files of strangers, and some front ends show a node's text as HTML.
    """
    text = text.translate(LOOK_ALIKE)
    for found, broken in BROKEN:
        text = text.replace(found, broken)
    return text


def spoken(function: Callable[P, T]) -> Callable[P, T]:
    """Errors of our own classes leave as a plain ValueError.

    ComfyUI puts the module's path in front of every class that is not built in, and so hides the
    sentence.
    """
    @functools.wraps(function)
    def speaking(*given: P.args, **named: P.kwargs) -> T:
        try:
            return function(*given, **named)
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            if not _ours(error):
                raise
            raise ValueError(in_words(error)) from error
    return speaking


def in_words(error: BaseException) -> str:
    """An error as a sentence: our own as it is, others as the model's, with what they say."""
    if not isinstance(error, Exception):
        return "It was ended from outside."
    said, kind = str(error).strip().split("\n")[0], type(error).__name__
    if _ours(error):
        return _sentence(said or kind)
    named = said if " " in said else f"{kind} {said}".strip()
    return _sentence(f"the model, or a patch on it, failed: {named}")


def _ours(error: BaseException) -> bool:
    return type(error).__module__.startswith(__name__.removesuffix("nodes.said"))


def _sentence(said: str) -> str:
    return said[0].upper() + said[1:] + ("" if said.endswith((".", "?", "!")) else ".")
