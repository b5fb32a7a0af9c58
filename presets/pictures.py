"""Small pictures inside a preset: base64 text that must be a JPEG, PNG or WebP by its first bytes.

What a stranger calls a picture is shown by a browser, so nothing else may pass as one: no SVG,
no HTML, and none that is small as a file and takes gigabytes when it is shown. The bytes are
handed on as they are, never decoded here.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import ClassVar

from .fields import PresetError, kind_of

MAX_PICTURE = 40_000  # bytes of one picture
MAX_SIDE = 4096  # pixels; a search's own have 256, and a browser takes 64 MiB for the largest
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's markers that are followed by a size,
ALONE = {0x00, 0x01, 0xFF, *range(0xD0, 0xD9)}  # by nothing,
ENDS = {0xD9, 0xDA}  # by what is no segment


@dataclass(frozen=True)
class Picture:
    """Base64 of a JPEG, PNG or WebP of at most `limit` bytes."""

    limit: int = MAX_PICTURE
    unknown: ClassVar[str] = ""

    def check(self, field: str, value: object) -> str:
        """The value itself.

        Raises:
            PresetError: not text, not base64, too large, or another kind of file.
        """
        if not isinstance(value, str):
            raise PresetError(f"{field} must be a picture as base64 text, found "
                              f"{kind_of(value)}.")
        if len(value) > 4 * -(-self.limit // 3):
            raise PresetError(f"{field} must be a picture of at most {self.limit} bytes, found "
                              f"{len(value)} characters of base64. Make it smaller.")
        data = _bytes(field, value)
        if value and not media_type(data):
            raise PresetError(f"{field} must be a JPEG, PNG or WebP picture, found something "
                              "else. Leave it out.")
        width, height = size_of(data)
        if max(width, height) > MAX_SIDE:
            raise PresetError(f"{field} must have at most {MAX_SIDE} pixels a side, found "
                              f"{width} x {height}. Make it smaller.")
        return value

    def write(self, value: str) -> str:
        """As it is."""
        return value

    def read(self, field: str, text: str) -> str:
        """As it is; `check` follows."""
        return text


def media_type(data: bytes) -> str:
    """Such as "image/jpeg", by the first bytes; "" for anything that is no such picture."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return ""


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height that a picture claims; 0, 0: it ends before it claims any."""
    readers = {"image/png": _png, "image/webp": _webp, "image/jpeg": _jpeg}
    kind = media_type(data)
    try:
        return readers[kind](data) if kind else (0, 0)
    except (struct.error, IndexError):
        return 0, 0


def _png(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16)


def _webp(data: bytes) -> tuple[int, int]:
    """The canvas of one with several parts, else what its only part holds."""
    part = data[12:16]
    if part == b"VP8X":
        low = struct.unpack_from("<HBHB", data, 24)
        return 1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)
    if part == b"VP8L":
        bits, = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if part == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _jpeg(data: bytes) -> tuple[int, int]:
    """The largest of the frames before the first scan: programs differ in which they take."""
    place, found = 2, (0, 0)
    while (place := data.find(b"\xff", place)) >= 0:
        place += 1
        marker = data[place]
        if marker in ALONE:
            continue
        if marker in ENDS:
            break
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 4)
            found = max(found, (width, height), key=max)
        place += 1 + struct.unpack_from(">H", data, place + 1)[0]
    return found


def picture_text(data: bytes) -> str:
    """Base64 text of a picture's bytes, as `PresetInfo.picture` wants it."""
    return base64.b64encode(data).decode("ascii")


def picture_bytes(text: str) -> bytes:
    """The picture behind a text that `Picture` has checked; b"" for none."""
    return base64.b64decode(text)


def _bytes(field: str, text: str) -> bytes:
    """Strict: one text per picture, so that equal presets have equal bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PresetError(f"{field} must be base64 text, but cannot be read. Leave it out."
                          ) from error
    if picture_text(data) != text:
        raise PresetError(f"{field} must be base64 text as everybody writes it, found other "
                          "padding. Leave it out.")
    return data
