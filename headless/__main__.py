"""`python headless search ...`, from any folder, or `python -m headless` beside this folder.

The repository's root is a package that only ComfyUI can import, and it holds a folder `nodes` as
ComfyUI holds a module of that name. So the root leaves the path, and a package is made around it.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACK = "solver_search_pack"


def door() -> types.ModuleType:
    """The module `headless.door`, inside a package around the root."""
    hidden = (ROOT, ROOT / "headless")
    sys.path[:] = [p for p in sys.path if Path(p).resolve() not in hidden]
    pack = types.ModuleType(PACK, "The repository's root without its ComfyUI entry point.")
    pack.__path__ = [str(ROOT)]
    sys.modules[PACK] = pack
    return importlib.import_module(f"{PACK}.headless.door")


if __name__ == "__main__":
    sys.exit(door().main(sys.argv[1:]))
