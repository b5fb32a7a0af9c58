"""Figures measured on this machine, kept beside the presets and never in their files.

`measured.json` in people's own folder holds, for each preset and checkpoint, what was measured
here. An entry is spelled and checked as the same facts are in a preset: flat texts with limits.

    {"format": "solver-search-measured", "version": "1", "measured": [{"id": ..., "error": ...}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .container import MAX_BYTES, load_object
from .fields import PresetError
from .info import PresetInfo, kinds
from .store import read_bytes, write_file

FILE, ASIDE = "measured.json", "measured broken.json"
FORMAT, VERSION = "solver-search-measured", "1"
ROOM = 1000  # entries; the oldest leave
ID = 16  # hex digits of a preset's id
IDENTITY = ("family", "model_name", "header_hash", "architecture", "precision", "patches",
            "guidance", "width", "height", "frames", "denoise", "created")
EVIDENCE = ("error", "error_interval", "error_median", "error_elsewhere", "baseline",
            "baseline_error", "baseline_interval", "baseline_median", "baseline_elsewhere",
            "difference_interval", "builtin", "held_out_seeds", "held_out_prompts", "reference")
FACTS = (*IDENTITY, *EVIDENCE)


@dataclass(frozen=True)
class Figures:
    """One measurement.

    Args:
        preset: id of the numbers that were measured.
        info: what is known of it; only FACTS are.
    """

    preset: str
    info: PresetInfo

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for measurements of which only the newest is kept."""
        info = self.info
        return (self.preset, info.header_hash or info.model_name, info.patches, info.guidance,
                info.width, info.height, info.denoise)


def figures_of(preset: str, info: PresetInfo) -> Figures:
    """Figures from a preset's own facts; all others are left out."""
    return Figures(preset, _info({name: getattr(info, name) for name in FACTS}))


class Ledger:
    """The figures of one folder, read again only when the file changed."""

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()
        self._known: dict[str, tuple[Figures, ...]] = {}

    def of(self, folder: Path) -> dict[str, tuple[Figures, ...]]:
        """Preset id -> its figures, the newest first.

        Raises:
            PresetError: a file that is not ours, with what to do; once, then it counts as empty.
        """
        path = folder / FILE
        state = _state(path)
        if state != self._state:
            self._known, self._state = {}, state
            self._known = _by_preset(_read(path)) if state else {}
        return self._known

    def add(self, folder: Path, some: Iterable[Figures]) -> None:
        """Keep figures; older ones of the same key are replaced.

        Raises:
            OSError: the disk refuses.
        """
        path, new = folder / FILE, list(some)
        try:
            known = _read(path) if _state(path) else []
        except PresetError:
            os.replace(path, folder / ASIDE)
            known = []
        keys = {each.key for each in new}
        kept = [each for each in known if each.key not in keys]
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, _spelled([*new, *kept]), overwrite=True)


def _by_preset(all_figures: list[Figures]) -> dict[str, tuple[Figures, ...]]:
    found: dict[str, tuple[Figures, ...]] = {}
    for each in all_figures:
        found[each.preset] = (*found.get(each.preset, ()), each)
    return found


def _state(path: Path) -> tuple[Any, ...]:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> list[Figures]:
    """The newest first."""
    try:
        found = load_object(read_bytes(path), "The file")
        if found.get("format") != FORMAT or found.get("version") != VERSION:
            raise PresetError(f"It must be {FORMAT}, version {VERSION}.")
        entries = found.get("measured")
        if not isinstance(entries, list) or len(entries) > ROOM:
            raise PresetError(f"It must hold a list of at most {ROOM} measurements.")
        return [_entry(entry) for entry in entries]
    except PresetError as error:
        said = str(error).removeprefix(f"{path.name}: ")
        raise PresetError(f"{path.name}, where your own measurements are kept, cannot be read: "
                          f"{said} The next measurement begins a new one.") from error


def _entry(entry: object) -> Figures:
    if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
        raise PresetError("A measurement must hold texts only.")
    name = entry.get("id", "")
    if len(name) != ID or set(name) - set("0123456789abcdef"):
        raise PresetError(f"A measurement must name a preset by {ID} hex digits.")
    known = kinds()
    return Figures(name, _info({key: known[key].read(key, entry[key]) for key in FACTS
                                if key in entry}))


def _info(facts: dict[str, Any]) -> PresetInfo:
    return PresetInfo(name="measured here", prediction="eps", **facts)


def _spelled(all_figures: list[Figures]) -> bytes:
    entries = [_texts(each) for each in all_figures[:ROOM]]
    while len(text := _json(entries)) > MAX_BYTES:
        entries = entries[: len(entries) * 3 // 4]
    return text


def _json(entries: list[dict[str, str]]) -> bytes:
    whole = {"format": FORMAT, "version": VERSION, "measured": entries}
    return json.dumps(whole, indent=1).encode("ascii")


def _texts(each: Figures) -> dict[str, str]:
    known = kinds()
    values = {name: getattr(each.info, name) for name in FACTS}
    return {"id": each.preset, **{name: known[name].write(value) for name, value in values.items()
                                  if value != known[name].unknown}}
