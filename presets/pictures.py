"""Small pictures inside a preset: base64 text that must be a JPEG, PNG or WebP by its first bytes.

What a stranger calls a picture is shown by a browser, so nothing else may pass as one: no SVG,
no HTML. The bytes are handed on as they are, never decoded here.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import ClassVar

from .fields import PresetError, kind_of

MAX_PICTURE = 40_000  # bytes of one picture


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
        if value and not media_type(_bytes(field, value)):
            raise PresetError(f"{field} must be a JPEG, PNG or WebP picture, found something "
                              "else. Leave it out.")
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
