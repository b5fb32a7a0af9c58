"""The repository as ComfyUI loads it: one package around `presets` and `solver_search`.

Inside the extension imports are relative, so a test needs the package too. Its own `__init__`
is left out: that one needs ComfyUI.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "solver_search_pack"


def load(module: str) -> types.ModuleType:
    """Module of the pack by its dotted name, such as `presets.file`."""
    if NAME not in sys.modules:
        pack = types.ModuleType(NAME, "The repository's root without its ComfyUI entry point.")
        pack.__path__ = [str(ROOT)]
        sys.modules[NAME] = pack
    return importlib.import_module(f"{NAME}.{module}")
