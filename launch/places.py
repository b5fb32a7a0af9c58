"""Where things lie. Standard library only: run.py imports this before anything is installed.

The environment variable COMFYUI_PATH carries the choice of a ComfyUI folder from run.py to the
program it starts; the Python is the one running.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"
VENV = ROOT / ".venv"
COMFYUI = ROOT / ".comfyui"
BASE = ROOT / ".comfyui-base"
OUTPUT = ROOT / "output"
COMFYUI_VARIABLE = "COMFYUI_PATH"
FRONT_END_VARIABLE = "SOLVER_SEARCH_FRONT_END"  # for the tests in a browser


def comfyui_folder() -> Path:
    """The ComfyUI in use: the one chosen with --comfyui, else the one set-up fetched."""
    return Path(os.environ.get(COMFYUI_VARIABLE) or COMFYUI).resolve()


def python_of(environment: Path) -> Path:
    """The interpreter inside a virtual environment, whichever the operating system."""
    windows = environment / "Scripts" / "python.exe"
    return windows if os.name == "nt" else environment / "bin" / "python"
