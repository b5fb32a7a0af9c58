"""Writing a search's presets so that nothing is lost: not the search, and nobody else's file.

Whether the folder can be written is tried before the first model call. A write that fails later
ends nothing: it is tried again with the next better solver, and the report says what is not on
disk. A file that is not our own last write is never replaced: the next free name is taken. What an
earlier run of the same search has left counts as ours, but only what is further replaces it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

from ..presets.fields import PresetError
from ..presets.file import dump, parse
from ..presets.preset import Preset, PresetInfo
from ..presets.store import MAX_NAME, SUFFIX, check_name, read_bytes, save
from . import measured

LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")  # what a killed write leaves behind
OLD = 3600.0  # seconds
OF_PEOPLE = ("author", "notes", "licence", "measured")  # what no search writes into a preset
ELSEWHERE = "The SOLVER output holds it: connect Save Solver Preset to save it elsewhere."
Mark = tuple[int, int, int, int]
log = logging.getLogger("solver-search")


class FolderError(OSError):
    """Presets cannot be written; the message says why and what to do."""


class Saving:
    """The files of one search.

    Args:
        folder: where presets go.
        others: names of presets elsewhere (the library), which are not hidden by ours.
        on_change: called after each file written.
        figures: whether what was measured is kept beside them, for this machine.
    """

    def __init__(self, folder: Path, others: Collection[str] = (),
                 on_change: Callable[[], None] = lambda: None, *, figures: bool = True) -> None:
        self.folder, self.on_change, self.figures = folder, on_change, figures
        self.others = {name.lower() for name in others}
        self.names: dict[str, str] = {}  # as asked for -> as written
        self.marks: dict[str, Mark] = {}  # of our last write, by the name as written
        self.ids: dict[str, str] = {}  # of what is on disk, by the name as asked for
        self.left: dict[str, Preset] = {}  # by an earlier run, until it is replaced
        self.troubles: dict[str, str] = {}

    def ready(self) -> None:
        """Try to write, and clear away what killed writes left an hour ago and more.

        Raises:
            FolderError: if the folder cannot be written.
        """
        trial = self.folder / f".{secrets.token_hex(8)}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(self.folder)
            try:
                trial.write_bytes(b"0")
            finally:
                trial.unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(f"Presets cannot be written to {self.folder.name}: "
                              f"{reason(error)}. Make room there or allow writing, then run "
                              "again; nothing was searched yet.") from error

    def free(self, name: str) -> str:
        """The name, or with 2, 3 ... behind it the first that nobody has.

        Raises:
            PresetError: for a name that no preset may have.
        """
        stem = check_name(name)
        candidate, number = stem, 1
        while self._taken(candidate):
            number += 1
            ending = f" {number}"
            candidate = stem[: MAX_NAME - len(ending)].rstrip(" .") + ending
        return candidate

    def go_on(self, path: Path) -> bool:
        """Let a file that an earlier run of the same search has left, and that nobody has changed
        since, be replaced by what is further. False: it is not such a file.

        Raises:
            PresetError, OSError: it cannot be read.
        """
        mark, preset = _mark(path), as_searched(read_bytes(path))
        if preset is None or preset.info.name != path.stem or not S_ISREG(path.lstat().st_mode):
            return False
        self.marks[path.stem], self.left[path.stem] = mark, preset
        self.ids[path.stem] = preset.id
        return True

    def keep(self, preset: Preset) -> None:
        """Write it under its name, or the next free one where another file has come; a failure
        is remembered, not raised."""
        asked = preset.info.name
        try:
            self._write(asked, preset)
        except (OSError, PresetError) as error:
            self.troubles[asked] = reason(error)
            log.warning("'%s' could not be saved: %s", asked, reason(error))
            return
        self.troubles.pop(asked, None)
        self.on_change()

    def name(self, asked: str) -> str:
        """Under which name it is, or would be, written."""
        return self.names.get(asked, asked)

    def named(self, preset: Preset) -> Preset:
        """The preset with the name that it has on disk."""
        return _renamed(preset, self.name(preset.info.name))

    def file(self, asked: str) -> str:
        """Name of its file; "" where nothing could be written."""
        return self.name(asked) + SUFFIX if asked in self.ids else ""

    def warning(self, preset: Preset) -> str:
        """What is not on disk of this preset, named as asked for, and where it is; else ""."""
        asked = preset.info.name
        if asked not in self.troubles:
            return ""
        said = f"'{asked}' could not be saved: {self.troubles[asked]}."
        if asked in self.ids:
            said += f" An earlier, unfinished one is in {self.file(asked)}."
        return f"{said} {ELSEWHERE}"

    def _write(self, asked: str, preset: Preset) -> None:
        name = self.names.get(asked, asked)
        left = self.left.get(name) if self._ours(name) else None
        if left is not None and not _is_further(preset, left):
            return
        if not self._ours(name) or left is not None and not left.info.state and (
                left.id != preset.id):  # a finished one of the same key: its prompts were others
            name = self.free(name)
        clear_leftovers(self.folder)
        path = save(self.folder, _renamed(preset, name), name=name, overwrite=True)
        self.names[asked], self.marks[name] = name, _mark(path)
        self.ids[asked] = preset.id
        self.left.pop(name, None)
        if self.figures and preset.info.error is not None:
            measured.keep([preset], self.folder)

    def _ours(self, name: str) -> bool:
        """Whether nothing is there, or what we wrote last and nobody has touched."""
        path = self.folder / (name + SUFFIX)
        if not os.path.lexists(path):
            return name in self.marks or not self._taken(name)
        return self.marks.get(name) == _mark(path)

    def _taken(self, name: str) -> bool:
        file = name + SUFFIX
        return file.lower() in self.others or os.path.lexists(self.folder / file)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed writes left in the folder an hour ago and more."""
    try:
        names = [name for name in os.listdir(folder) if LEFTOVER.fullmatch(name)]
    except OSError:
        return
    for name in names:
        path = folder / name
        try:
            if path.is_file() and not path.is_symlink() and (
                    time.time() - path.lstat().st_mtime > OLD):
                path.unlink()
        except OSError as error:
            log.warning("A leftover of an earlier search stays: %s", reason(error))


def as_searched(data: bytes) -> Preset | None:
    """The preset of a file in which only a search has written; None: somebody else has, too.

    Raises:
        PresetError: not a sound preset.
    """
    preset = parse(data)
    told = {name: PresetInfo.__dataclass_fields__[name].default for name in OF_PEOPLE}
    bare = replace(preset, info=replace(preset.info, **told))
    return preset if dump(bare) == data else None


def _is_further(preset: Preset, left: Preset) -> bool:
    """Whether a preset of the same search was searched longer, or is finished."""
    if not preset.info.state:
        return True
    return bool(left.info.state) and preset.info.model_calls > left.info.model_calls


def reason(error: Exception) -> str:
    """An error in words, without the folders that the system names."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return said.rstrip(".")


def plain(text: str, limit: int) -> str:
    """A file name as a preset may state it: without characters that are not seen, or too long."""
    seen = "".join(c for c in text if unicodedata.category(c)[0] != "C"
                   and unicodedata.category(c) not in ("Zl", "Zp") and c not in "/\\")
    return seen[:limit]


def _renamed(preset: Preset, name: str) -> Preset:
    if preset.info.name == name:
        return preset
    return replace(preset, info=replace(preset.info, name=name))


def _mark(path: Path) -> Mark:
    stat = path.lstat()
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
