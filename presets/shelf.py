"""Presets of whole folders: each file parsed once, and again only when it changed.

A listing asks the disk for each file's state and opens none; `Shelf` keeps what was parsed as
long as that state stays the same, and forgets files that are gone. Pictures are left out of what
it keeps, so that ten thousand presets fit into memory: `store.read` has them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from .preset import Preset, PresetError
from .store import read

log = logging.getLogger("solver-search")
NAMED = 5  # broken files named in one line of the log
State = tuple[int, int, int, int]


class Listed(NamedTuple):
    """A file that may be a preset.

    Args:
        name: as in a picker: below its folder.
        path: where it is.
        own: whether it lies in people's own folder, the first of the folders.
        state: times of change in ns, size in bytes, number on the disk; another: changed.
    """

    name: str
    path: str
    own: bool
    state: State

    @property
    def stamp(self) -> str:
        """The state as text."""
        return ":".join(map(str, self.state))

    @property
    def mtime(self) -> float:
        """Seconds since 1970 of the last writing."""
        return self.state[0] / 1e9

    @property
    def size(self) -> int:
        """Bytes."""
        return self.state[2]


class Shelved(NamedTuple):
    """What a file holds.

    Args:
        file: it.
        preset: without its pictures; None if it is broken.
        pictures: whether it has any.
        error: why it is broken, else "".
    """

    file: Listed
    preset: Preset | None
    pictures: bool
    error: str


def listed(names: Iterable[str], folders: Sequence[str]) -> list[Listed]:
    """Regular files of these names: those in the first folder come first, newest on top.

    Links count as what they lead to. Pipes, devices, folders and links to nowhere are left out,
    and names that are no text, as other systems leave them: no page could ask for such a file.

    Args:
        names: below any of the folders; of equal names the earlier folder's file counts.
        folders: people's own first.
    """
    found = [file for name in names if (file := look(name, folders)) is not None]
    own = sorted((file for file in found if file.own), key=lambda file: -file.state[0])
    return own + [file for file in found if not file.own]


def look(name: str, folders: Sequence[str]) -> Listed | None:
    """The file of one name; None where `listed` would leave it out."""
    if not name.isascii() and name != name.encode("utf-8", "ignore").decode():
        return None
    for place, folder in enumerate(folders):
        path = f"{folder}{os.sep}{name}"  # os.path.join takes longer than the disk
        try:
            stat = os.stat(path)
        except (OSError, ValueError):
            continue
        if S_ISREG(stat.st_mode):
            state = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)
            return Listed(name, path, place == 0, state)
    return None


class Shelf:
    """Presets by file name."""

    def __init__(self) -> None:
        self._files: list[Listed] = []
        self.entries: dict[str, Shelved] = {}
        self.presets: dict[str, Preset] = {}
        self.broken: dict[str, str] = {}

    def refresh(self, files: list[Listed]) -> Shelf:
        """Parse what is new or has changed, forget what is gone.

        Returns:
            Itself. Other threads may read meanwhile: they see all of before or all of now.
        """
        if files == self._files:
            return self
        known, told = self.entries, self.broken
        self.entries = {file.name: known[file.name] if file.name in known
                        and known[file.name].file == file else _shelved(file) for file in files}
        self.presets = {name: entry.preset for name, entry in self.entries.items()
                        if entry.preset is not None}
        self.broken = {name: entry.error for name, entry in self.entries.items() if entry.error}
        self._files = files
        if self.broken and self.broken != told:
            log.warning(_left_out(self.broken))
        return self


def _shelved(file: Listed) -> Shelved:
    try:
        preset = read(Path(file.path))
    except (PresetError, OSError) as error:
        return Shelved(file, None, False, str(error))
    info = preset.info
    if not (info.picture or info.reference_picture):
        return Shelved(file, preset, False, "")
    light = replace(info, picture="", reference_picture="")
    return Shelved(file, Preset(preset.solver, light), True, "")


def _left_out(broken: dict[str, str]) -> str:
    sentences = list(broken.values())
    more = f" ... and {len(sentences) - NAMED} more." if len(sentences) > NAMED else ""
    count = "1 file is" if len(sentences) == 1 else f"{len(sentences)} files are"
    return f"{count} left out of the presets. {' '.join(sentences[:NAMED])}{more}"
