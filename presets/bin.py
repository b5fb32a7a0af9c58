"""The bin: presets that were deleted lie in a hidden folder until newer ones push them out.

In `.bin` below people's own folder, as `<20 digits of time> <name>.deleted`: an ending that no
list of presets shows.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from .fields import PresetError
from .store import SUFFIX, check_inside, check_name, free_name

FOLDER = ".bin"
ENDING = ".deleted"
ROOM = 50  # files; the oldest leave
TOKEN = re.compile(r"[0-9]{20} [A-Za-z0-9 ._-]{1,80}")


def throw_away(folder: Path, path: Path) -> str:
    """Move a preset into the bin.

    Args:
        folder: people's own.
        path: the file, in it or in a folder below it.

    Returns:
        What `restore` brings it back by.

    Raises:
        PresetError: not in `folder`, a link, a name that no preset has.
        OSError: the disk refuses.
    """
    check_inside(folder, path)
    token = f"{time.time_ns():020d} {check_name(path.name)}"
    place = _folder(folder)
    place.mkdir(exist_ok=True)
    os.replace(path, place / (token + ENDING))
    for old in _thrown(place)[:-ROOM]:
        old.unlink(missing_ok=True)
    return token


def restore(folder: Path, token: str) -> Path:
    """Bring a preset back under its name, or the next free one.

    Returns:
        Its path.

    Raises:
        PresetError: it is not in the bin any more.
        OSError: the disk refuses.
    """
    path = _folder(folder) / (token + ENDING)
    if not TOKEN.fullmatch(token) or path.is_symlink() or not path.is_file():
        raise PresetError("This preset is not in the bin any more. Fetch it again from where it "
                          "came.")
    target = folder / (free_name(folder, token[21:]) + SUFFIX)
    os.replace(path, target)
    return target


def _folder(folder: Path) -> Path:
    place = folder / FOLDER
    if place.is_symlink():
        raise PresetError(f"{FOLDER} in your preset folder is a link, so nothing is moved there. "
                          "Remove the link.")
    return place


def _thrown(place: Path) -> list[Path]:
    return sorted(p for p in place.iterdir() if p.name.endswith(ENDING) and TOKEN.fullmatch(
        p.name[: -len(ENDING)]))
