"""Tricks that are known against readers of safetensors, JSON and text, one or several at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .structural import signature, split

VERSIONS: tuple[Any, ...] = ("", "0", "1", "2", "3", "1.5", "2.0", "-1", "+2", " 2", "2 ", "02",
                             "1e1", "0x2", "\u0662", "\uff12", "999999", "1000000", "9" * 70_000,
                             "two", "2\n", "\u202e2", 2, 1.5, -1, True, None, [2])
LENGTHS = (0, 1, 7, 2**19 - 1, 2**19, 2**19 + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
TYPES: tuple[Any, ...] = ("F32", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "C64", "f64",
                          "F64 ", "", "F64\0", ["F64"], None, 64)
SHAPES: tuple[Any, ...] = ([], [0], [0, 0], [1, 1, 1], [-1], [2**63], [2**32, 2**32], [1.0],
                           [True], "2", [[2]], [2, None], [1] * 1000)
OFFSETS: tuple[Any, ...] = ([0, 0], [8, 0], [-8, 8], [0, 2**63], [0, 1.0], [0], [0, 8, 16], "0",
                            [None, None], [2**20, 2**20 + 8], [False, True])
NUMBERS = (b"\0\0\0\0\0\0\xf8\x7f", b"\1\0\0\0\0\0\xf0\x7f", b"\xff" * 8,
           b"\0\0\0\0\0\0\xf0\x7f",
           b"\0\0\0\0\0\0\xf0\xff", b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\x80",
           b"\xff\xff\xff\xff\xff\xff\xef\x7f", b"\0" * 8, b"\0\0\0\0\0\0\x10\0")
TEXTS = ("\ud800", "\udfff\ud800", "\u202e\u2066abc", "a\u0000b", "\ufeff", "\u3164",
         "\u200d" * 80, "\U000e0041", "a\u0301" * 40, "\u1112\u1161" * 40, "x" * 65_536, "\r\n",
         "\x1b[31m", "'\"",
         "{{7*7}}", "%s%n", "${jndi:x}", "<svg/onload=x>", "[[a|https://b]]", "../" * 30, "con",
         "\\\\host\\share", "=cmd|' /C calc'!A0", "NaN", "Infinity", "-0", "1e400", "\u0665")
BEFORE = (b" ", b"\t", b"\xef\xbb\xbf", b"\0", b"[", b"null", b"\xff\xfe")


@dataclass
class Draft:
    """A file about to be written; keys may come twice, and the length may lie."""

    words: list[tuple[str, Any]]
    entries: list[tuple[str, dict[str, Any]]]
    body: bytes
    length: int | None = None
    before: bytes = b""
    after: bytes = b""
    raw: list[str] = field(default_factory=list)  # JSON text put among the keys

    def data(self) -> bytes:
        """The bytes."""
        words = ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in self.words)
        parts = [f'"__metadata__":{{{words}}}']
        parts += [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in self.entries] + self.raw
        text = self.before + ("{" + ",".join(parts) + "}").encode("utf-8") + self.after
        return struct.pack("<Q", len(text) if self.length is None else self.length) + text + (
            self.body)


def tricky(data: bytes, other: bytes, chance: Random) -> bytes:
    """A sound file after one to three tricks, most of them with the `id` that fits its numbers.

    Args:
        data: a sound file.
        other: another, of which words are put in.
        chance: where every choice comes from.
    """
    words, tensors = split(data)
    body, entries = b"", []
    for name, (shape, numbers) in tensors.items():
        packed = struct.pack(f"<{len(numbers)}d", *numbers)
        entries.append((name, {"dtype": "F64", "shape": list(shape),
                               "data_offsets": [len(body), len(body) + len(packed)]}))
        body += packed
    draft = Draft(list({**words, **_some(split(other)[0], chance)}.items()), entries, body)
    for _ in range(chance.choice((1, 1, 2, 3))):
        chance.choice(TRICKS)(draft, chance)
    if chance.random() < 0.6:
        _signed(draft)
    return draft.data()


def _some(words: dict[str, Any], chance: Random) -> dict[str, Any]:
    return {k: v for k, v in words.items() if chance.random() < 0.1}


def _signed(draft: Draft) -> None:
    """The `id` of the numbers that are there, where that can be told."""
    found = {}
    for name, entry in draft.entries:
        try:
            begin, end = entry["data_offsets"]
            numbers = struct.unpack(f"<{(end - begin) // 8}d", draft.body[begin:end])
            found[name] = (entry["shape"], list(numbers))
        except (struct.error, TypeError, ValueError, KeyError, AttributeError):
            return
    flow = str(dict(draft.words).get("flow"))
    try:
        signed = signature(flow, found)
    except (TypeError, UnicodeEncodeError):
        return
    draft.words = [(k, signed if k == "id" else v) for k, v in draft.words]


def _one(draft: Draft, chance: Random) -> dict[str, Any]:
    """A tensor's entry, as far as it still is one."""
    found = [entry for _, entry in draft.entries if isinstance(entry, dict)]
    return chance.choice(found) if found else {"data_offsets": None}


def _version(draft: Draft, chance: Random) -> None:
    draft.words = [(k, chance.choice(VERSIONS) if k == "version" else v) for k, v in draft.words]


def _length(draft: Draft, chance: Random) -> None:
    real = len(draft.data()) - 8 - len(draft.body)
    draft.length = chance.choice((*LENGTHS, real - 1, real + 1, real + len(draft.body)))


def _before(draft: Draft, chance: Random) -> None:
    draft.before = chance.choice(BEFORE)


def _after(draft: Draft, chance: Random) -> None:
    draft.after = chance.choice((b"\0", b" " * 600_000, b"{}", b",", b"\n" * 9, b"\xff", b"}"))


def _twice(draft: Draft, chance: Random) -> None:
    """A key again, with the same value or another, perhaps spelled by escapes."""
    pairs = chance.choice((draft.words, draft.entries))
    key, value = chance.choice(pairs)
    spelled = "".join(f"\\u{ord(c):04x}" for c in key)
    if pairs is draft.entries and chance.random() < 0.5:
        draft.raw.append(f'"{spelled}":{json.dumps(value)}')
    elif pairs is draft.words and chance.random() < 0.3:
        draft.raw.append('"__metadata__":{}')
    else:
        pairs.append((key, chance.choice((value, "", "flow"))))


def _entry(draft: Draft, chance: Random) -> None:
    key, odd = chance.choice((("dtype", TYPES), ("shape", SHAPES), ("data_offsets", OFFSETS)))
    _one(draft, chance)[key] = chance.choice(odd)


def _moved(draft: Draft, chance: Random) -> None:
    """Overlaps, gaps, and a body that is longer or shorter than it should be."""
    entry = _one(draft, chance)
    by = chance.choice((-8, -4, -1, 1, 4, 8, 2**20, 2**40))
    old = entry["data_offsets"]
    whole = isinstance(old, list) and all(type(offset) is int for offset in old)
    entry["data_offsets"] = [offset + by for offset in old] if whole else by
    draft.body = chance.choice((draft.body, draft.body[:-1], draft.body + b"PK\3\4", b""))


def _empty(draft: Draft, chance: Random) -> None:
    place = len(draft.body) if chance.random() < 0.7 else 0
    name = chance.choice(("start", "model_sigmas", "payload", "mean_weights"))
    draft.entries.append((name, {"dtype": "F64", "shape": chance.choice(([0], [0, 4], [])),
                                 "data_offsets": [place, place]}))


def _deep(draft: Draft, chance: Random) -> None:
    depth = chance.choice((10, 900, 1100, 20_000, 100_000))
    opened, closed = chance.choice((("[", "]"), ('{"a":', "}")))
    text = opened * depth + ("1" + closed * depth if chance.random() < 0.7 else "")
    if chance.random() < 0.5:
        draft.raw.append(f'"deep":{text}')
    else:
        draft.words.append(("workflow", text))


def _number(draft: Draft, chance: Random) -> None:
    at = 8 * chance.randrange(max(1, len(draft.body) // 8))
    draft.body = draft.body[:at] + chance.choice(NUMBERS) + draft.body[at + 8:]


def _many(draft: Draft, chance: Random) -> None:
    count = chance.choice((100, 1000, 5000))
    if chance.random() < 0.5:
        draft.words += [(f"site.{n}", "") for n in range(count)]
    else:
        draft.entries += [(f"t{n}", {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]})
                          for n in range(count)]


def _text(draft: Draft, chance: Random) -> None:
    at, text = chance.randrange(len(draft.words)), chance.choice(TEXTS)
    key, value = draft.words[at]
    draft.words[at] = chance.choice(((key, text), (text, value), (key + text, value),
                                     (key, f"{value}{text}")))


def _named(draft: Draft, chance: Random) -> None:
    at = chance.randrange(len(draft.entries))
    name, entry = draft.entries[at]
    draft.entries[at] = (chance.choice((name.upper(), name + "\0", name + " ", "", "__metadata__",
                                        "x" * 65_536, chance.choice(TEXTS))), entry)


TRICKS: tuple[Callable[[Draft, Random], None], ...] = (
    _version, _length, _before, _after, _twice, _entry, _moved, _empty, _deep, _number, _many,
    _text, _named)
