"""Make a folder or file appear at a second place: a link where the system permits, else a copy.

Windows permits symbolic links to administrators and developers only, but junctions (folders)
and hard links (files) to everyone on the same disk. A copy is made anew when it is out of date.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

UNWANTED = shutil.ignore_patterns(".*", "__pycache__", "output", "*.partial")


def link_folder(source: Path, target: Path) -> None:
    """Make `source` appear as `target`, replacing what was there before."""
    if not _same(source, target):
        _replace(source, target, (_symlink, _junction, _copy_folder))


def link_file(source: Path, target: Path) -> None:
    """Make the file `source` appear as `target`, replacing what was there before."""
    if not (_same(source, target) or _same_copy(source, target)):
        _replace(source, target, (_symlink, os.link, shutil.copy2))


def remove(target: Path) -> None:
    """Remove a link, a file or a copied folder; never what a link points to."""
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        try:
            target.rmdir()  # a junction or an empty folder
        except OSError:
            shutil.rmtree(target)


def _same(source: Path, target: Path) -> bool:
    return target.exists() and os.path.samefile(source, target)


def _same_copy(source: Path, target: Path) -> bool:
    if not target.is_file() or target.is_symlink():
        return False
    mine, other = source.stat(), target.stat()
    return (mine.st_size, mine.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _replace(source: Path, target: Path, ways: Iterable[Callable[[Path, Path], object]]) -> None:
    remove(target)
    partial = target.with_name(target.name + ".partial")
    for way in ways:
        remove(partial)
        try:
            way(source, partial)
        except (OSError, ImportError):
            continue
        os.replace(partial, target)
        return
    raise OSError(f"Neither a link nor a copy of {source} can be made at {target}.")


def _symlink(source: Path, target: Path) -> None:
    target.symlink_to(source, target_is_directory=source.is_dir())


def _junction(source: Path, target: Path) -> None:
    import _winapi  # Windows only; elsewhere the ImportError leads on to the next way

    _winapi.CreateJunction(str(source), str(target))


def _copy_folder(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=UNWANTED, symlinks=True)
