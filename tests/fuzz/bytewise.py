"""Damage that knows nothing of the format: bits, bytes, cuts, copies, splices."""

from __future__ import annotations

import struct
from random import Random

JSON_BYTES = b'{}[]",:0123456789-+.eE\\utfn \0\x7f\x80\xff'
ODD_JSON = (b"[" * 100_000, b'{"a":' * 50_000, b"9" * 9999, b"NaN", b"-Infinity", b"1e999",
            b'"\\ud800"', b"null", b"true", b"\xef\xbb\xbf", b"\0", b"{}", b"[]", b'"id":', b",")
MAX_LENGTH = 1 << 16


def damaged(data: bytes, other: bytes, chance: Random) -> bytes:
    """The file after one to eight hurts, mostly to its header.

    Args:
        data: a sound file.
        other: another, of which pieces may be put in.
        chance: where every choice comes from.
    """
    found = bytearray(data)
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        end = min(len(found), header) if chance.random() < 0.7 else len(found)
        _hurt(found, chance.randrange(max(1, end)), other, chance)
    if chance.random() < 0.5 and len(found) >= 8:  # an honest length lets damage reach further
        found[:8] = struct.pack("<Q", max(0, header + len(found) - len(data) - 8))
    return bytes(found[:MAX_LENGTH])


def damaged_text(data: bytes, chance: Random) -> bytes:
    """JSON text after one to four hurts, or with depth, length and odd numbers put into it."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(found) + 1)
        if chance.random() < 0.2:
            found[at:at] = chance.choice(ODD_JSON)
        else:
            _hurt(found, min(at, max(0, len(found) - 1)), data, chance)
    return bytes(found[: MAX_LENGTH * 4])


def _hurt(found: bytearray, at: int, other: bytes, chance: Random) -> None:
    length = chance.randrange(1, 40)
    match chance.randrange(7):
        case 0 if found:
            found[at] ^= 1 << chance.randrange(8)
        case 1 if found:
            found[at] = chance.choice(JSON_BYTES)
        case 2:
            found[at : at + length] = chance.randbytes(length)
        case 3:
            del found[at : at + length]
        case 4:
            found[at:at] = found[at : at + length] * chance.choice((1, 1, 50))
        case 5:
            start = chance.randrange(len(other))
            found[at : at + length] = other[start : start + length]
        case _:
            del found[at:]
