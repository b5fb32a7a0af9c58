"""Damage that knows the format: odd words, numbers, shapes and tensors, signed as if sound.

Most of it gets a layout without gaps and the right `id`, by the format page's own words, so that
it reaches what lies behind those checks.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import struct
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 2**70, 1e308, 0.5, "", "x", "0", [], {}, [0], [None],
    [[1]], {"dtype": "F64"}, "F32", "BF16", [2**62, 4], [1, 1, 1])
ODD_WORDS = (
    "", " ", "0", "-0", "-1", "1e999", "1e-999", "nan", "inf", "٣", "1_0", "0x1", "9" * 20,
    "9" * 400, "true", "flow", "eps", "v", "<img src=x onerror=alert(1)>", "[[a|http://b]]",
    "../../etc/passwd", "..\\a", "a\0b", "a\nb", "\u202eabc", "\u061c", "\u3164", "\ud800",
    "\U000e0041", "a" * 5000, "2026-02-30", "2026-11-20", "{}", "[]", '{"a":NaN}', "[" * 3000,
    "/9j/", "iVBORw0KGgo=", "PHN2Zz4=", "unfinished", "ab", "AB", "=SUM(A1)", "null")
ODD_NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 100.0, 101.0, 1e4, 1.1e4, 1e5, 5e-324, 1e-6, 1e308,
               -1e308, math.nan, math.inf, -math.inf, 1 + 1e-4, 1 - 1e-5)
Parts = tuple[dict[str, Any], dict[str, tuple[list[int], list[float]]]]


def split(data: bytes) -> Parts:
    """A sound file's words, and its tensors as shape and entries."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    words = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        a, b = (end + offset for offset in entry["data_offsets"])
        tensors[name] = (entry["shape"], list(struct.unpack(f"<{(b - a) // 8}d", data[a:b])))
    return words, tensors


def mutant(data: bytes, other: bytes, keys: tuple[str, ...], chance: Random) -> bytes:
    """The file with one to four oddities in it.

    Args:
        data: a sound file.
        other: another, of which tensors may be put in.
        keys: of metadata that may be set.
        chance: where every choice comes from.
    """
    words, tensors = copy.deepcopy(split(data))
    for _ in range(chance.choice((1, 1, 2, 4))):
        match chance.randrange(5):
            case 0 | 1:
                words[chance.choice(keys)] = _word(words, chance)
            case 2 | 3:
                _change_number(tensors, chance)
            case _:
                _change_tensors(tensors, split(other)[1], chance)
    if chance.random() < 0.8:
        words["id"] = signature(str(words.get("flow")), tensors)
    return _joined(words, tensors, chance)


def signature(flow: str, tensors: dict[str, tuple[list[int], list[float]]]) -> str:
    """The `id` as the format page defines it."""
    digest = hashlib.sha256(b"flow=1\n" if flow == "true" else b"flow=0\n")
    for name, (shape, entries) in sorted(tensors.items()):
        digest.update(f"{name} {'x'.join(map(str, shape))}\n".encode())
        digest.update(struct.pack(f"<{len(entries)}d", *entries))
    return digest.hexdigest()[:16]


def _word(words: dict[str, Any], chance: Random) -> object:
    if chance.random() < 0.1:
        return chance.choice(ODD_VALUES)
    if chance.random() < 0.2:
        return chance.choice(list(words.values()))
    return chance.choice(ODD_WORDS)


def _change_number(tensors: dict[str, tuple[list[int], list[float]]], chance: Random) -> None:
    entries = tensors[chance.choice(list(tensors))][1] if tensors else []
    if not entries:
        return
    at = chance.randrange(len(entries))
    match chance.randrange(4):
        case 0:
            entries[at] = chance.choice(ODD_NUMBERS)
        case 1:
            entries[at] = struct.unpack("<d", chance.randbytes(8))[0]
        case 2:
            entries[at] *= chance.choice((-1, 2, 1e3, 1e-3, 1 + 1e-15))
        case _:  # what one entry gets another loses: a row's sum may stay
            amount, to = chance.uniform(-60, 60), chance.randrange(len(entries))
            entries[at] += amount
            entries[to] -= amount


def _change_tensors(tensors: dict[str, tuple[list[int], list[float]]],
                    others: dict[str, tuple[list[int], list[float]]], chance: Random) -> None:
    name = chance.choice([*tensors, *others, "payload"])
    match chance.randrange(4):
        case 0:
            tensors.pop(name, None)
        case 1:
            tensors[name] = copy.deepcopy(chance.choice(list(others.values())))
        case 2 if name in tensors:
            shape, entries = tensors[name]
            tensors[name] = (list(reversed(shape)), entries)
        case _:
            n = chance.randrange(1, 70)
            tensors[name] = ([n], [chance.choice(ODD_NUMBERS) for _ in range(n)])


def _joined(words: dict[str, Any], tensors: dict[str, tuple[list[int], list[float]]],
            chance: Random) -> bytes:
    header: dict[str, Any] = {"__metadata__": words}
    body = b""
    for name, (shape, entries) in tensors.items():
        data = struct.pack(f"<{len(entries)}d", *entries)
        header[name] = {"dtype": "F64", "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    if chance.random() < 0.15:
        entry = header[chance.choice(list(header))]
        key = chance.choice(("dtype", "shape", "data_offsets", "code"))
        entry[key] = copy.deepcopy(chance.choice(ODD_VALUES))
    text = json.dumps(header, ensure_ascii=True).encode("ascii")
    return struct.pack("<Q", len(text)) + text + body
