"""Presets as files below one given folder: safe names, atomic writing, careful reading.

A name comes from a widget, so from anyone who can reach the server: it must not leave the
folder, hide, or collide with a device of Windows. A file is written beside its target and moved
over it, so a reader sees the old preset or the new one, never half of one.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from .container import MAX_BYTES, check_size
from .file import dump, parse
from .preset import Preset, PresetError

SUFFIX = ".safetensors"
MAX_NAME = 80
NAME = re.compile(r"[A-Za-z0-9 ._-]+")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])\s*(\..*)?", re.IGNORECASE)


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
                          f"{stem!r}. Folders and accents are not possible.")
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
        PresetError: a bad name, a taken one without `overwrite`, a link that leads elsewhere.
        OSError: the disk refuses; an earlier file of that name is then untouched.
    """
    data = dump(preset, workflow)
    target = _target(folder, check_name(name))
    if target.exists() and not overwrite:
        raise PresetError(f"{target.name} is already there. Choose another name, or allow "
                          "overwriting.")
    folder.mkdir(parents=True, exist_ok=True)
    _write(target, data)
    return target


def read(path: Path) -> Preset:
    """Preset from a file, never reading more than a preset can hold.

    Raises:
        PresetError: not there, or not a sound preset; the message starts with the file's name.
    """
    try:
        if not path.is_file():
            raise PresetError("there is no such file. Refresh the list and choose again.")
        check_size(path.stat().st_size)
        with path.open("rb") as file:
            return parse(file.read(MAX_BYTES + 1))
    except PresetError as error:
        raise PresetError(f"{path.name}: {error}") from error


def free_name(folder: Path, name: str) -> str:
    """`name`, or with " 2", " 3" ... behind it the first that is not taken in `folder`.

    Raises:
        PresetError: see `check_name`.
    """
    stem = check_name(name)
    candidate, number = stem, 1
    while _target(folder, candidate).exists():
        number += 1
        ending = f" {number}"
        candidate = stem[: MAX_NAME - len(ending)].rstrip(" .") + ending
    return candidate


def _target(folder: Path, stem: str) -> Path:
    target = folder / (stem + SUFFIX)
    if target.resolve().parent != folder.resolve():
        raise PresetError(f"{target.name} leads out of the preset folder. Choose another name.")
    return target


def _write(target: Path, data: bytes) -> None:
    # Beside the target: os.replace is atomic only within one file system. Opened plainly rather
    # than by tempfile, whose files only the owner may read.
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
