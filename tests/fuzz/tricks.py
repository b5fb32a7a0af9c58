"""Tricks that are known against readers of safetensors, JSON and text, one or several at once."""

from __future__ import annotations

import base64
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
EVIDENCE = ("error", "error_interval", "error_median", "error_elsewhere", "baseline_error",
            "baseline_interval", "baseline_median", "baseline_elsewhere", "difference_interval",
            "held_out_seeds", "held_out_prompts", "guidance", "guidance_low", "guidance_high",
            "guidance_measured", "builtin", "baseline", "created", "denoise", "seconds", "shift")
CLAIMS = ("0", "-0", "-1", "5e-324", "1e-308", "1e9", "1e308", "1000000000000", "1", "0.999999999",
          "0.5", "")
DATES = ("9999-12-31", "0001-01-01", "2026-02-29", "10000-01-01")
BEFORE = (b" ", b"\t", b"\xef\xbb\xbf", b"\0", b"[", b"null", b"\xff\xfe")


def huge_png(width: int, height: int) -> bytes:
    """A PNG that claims this size."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0,
                                                         0) + b"\0" * 9


def huge_jpeg(width: int, height: int) -> bytes:
    """A JPEG that claims this size, behind a small one in a part that programs skip."""
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0"
    inner = b"\xff\xc0\0\x0b\x08\0\1\0\1\1\1\x11\0"
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", 2 + len(inner)) + inner + frame


def huge_webp(width: int, height: int) -> bytes:
    """A lossy WebP that claims this size."""
    return _riff(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width & 0x3FFF,
                                                             height & 0x3FFF))


def huge_lossless(width: int, height: int) -> bytes:
    """A WebP without losses that claims this size."""
    return _riff(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 & 0x3FFF
                                               | (height - 1 & 0x3FFF) << 14))


def huge_canvas(width: int, height: int) -> bytes:
    """A WebP of several parts whose canvas has this size."""
    return _riff(b"VP8X", b"\0\0\0\0" + (width - 1).to_bytes(3, "little")
                 + (height - 1).to_bytes(3, "little"))


def _riff(kind: bytes, data: bytes) -> bytes:
    data += b"\0" * 30
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBP" + kind + struct.pack(
        "<I", len(data)) + data


def _entry_text(entry: Any) -> str:  # noqa: ANN401
    """JSON of a tensor's entry, whose values may be deeper than Python's own writer bears."""
    if not isinstance(entry, dict) or not any(map(_is_deep, entry.values())):
        return json.dumps(entry)
    return "{" + ",".join(f"{json.dumps(k)}:{_nested(v) if _is_deep(v) else json.dumps(v)}"
                          for k, v in entry.items()) + "}"


def _is_deep(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, (list, dict)) and len(value) == 1 and not isinstance(
        value[0] if isinstance(value, list) else value.get("a"), (int, float, str, type(None)))


def _nested(value: Any) -> str:  # noqa: ANN401
    """JSON of any depth; Python's own writer stops at some."""
    closed, text = [], []
    while isinstance(value, (list, dict)):
        text.append("[" if isinstance(value, list) else '{"a":')
        closed.append("]" if isinstance(value, list) else "}")
        value = value[0] if isinstance(value, list) else value["a"]
    return "".join([*text, json.dumps(value), *reversed(closed)])


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
        parts += [f"{json.dumps(k)}:{_entry_text(v)}" for k, v in self.entries] + self.raw
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
    except (TypeError, UnicodeEncodeError, RecursionError):
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


def _picture(draft: Draft, chance: Random) -> None:
    """A picture that is small as a file and wants gigabytes when it is shown."""
    width, height = (chance.choice((1, 255, 4096, 4097, 16_383, 65_535)) for _ in range(2))
    made = chance.choice((huge_png, huge_jpeg, huge_webp, huge_lossless, huge_canvas))
    data = made(width, height)[: chance.choice((40_000, 40_000, 24, 30))]
    name = chance.choice(("picture", "reference_picture"))
    draft.words = [(k, v) for k, v in draft.words if k != name]
    draft.words.append((name, base64.b64encode(data).decode()))


def _deep_entry(draft: Draft, chance: Random) -> None:
    """A value as deep as a reader of JSON just bears, where it is to be shown."""
    deep: Any = 1
    for _ in range(chance.choice((100, 400, 800))):
        deep = chance.choice(([deep], {"a": deep}))
    _one(draft, chance)[chance.choice(("dtype", "shape", "data_offsets"))] = deep


def _claims(draft: Draft, chance: Random) -> None:
    """Evidence that is better than can be, or contradicts itself."""
    for key in chance.sample(EVIDENCE, chance.choice((1, 3, 6))):
        draft.words = [(k, v) for k, v in draft.words if k != key]
        draft.words.append((key, chance.choice(DATES if key == "created" else CLAIMS)))


def _sigmas(draft: Draft, chance: Random) -> None:
    """Noise levels that rise, stand still, or end elsewhere than they should."""
    found = dict(draft.entries).get("sigmas")
    if not isinstance(found, dict) or not isinstance(found.get("data_offsets"), list):
        return
    begin, end = found["data_offsets"][0], found["data_offsets"][-1]
    try:
        levels = list(struct.unpack(f"<{(end - begin) // 8}d", draft.body[begin:end]))
    except (struct.error, TypeError):
        return
    if not levels:
        return
    at = chance.randrange(len(levels))
    levels = chance.choice((levels[::-1], sorted(levels), [1.0] * len(levels), levels[1:] + [0.0],
                            levels[:at] + [5e-324] + levels[at + 1:], [-s for s in levels],
                            levels[:at] + [levels[at - 1] * (1 + 1e-16)] + levels[at + 1:],
                            levels[:-1] + [0.01], levels[:-1] + [-0.0]))
    draft.body = draft.body[:begin] + struct.pack(f"<{len(levels)}d", *levels) + draft.body[end:]


def _named(draft: Draft, chance: Random) -> None:
    at = chance.randrange(len(draft.entries))
    name, entry = draft.entries[at]
    draft.entries[at] = (chance.choice((name.upper(), name + "\0", name + " ", "", "__metadata__",
                                        "x" * 65_536, chance.choice(TEXTS))), entry)


TRICKS: tuple[Callable[[Draft, Random], None], ...] = (
    _version, _length, _before, _after, _twice, _entry, _moved, _empty, _deep, _number, _many,
    _text, _named, _picture, _deep_entry, _claims, _sigmas)
