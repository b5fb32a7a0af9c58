"""The repository as ComfyUI loads it: one package around `presets` and `solver_search`.

Inside the extension imports are relative, so a test needs the package too. Its own `__init__`
is left out: that one needs ComfyUI.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NAME = "solver_search_pack"


def load(module: str) -> types.ModuleType:
    """Module of the pack by its dotted name, such as `presets.file`."""
    if NAME not in sys.modules:
        pack = types.ModuleType(NAME, "The repository's root without its ComfyUI entry point.")
        pack.__path__ = [str(ROOT)]
        sys.modules[NAME] = pack
    return importlib.import_module(f"{NAME}.{module}")


def preset_of(solver: Any, package: ModuleType | None = None, **info: Any) -> Any:  # noqa: ANN401
    """A preset around any solver, of this package or of the one ComfyUI loaded."""
    module = package or load("presets.preset")
    shift = {"prediction": "flow", "shift": 1.0} if solver.flow else {"prediction": "eps"}
    return module.Preset(solver, module.PresetInfo(**{"name": "test", **shift, **info}))
