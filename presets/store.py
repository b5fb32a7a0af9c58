"""Presets as files below one given folder: safe names, atomic writing, careful reading.

A name comes from a widget, so from anyone who can reach the server: it must not leave the
folder, hide, or collide with a device of Windows. A file is written beside its target and moved
over it, so a reader sees the old preset or the new one, never half of one.
"""

from __future__ import annotations

import os
import re
import secrets
import time
import unicodedata
from pathlib import Path
from stat import S_ISREG

from .container import MAX_BYTES, check_size
from .fields import printable
from .file import dump, parse, renamed
from .preset import Preset, PresetError

SUFFIX = ".safetensors"
MAX_NAME = 80
NAME = re.compile(r"[A-Za-z0-9 ._-]+")
LIBRARY = Path(__file__).parent / "library"
LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")
LEFTOVER_AGE = 3600  # seconds: no writing takes as long
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])\s*(\..*)?", re.IGNORECASE)


class TakenError(PresetError):
    """A name that another preset has."""


def check_name(name: str) -> str:
    """A preset's file name without `.safetensors`, checked.

    Raises:
        PresetError: empty, too long, other characters, hidden, or reserved by Windows.
    """
    stem = name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name
    if not stem or len(stem) > MAX_NAME:
        raise PresetError(f"The name must have 1 to {MAX_NAME} characters, found {len(stem)}.")
    if not NAME.fullmatch(stem):
        raise PresetError("The name may hold letters A to Z, digits, space and . _ - only, found "
                          f"{stem[:40]!r}. Folders and accents are not possible.")
    if stem.startswith((".", " ")) or stem.endswith((".", " ")):
        raise PresetError(f"The name must not start or end with a dot or a space, found "
                          f"{stem!r}.")
    if RESERVED.fullmatch(stem):
        raise PresetError(f"The name {stem!r} is reserved by Windows. Choose another.")
    return stem


def save(folder: Path, preset: Preset, *, name: str, overwrite: bool,
         workflow: str | None = None) -> Path:
    """Write a preset below `folder`, wholly or not at all.

    Args:
        folder: made if missing.
        preset: what to write.
        name: file name; `.safetensors` is added.
        overwrite: whether a preset of that name may be replaced.
        workflow: see `file.dump`.

    Returns:
        The file's path.

    Raises:
        TakenError: the name is taken and `overwrite` is off, or it is one of the library's.
        PresetError: a bad name, a link that leads elsewhere.
        OSError: the disk refuses; an earlier file of that name is then untouched.
    """
    return save_bytes(folder, dump(preset, workflow), name=name, overwrite=overwrite)


def save_bytes(folder: Path, data: bytes, *, name: str, overwrite: bool) -> Path:
    """The same with a preset's bytes, which are written as they are.

    Raises:
        see `save`; whether the bytes are a sound preset is not asked.
    """
    target = _target(folder, check_name(name))
    if os.path.lexists(target) and not overwrite:
        raise TakenError(f"{target.name} is already there. Choose another name, or allow "
                         "overwriting.")
    if not os.path.lexists(target) and (LIBRARY / target.name).exists():
        raise TakenError(f"{target.name} is a preset that comes with Solver Search; it would be "
                         "hidden. Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    write_file(target, data, overwrite=overwrite)
    return target


def read(path: Path) -> Preset:
    """Preset from a file, never reading more than a preset can hold.

    Raises:
        PresetError: not there, or not a sound preset; the message starts with the file's name.
    """
    try:
        return parse(_bytes(path))
    except PresetError as error:
        raise PresetError(f"{printable(path.name)}: {error}") from error


def read_bytes(path: Path) -> bytes:
    """Bytes of a file that is as large as a preset may be, unchecked.

    Only a regular file is opened, or a link to one, and opening never waits.

    Raises:
        PresetError: not there, no file, too small or too large; the message starts with the
            file's name.
    """
    try:
        return _bytes(path)
    except PresetError as error:
        raise PresetError(f"{printable(path.name)}: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        _check_file(path.stat())
        with open(path, "rb", opener=_open_at_once) as file:
            _check_file(os.fstat(file.fileno()))  # it may be another by now
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PresetError("there is no such file. Refresh the list and choose again."
                          ) from error
    except OSError as error:
        raise PresetError(f"it cannot be read ({error.strerror}). Check the file, or fetch it "
                          "again.") from error


def _check_file(stat: os.stat_result) -> None:
    if not S_ISREG(stat.st_mode):
        raise PresetError("there is no such file, but a folder, pipe or device of that name. "
                          "Remove it.")
    if stat.st_size < 8:  # also what the kernel shows as files, whose reading may never end
        raise PresetError(f"The file ends after {stat.st_size} bytes; it is truncated. Fetch it "
                          "again.")
    check_size(stat.st_size)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def rename(folder: Path, path: Path, name: str) -> Path:
    """Give a preset another name, in the file and of the file; its numbers keep their id.

    Args:
        folder: people's own.
        path: the file, in it or in a folder below it.
        name: the new one; `.safetensors` is added.

    Returns:
        The new path.

    Raises:
        TakenError: the name is taken. PresetError: a bad name, not a preset, not in `folder`.
        OSError: the disk refuses.
    """
    check_inside(folder, path)
    stem = check_name(name)
    data = renamed(read_bytes(path), stem)
    target = path.with_name(stem + SUFFIX)
    same = target.exists() and target.samefile(path)  # also where case does not count
    if not same:
        written = save_bytes(path.parent, data, name=stem, overwrite=False)
        path.unlink()
        return written
    write_file(path, data, overwrite=True)
    os.replace(path, target)
    return target


def check_inside(folder: Path, path: Path) -> None:
    """Raises PresetError: the file is a link, or lies elsewhere than in `folder`."""
    if path.is_symlink() or not _real(path).is_relative_to(_real(folder)):
        raise PresetError(f"{printable(path.name)} does not lie in your own preset folder, so it "
                          "stays as it is. Change it where it lies.")


def free_name(folder: Path, name: str) -> str:
    """`name`, or with " 2", " 3" ... behind it the first that is not taken.

    Names of the library count as taken: a file in `folder` would hide it.

    Raises:
        PresetError: see `check_name`.
    """
    stem = check_name(name)
    candidate, number = stem, 1
    while _taken(folder, candidate):
        number += 1
        ending = f" {number}"
        candidate = stem[: MAX_NAME - len(ending)].rstrip(" .") + ending
    return candidate


def fitting_name(name: str) -> str:
    """A file name for what people call a preset: letters lose their accents, other characters
    become spaces.

    Returns:
        "" if nothing is left of it.
    """
    taken_apart = unicodedata.normalize("NFKD", name)
    parts = NAME.findall("".join(c for c in taken_apart if not unicodedata.combining(c)))
    stem = re.sub(" +", " ", " ".join(parts))[:MAX_NAME].strip(" .")
    while stem.lower().endswith(SUFFIX):
        stem = stem[: -len(SUFFIX)].strip(" .")
    return "" if RESERVED.fullmatch(stem) else stem


def sweep(folder: Path) -> None:
    """Remove what a writing that was killed has left behind, once it is an hour old."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if LEFTOVER.fullmatch(path.name):
            stat = path.lstat()
            if S_ISREG(stat.st_mode) and stat.st_mtime < time.time() - LEFTOVER_AGE:
                path.unlink(missing_ok=True)


def _taken(folder: Path, stem: str) -> bool:
    target = _target(folder, stem)
    return os.path.lexists(target) or (LIBRARY / target.name).exists()


def _target(folder: Path, stem: str) -> Path:
    target = folder / (stem + SUFFIX)
    if _real(target).parent != _real(folder):
        raise PresetError(f"{target.name} leads out of the preset folder. Choose another name.")
    return target


def _real(path: Path) -> Path:
    """Where links lead; up to Python 3.12 Path.resolve raises RuntimeError where they go round."""
    return Path(os.path.realpath(path))


def write_file(target: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file wholly or not at all.

    Raises:
        TakenError: it is there and `overwrite` is off.
        OSError: the disk refuses; an earlier file is then untouched.
    """
    # Beside the target: os.replace is atomic only within one file system. Opened plainly rather
    # than by tempfile, whose files only the owner may read.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite or not _linked(temporary, target):
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(temporary: Path, target: Path) -> bool:
    """Whether the target now is this file; False where a disk has no hard links.

    Raises:
        TakenError: another program has just made a file of that name.
    """
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise TakenError(f"{target.name} is already there. Choose another name.") from error
    except OSError:
        return False
    return True
