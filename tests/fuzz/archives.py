"""Zip archives that escape, explode, lie or repeat themselves."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from random import Random

from ..pack import load
from .bytewise import damaged
from .tricks import TEXTS, tricky

NAMES = ("a.safetensors", "A.safetensors", "../a.safetensors", "/etc/a.safetensors", "a/",
         "..\\..\\a.safetensors", "C:\\a.safetensors", "a/../../b.safetensors", ".safetensors",
         "con.safetensors", "a.safetensors.", "a.safetensors\0.txt", " .safetensors", "a.txt", "",
         "x" * 300 + ".safetensors", "\u202ea.safetensors", ".hidden.safetensors", "a.SAFETENSORS",
         "b" * 60_000 + ".safetensors", "a.safetensors/b", "\u0301.safetensors")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA,
           zipfile.ZIP_BZIP2)
LINK = 0o120777 << 16
BOMB = 4 << 20
FIELDS = {b"PK\1\2": ((8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (28, "<H"),
                      (30, "<H"), (32, "<H"), (38, "<I"), (42, "<I")),
          b"PK\3\4": ((6, "<H"), (8, "<H"), (18, "<I"), (22, "<I"), (26, "<H"), (28, "<H")),
          b"PK\5\6": ((4, "<H"), (8, "<H"), (10, "<H"), (12, "<I"), (16, "<I"), (20, "<H"))}
VALUES = (0, 1, 2, 8, 9, 12, 93, 99, 2**15, 2**16 - 1, 2**31, 2**32 - 1)


def archive(sources: list[bytes], chance: Random) -> bytes:
    """A hostile archive.

    Args:
        sources: sound presets.
        chance: where every choice comes from.
    """
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as file:
        warnings.simplefilter("ignore")  # of names that come twice
        for _ in range(chance.choice((0, 1, 1, 2, 5))):
            name = chance.choice((*NAMES, chance.choice(TEXTS[2:]) + ".safetensors"))
            entry = zipfile.ZipInfo(name[:65_000].encode("utf-8", "replace").decode())
            entry.external_attr = chance.choice((0, LINK, 0o40755 << 16))
            entry.comment = chance.choice((b"", b"x" * 500))
            file.writestr(entry, _content(sources, chance), chance.choice(METHODS))
        file.comment = chance.choice((b"", b"", b"PK\5\6" + b"\0" * 18, b"x" * 70_00))
    data = out.getvalue()
    if chance.random() < 0.6:
        data = _lying(bytearray(data), chance)
    if chance.random() < 0.2:
        data = data[: chance.randrange(len(data) + 1)] + chance.choice((b"", b"PK\5\6", data))
    return data


def _content(sources: list[bytes], chance: Random) -> bytes:
    source = chance.choice(sources)
    match chance.randrange(6):
        case 0 | 1:
            return source
        case 2:
            return damaged(source, chance.choice(sources), chance)
        case 3:
            return tricky(source, chance.choice(sources), chance)
        case 4:
            return bytes(BOMB) if chance.random() < 0.1 else bytes(9)
        case _:
            return chance.randbytes(chance.randrange(50))


def _lying(data: bytearray, chance: Random) -> bytes:
    """Fields of the archive's own records that say something else."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        record = chance.choice(tuple(FIELDS))
        at = data.find(record)
        offset, kind = chance.choice(FIELDS[record])
        if at >= 0 and at + offset + struct.calcsize(kind) <= len(data):
            value = chance.choice(VALUES) % (1 << 8 * struct.calcsize(kind))
            struct.pack_into(kind, data, at + offset, value)
    return bytes(data)


def unpack(data: bytes) -> bool:
    """What the route does with an archive; whether it held a sound preset.

    Raises:
        PresetError: as a sentence. AssertionError: an entry's name has folders in it.
    """
    error, sound = load("presets.fields").PresetError, False
    for name, found in load("presets.parcels").unparcel(data):
        if "/" in name or "\\" in name:
            raise AssertionError(f"a name with folders: {name[:50]!r}")
        if isinstance(found, str):
            continue
        try:
            load("presets.file").contents(found)
            sound = True
        except error:
            continue
    return sound
