"""Zip archives that escape, explode, lie or repeat themselves."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import warnings
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from .bytewise import damaged
from .tricks import TEXTS, tricky

NAMES = ("a.safetensors", "A.safetensors", "../a.safetensors", "/etc/a.safetensors", "a/",
         "..\\..\\a.safetensors", "C:a.safetensors", "a/../../b.safetensors", ".safetensors",
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


def bombs(sound: bytes) -> list[bytes]:
    """Archives that are small and unpack, or claim, more than a page can hold."""
    many = _many(sound + bytes(BOMB // 4 - len(sound)))
    entry = _central(b"a.safetensors", packed=BOMB, size=1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1000, 1000, len(entry) * 1000, BOMB, 0)
    return [many, bytes(BOMB) + entry * 1000 + end]


def _many(data: bytes) -> bytes:
    """A thousand entries of the same data, packed only once here."""
    out, first = io.BytesIO(), b"0000.safetensors"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(first.decode(), data)
    one = out.getvalue()
    begin = one.index(b"PK\1\2")
    entry = one[begin : one.index(b"PK\5\6")]
    files, directory = [], []
    for number in range(1000):
        name = b"%04d.safetensors" % number
        files.append(one[:begin].replace(first, name, 1))
        directory.append(entry[:42] + struct.pack("<I", number * begin) + name)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1000, 1000, 1000 * len(entry), 1000 * begin,
                      0)
    return b"".join([*files, *directory, end])


def _central(name: bytes, *, packed: int, size: int) -> bytes:
    """An entry of an archive's directory that points to its begin."""
    return struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, packed, size,
                       len(name), 0, 0, 0, 0, 0, 0) + name


def opened_by_the_page(archives: list[bytes], folder: Path) -> dict[str, Any]:
    """What the page's own script makes of them, in Node.

    Args:
        archives: what is dropped onto the page.
        folder: an empty one, for them.

    Returns:
        "accepted", "refused" and "crashes": what went wrong -> number of the archive.
    """
    for number, data in enumerate(archives):
        (folder / f"{number}.zip").write_bytes(data)
    script = Path(__file__).with_name("archives.mjs")
    done = subprocess.run([shutil.which("node") or "node", str(script), str(folder),
                           str(len(archives))], capture_output=True, text=True, check=True,
                          timeout=600)
    return json.loads(done.stdout)
