"""ComfyUI's base directory: models, custom nodes, outputs and user data of our own.

`main.py --base-directory` moves all of these, so ComfyUI's own tree stays as it was fetched, and
an existing ComfyUI lends its code without lending its data. Its database does not follow the
base directory and is named separately (see `server.py`).
"""

from __future__ import annotations

from pathlib import Path

from .links import link_file, link_folder, remove
from .places import BASE, ROOT

FOLDERS = (
    "custom_nodes", "input", "output", "temp", "user", "models/checkpoints",
    "models/solver_presets",
)  # fmt: skip
DEMO_FILES = {"checkpoints": "checkpoints", "presets": "solver_presets"}
PACK = "solver-search"
DEMO_PACK = "solver-search-demo"


def prepare_base(base: Path = BASE, *, root: Path = ROOT) -> Path:
    """Create a base directory, or bring one up to date; quick when there is nothing to do.

    Args:
        base: where it shall be.
        root: the repository whose node pack, demo nodes, demo checkpoints and their presets
            appear in it.

    Returns:
        The base directory.
    """
    create_folders(base)
    link_folder(root, base / "custom_nodes" / PACK)
    demo_nodes = root / "demo" / "comfy_nodes"
    if (demo_nodes / "__init__.py").is_file():
        link_folder(demo_nodes, base / "custom_nodes" / DEMO_PACK)
    else:
        remove(base / "custom_nodes" / DEMO_PACK)
    for kind, folder in DEMO_FILES.items():
        for file in sorted((root / "demo" / kind).glob("*.safetensors")):
            link_file(file, base / "models" / folder / file.name)
    return base


def create_folders(base: Path) -> Path:
    """Create the folders ComfyUI expects in a base directory, and nothing in them."""
    for folder in FOLDERS:
        (base / folder).mkdir(parents=True, exist_ok=True)
    return base
