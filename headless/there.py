"""What a folder holds already of a search, number of steps by number of steps.

A search's key stands for all it depends on, the numbers of steps searched together among it. A
preset counts if it is measured, and its key is that of this request, or of a request for just the
numbers that lie together in the folder under its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..presets.fields import PresetError
from ..presets.preset import Preset
from ..presets.store import SUFFIX, read

KeyOf = Callable[[Sequence[int]], str]


class Filed(NamedTuple):
    """A preset and its file."""

    path: Path
    preset: Preset


def files(folder: Path) -> list[Filed]:
    """Every sound preset of a folder."""
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []:
        try:
            found.append(Filed(path, read(path)))
        except PresetError:  # a model, or of a newer version
            continue
    return found


def there(filed: Iterable[Filed], key_of: KeyOf, numbers: Sequence[int]) -> dict[int, Filed]:
    """Measured presets of a request by their number of steps, the newest of each.

    Args:
        filed: what lies in the folder.
        key_of: the search's key, given the numbers of steps in their order.
        numbers: of steps asked for.
    """
    found: dict[int, Filed] = {}
    for key, members in _together(filed).items():
        steps = sorted({one.preset.solver.nfe for one in members})
        if not set(steps) & set(numbers):
            continue
        firsts = ([n, *(m for m in steps if m != n)] for n in steps)
        if key == key_of(numbers) or any(key == key_of(order) for order in firsts):
            found |= {one.preset.solver.nfe: one for one in members}
    return {n: found[n] for n in numbers if n in found}


def begun(filed: Iterable[Filed], key: str, *, measured: bool) -> dict[str, Path]:
    """Files, by their names, that an earlier run of a search has left.

    Args:
        measured: also those that were finished, as where it goes on from its journal.
    """
    return {one.path.stem: one.path for one in filed
            if one.preset.info.search_key == key and (measured or one.preset.info.state)}


def _together(filed: Iterable[Filed]) -> dict[str, list[Filed]]:
    groups: dict[str, list[Filed]] = {}
    for one in sorted(filed, key=lambda one: one.preset.info.created):
        info = one.preset.info
        if info.search_key and not info.state and info.error is not None:
            groups.setdefault(info.search_key, []).append(one)
    return groups
