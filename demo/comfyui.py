"""ComfyUI as a library: its folder first on the path, and told to use the CPU.

Import this before anything of `comfy`; ComfyUI decides about its device when it is imported.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from launch.places import comfyui_folder


def load_comfy(module: str) -> ModuleType:
    """A module of ComfyUI, by its dotted name.

    Args:
        module: such as "comfy.sd" or "nodes".

    Raises:
        FileNotFoundError: there is no ComfyUI where it should be.
    """
    folder = comfyui_folder()
    if not (folder / "comfy").is_dir():
        raise FileNotFoundError(f"No ComfyUI in {folder}; `python run.py train-demo` fetches it.")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.import_module("comfy.cli_args").args.cpu = True
    return importlib.import_module(module)
