"""Where presets live: one folder for people's own, and the library shipped with the pack."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ...presets.shelf import Listed, Shelf, listed, look
from ...presets.store import LIBRARY, sweep

KIND = "solver_presets"
SHELF = Shelf()
log = logging.getLogger("solver-search")


def register_folders() -> None:
    """Add models/solver_presets and the shipped library to ComfyUI's folders."""
    folder_paths.add_model_folder_path(KIND, str(own_folder()), is_default=True)
    folder_paths.add_model_folder_path(KIND, str(LIBRARY))
    folder_paths.folder_names_and_paths[KIND][1].add(".safetensors")
    try:
        sweep(own_folder())
    except OSError as error:
        log.warning("The preset folder could not be tidied: %s", error)


def own_folder() -> Path:
    """The only folder we write to."""
    return Path(folder_paths.models_dir) / KIND


def preset_files() -> list[Listed]:
    """Files of all presets, people's own first, newest first; then the library."""
    return listed(folder_paths.get_filename_list(KIND), _folders())


def shelf() -> Shelf:
    """All presets as they are now; unchanged files are not read again."""
    return SHELF.refresh(preset_files())


def preset_names() -> list[str]:
    """File names of all presets, people's own first, newest first; then the library."""
    return [file.name for file in preset_files()]


def preset_stamp(name: str) -> str:
    """Text that changes when the file does; "" if it is gone."""
    file = look(name, _folders())
    return "" if file is None else file.stamp


def preset_path(name: str) -> Path:
    """Path of a preset chosen in a picker.

    Raises:
        FileNotFoundError: if it is gone or leads outside the preset folders.
    """
    return Path(folder_paths.get_full_path_or_raise(KIND, name))


def _folders() -> list[str]:
    own = str(own_folder())
    return [own, *(f for f in folder_paths.get_folder_paths(KIND) if f != own)]
