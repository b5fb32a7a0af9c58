"""Presets that an earlier run of the same search has left: it goes on under their names.

A run that was killed or stopped leaves an unfinished preset; one that was killed while measuring
several, finished ones beside it. They are known by the key of all that a search depends on, and
by their name: the one asked for, or that with a number behind it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..presets.fields import PresetError
from ..presets.shelf import Shelved
from ..presets.store import SUFFIX
from .journals import Standing
from .saving import Saving, reason

NUMBER = re.compile(r" [0-9]+")
log = logging.getLogger("solver-search")


def names_for(wished: Mapping[int, str], saving: Saving, entries: Iterable[Shelved], key: str,
              last: Standing) -> dict[int, str]:
    """Number of steps -> name of its preset.

    Args:
        wished: number of steps -> name that is wanted.
        saving: gives names, and may then replace what is taken over.
        entries: all presets there are.
        key: see found.search_key; not of a search that is running beside this one.
        last: what has become of the last search of this kind.
    """
    left = [] if last == Standing.RUNNING else left_by(key, entries, measured=(
        last == Standing.WAITING))
    return {steps: _taken_over(name, steps, left, saving) or saving.free(name)
            for steps, name in wished.items()}


def left_by(key: str, entries: Iterable[Shelved], *, measured: bool) -> list[Shelved]:
    """Presets of a search in people's own folder, the unfinished ones first.

    Args:
        key: see found.search_key.
        measured: also those that were finished.
    """
    found = [e for e in entries if e.preset is not None and e.preset.info.search_key == key
             and e.file.own and os.sep not in e.file.name and (measured or e.preset.info.state)]
    return sorted(found, key=lambda e: (not e.preset.info.state, len(e.file.name), e.file.name))


def _taken_over(name: str, steps: int, left: Iterable[Shelved], saving: Saving) -> str:
    """Name of the first fitting preset that nobody has changed; "" if there is none."""
    for entry in left:
        stem = entry.file.name.removesuffix(SUFFIX)
        if entry.preset.steps != steps or not _is_called(stem, name):
            continue
        if goes_on(saving, Path(entry.file.path)):
            return stem
    return ""


def goes_on(saving: Saving, path: Path) -> bool:
    """Whether a file that an earlier run has left may be replaced by what is further; the log says
    where it cannot be read."""
    try:
        return saving.go_on(path)
    except (OSError, PresetError) as error:
        log.warning("'%s' stays as it is: %s", path.stem, reason(error))
        return False


def _is_called(stem: str, name: str) -> bool:
    """Whether it is the name, or the name with a number behind it."""
    return stem == name or stem.startswith(name) and bool(NUMBER.fullmatch(stem[len(name):]))
