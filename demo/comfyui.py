"""ComfyUI as a library: its folder first on the path, and told to use the CPU.

With SOLVER_SEARCH_BENCH_DEVICE=cuda it uses the GPU, in float32 as on the CPU.

Import this before anything of `comfy`; ComfyUI decides about its device when it is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from launch.places import comfyui_folder

DEVICE_VARIABLE = "SOLVER_SEARCH_BENCH_DEVICE"


def on_gpu() -> bool:
    """Whether the GPU was asked for."""
    return os.environ.get(DEVICE_VARIABLE, "cpu") == "cuda"


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
        use_device(importlib.import_module("comfy.cli_args").args)
    return importlib.import_module(module)


def use_device(args: Any) -> None:  # noqa: ANN401  comfy's own options
    """Set ComfyUI's options of its command line, before anything else of it is imported."""
    args.cpu = not on_gpu()
    args.force_fp32 = args.fp32_unet = args.fp32_vae = on_gpu()
