"""From a bare Python to one that runs ComfyUI: install it, or check the one that exists.

An interrupted set-up continues where it was (see `steps.py`); a finished one costs milliseconds.
Standard library only, like everything it imports.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .base import prepare_base
from .installer import LOG, PYTHON, Installer
from .places import BASE, VENV, python_of
from .setup_lock import setup_lock
from .steps import run_steps, say


def set_up() -> Path:
    """Install whatever is missing and prepare the base directory.

    Returns:
        The interpreter that runs ComfyUI.

    Raises:
        CommandError: if a step fails; the next call begins with that step.
    """
    BASE.mkdir(exist_ok=True)
    if not _complete():
        with setup_lock(BASE / "set-up.lock") as lock:
            _forget_broken_environment()
            if run_steps(Installer(lock.fileno()).steps()):
                say(f"Set-up finished; its log is {LOG}\n")
    prepare_base()
    return PYTHON


def use_existing(comfyui: Path, python: Path | None) -> Path:
    """Check an existing ComfyUI and prepare our own base directory for it.

    Returns:
        The interpreter that runs it: the one given, else its own, else the running one.

    Raises:
        FileNotFoundError: if there is no ComfyUI or no such interpreter.
    """
    if not (comfyui / "main.py").is_file():
        raise FileNotFoundError(f"{comfyui} is not a ComfyUI folder: it has no main.py.")
    given = _found(python) if python is not None else None
    prepare_base()
    return given or _own_python(comfyui) or Path(sys.executable)


def _found(python: Path) -> Path:
    place = shutil.which(str(python.expanduser()))
    if place is None:
        raise FileNotFoundError(f"There is no Python at {python}.")
    return Path(place).absolute()  # not resolved: a link says which virtual environment is meant


def _complete() -> bool:
    return PYTHON.exists() and all(step.done for step in Installer().steps())


def _forget_broken_environment() -> None:
    """The Python a virtual environment was made from may have been removed since."""
    if not PYTHON.exists():
        (VENV / "environment.stamp").unlink(missing_ok=True)


def _own_python(comfyui: Path) -> Path | None:
    portable = comfyui.parent / "python_embeded" / "python.exe"  # spelled so in its releases
    places = [python_of(comfyui / ".venv"), python_of(comfyui / "venv"), portable]
    return next((place for place in places if place.is_file()), None)
