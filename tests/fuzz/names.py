"""Names of presets as widgets, workflows, archives and addresses give them."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from random import Random

from ..pack import load
from .tricks import TEXTS

PIECES = (*TEXTS, "a", "B2", " ", ".", "..", "/", "\\", ":", "*", "?", "|", "~", "$HOME", "%00",
          "CON", "nul", "com1", "LPT9", "aux.txt", ".safetensors", ".SAFETENSORS", "\t", "\x7f",
          "%2e%2e%2f", "c:", "\\\\?\\", "\u2024", "\u2215", "\uff0f", "\u29f8", "ﬁ", "İ", "ß", "é")


def odd_name(chance: Random) -> str:
    """Some pieces in a row."""
    return "".join(chance.choice(PIECES) for _ in range(chance.choice((0, 1, 1, 2, 3, 6, 40))))


def name_it(name: str) -> bool:
    """Whether a preset may have this name; if so, it is one plain file on every system.

    Raises:
        PresetError: as a sentence. AssertionError: a name that leads elsewhere.
    """
    store = load("presets.store")
    fitting = store.fitting_name(name)
    if fitting and store.check_name(fitting) != fitting:
        raise AssertionError(f"no name: {fitting!r}")
    stem = store.check_name(name)
    for system in (PurePosixPath, PureWindowsPath):
        path = system("folder") / (stem + store.SUFFIX)
        if path.parent != system("folder") or path.name != stem + store.SUFFIX or path.drive:
            raise AssertionError(f"leads elsewhere: {stem!r}")
    if stem.startswith(".") or not stem.isascii():
        raise AssertionError(f"hidden or not ASCII: {stem!r}")
    return True
