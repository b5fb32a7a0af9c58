"""Kinds of facts a preset may state, each with its limits and its spelling in the file.

A kind checks a value (`check`), spells it as text (`write`) and reads that text back exactly
(`read`). `unknown` is the value that is left out of the file. Text from strangers stays plain
text: short, without control characters, never evaluated.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

NUMBER = re.compile(r"-?[0-9]{1,32}(\.[0-9]{1,32})?([eE][+-]?[0-9]{1,4})?")
COUNT = re.compile(r"[0-9]{1,20}")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DIGITS = re.compile(r"[0-9a-f]*")
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
           "\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f")
FORBIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control, lone surrogate, line and paragraph separator

UNSEEN = set("\u115f\u1160\u2800\u3164\uffa0")  # letters and a symbol that show nothing
INVISIBLE = {"Cf", "Cc", "Cn", "Mn", "Me", "Zs", "Zl", "Zp"}  # alone they show nothing


class PresetError(ValueError):
    """A preset that cannot be: the message says what, expected, found and what to do."""


def blank(text: str) -> bool:
    """Whether nothing of it can be seen: spaces, joiners, tags, fillers."""
    return all(c in UNSEEN or unicodedata.category(c) in INVISIBLE for c in text)


def kind_of(value: object) -> str:
    """What a value is, in a word for people."""
    return "nothing" if value is None else type(value).__name__


def printable(name: str) -> str:
    """A file's name in one line, without characters that steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


@dataclass(frozen=True)
class Text:
    """Plain text of at most `limit` characters; `lines` allows line breaks and tabs."""

    limit: int
    lines: bool = False
    unknown: ClassVar[str] = ""

    def check(self, field: str, value: object) -> str:
        """The value itself. Raises PresetError: not text, too long, control characters."""
        if not isinstance(value, str):
            raise PresetError(f"{field} must be text, found {kind_of(value)}.")
        if len(value) > self.limit:
            raise PresetError(f"{field} must have at most {self.limit} characters, found "
                              f"{len(value)}. Shorten it.")
        for character in value:
            if not self._allowed(character):
                raise PresetError(f"{field} must be plain text, found the control character "
                                  f"U+{ord(character):04X}. Remove it.")
        return value

    def _allowed(self, character: str) -> bool:
        if self.lines and character in "\n\t":
            return True
        return unicodedata.category(character) not in FORBIDDEN and character not in BIDI

    def write(self, value: str) -> str:
        """As it is."""
        return value

    def read(self, field: str, text: str) -> str:
        """As it is; `check` follows."""
        return text


@dataclass(frozen=True)
class FileName(Text):
    """A file's name without folders: paths would carry the author's user name along."""

    def check(self, field: str, value: object) -> str:
        """The value itself. Raises PresetError: as Text, or a path."""
        text = super().check(field, value)
        if "/" in text or "\\" in text:
            raise PresetError(f"{field} must be a file name without folders, found {text:.80}. "
                              "Keep only what follows the last slash.")
        return text


@dataclass(frozen=True)
class Date(Text):
    """A day as YYYY-MM-DD."""

    def check(self, field: str, value: object) -> str:
        """The value itself. Raises PresetError: as Text, or not a day."""
        text = super().check(field, value)
        try:
            if text and (not DATE.fullmatch(text) or date.fromisoformat(text) is None):
                raise ValueError
        except ValueError as error:
            raise PresetError(f"{field} must be a day such as 2026-11-20, found {text}."
                              ) from error
        return text


@dataclass(frozen=True)
class Hex(Text):
    """A fingerprint: at most `limit` lower-case hex digits."""

    def check(self, field: str, value: object) -> str:
        """The value itself. Raises PresetError: as Text, or other characters."""
        text = super().check(field, value)
        if not DIGITS.fullmatch(text):
            raise PresetError(f"{field} must be digits 0 to 9 and letters a to f, found "
                              f"{text[:40]!r}. Leave it out.")
        return text


@dataclass(frozen=True)
class Choice(Text):
    """One of a few words; "" among them means that the key may be absent."""

    options: tuple[str, ...] = ()

    def check(self, field: str, value: object) -> str:
        """The value itself. Raises PresetError: as Text, or another word."""
        text = super().check(field, value)
        if text not in self.options:
            words = ", ".join(option or "nothing" for option in self.options)
            raise PresetError(f"{field} must be one of {words}, found {text!r}.")
        return text


@dataclass(frozen=True)
class Count:
    """A whole number from 0 to `limit`."""

    limit: int
    unknown: int | None = 0

    def check(self, field: str, value: object) -> int:
        """The value itself. Raises PresetError: not a whole number, out of range."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise PresetError(f"{field} must be a whole number, found {kind_of(value)}.")
        if not 0 <= value <= self.limit:
            raise PresetError(f"{field} must lie in 0 to {self.limit}, found "
                              f"{str(value)[:40]}.")
        return int(value)

    def write(self, value: int) -> str:
        """Decimal digits."""
        return str(value)

    def read(self, field: str, text: str) -> int:
        """Raises PresetError: not digits."""
        if not COUNT.fullmatch(text):
            raise PresetError(f"{field} must be a whole number in digits, found {text[:40]!r}.")
        return int(text)


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`."""

    low: float
    high: float
    unknown: ClassVar[None] = None

    def check(self, field: str, value: object) -> float:
        """The value as float. Raises PresetError: not a number, not finite, out of range."""
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise PresetError(f"{field} must be a number, found {kind_of(value)}.")
        if not self.low <= value <= self.high:  # NaN and infinity fail too
            raise PresetError(f"{field} must lie in {self.low:g} to {self.high:g}, found "
                              f"{str(value)[:40]}.")
        return float(value)

    def write(self, value: float) -> str:
        """Shortest decimal that reads back to the same float64."""
        return repr(value)

    def read(self, field: str, text: str) -> float:
        """Raises PresetError: not a decimal number."""
        if not NUMBER.fullmatch(text):
            raise PresetError(f"{field} must be a decimal number, found {text[:40]!r}.")
        return float(text)


Kind = Text | Count | Number
