"""Several presets in one zip archive, read as if a stranger had sent it.

Nothing is unpacked to the disk: entries are read one by one, each only as far as a preset may be
long. Only stored and deflated entries are read: the others cannot be read in part.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator

from .container import MAX_BYTES
from .fields import PresetError
from .store import SUFFIX

MAX_ZIP = 64 << 20
MAX_ENTRIES = 1000
MAX_DIRECTORY = MAX_ENTRIES * 400  # bytes: 46 and a name for each
MAX_UNPACKED = 64 << 20
DAY = (1980, 1, 1, 0, 0, 0)  # equal presets, equal bytes
READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError,
          RuntimeError, LookupError, OverflowError)


def parcel(files: dict[str, bytes]) -> bytes:
    """A zip archive of these files.

    Raises:
        PresetError: more than `unparcel` would read again.
    """
    if len(files) > MAX_ENTRIES or sum(map(len, files.values())) > MAX_UNPACKED // 2:
        raise PresetError(f"An archive has at most {MAX_ENTRIES} presets and "
                          f"{MAX_UNPACKED >> 21} MiB. Choose fewer.")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, DAY), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def unparcel(data: bytes) -> Iterator[tuple[str, bytes | str]]:
    """Entries of an archive, folders left out.

    Yields:
        An entry's name without folders, and its bytes, or a sentence why it is not read.

    Raises:
        PresetError: no zip archive, too many entries, too much to unpack.
    """
    _check_directory(data)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except BROKEN as error:
        raise PresetError("This is no zip archive, or it is damaged. Make it again.") from error
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    if len(entries) > MAX_ENTRIES:
        raise PresetError(f"An archive has at most {MAX_ENTRIES} files, this one has "
                          f"{len(entries)}. Split it.")
    room = MAX_UNPACKED
    for entry in entries:
        found = _read(archive, entry)
        room -= len(found) if isinstance(found, bytes) else 0
        if room < 0:
            raise PresetError(f"The files of an archive have at most {MAX_UNPACKED >> 20} MiB "
                              "together, these have more. Split it.")
        yield entry.filename.replace("\\", "/").rsplit("/", 1)[-1], found


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | str:
    if not entry.filename.lower().endswith(SUFFIX):
        return f"Only {SUFFIX} files are presets."
    if entry.flag_bits & ENCRYPTED or entry.compress_type not in READABLE:
        return "It is encrypted or packed in an unusual way. Make an ordinary zip archive."
    try:
        with archive.open(entry) as file:
            found = file.read(MAX_BYTES + 1)
    except BROKEN:
        return "It is damaged. Make the archive again."
    return found if len(found) <= MAX_BYTES else f"A preset has at most {MAX_BYTES} bytes."


def _check_directory(data: bytes) -> None:
    """zipfile reads the whole list of entries at once, so its length is looked at before."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - (1 << 16) - 22))
    if at < 0 or len(data) < at + 22:
        raise PresetError("This is no zip archive, or it is damaged. Make it again.")
    size = int.from_bytes(data[at + 12 : at + 16], "little")
    if size > MAX_DIRECTORY or b"PK\x06\x07" in data[max(0, at - 20) : at]:
        raise PresetError(f"An archive has at most {MAX_ENTRIES} files with short names, this "
                          "one has more. Split it.")
