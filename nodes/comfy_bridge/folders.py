"""Where presets live: one folder for people's own, and the library shipped with the pack."""

from __future__ import annotations

from pathlib import Path

import folder_paths

KIND = "solver_presets"
LIBRARY = Path(__file__).parents[2] / "presets" / "library"


def register_folders() -> None:
    """Add models/solver_presets and the shipped library to ComfyUI's folders."""
    folder_paths.add_model_folder_path(KIND, str(own_folder()), is_default=True)
    folder_paths.add_model_folder_path(KIND, str(LIBRARY))
    folder_paths.folder_names_and_paths[KIND][1].add(".safetensors")


def own_folder() -> Path:
    """The only folder we write to."""
    return Path(folder_paths.models_dir) / KIND


def preset_names() -> list[str]:
    """File names of all presets, people's own first, newest first; then the library."""
    names = folder_paths.get_filename_list(KIND)
    own = [name for name in names if (own_folder() / name).is_file()]
    own.sort(key=lambda name: -(own_folder() / name).stat().st_mtime)
    return own + [name for name in names if name not in own]


def preset_path(name: str) -> Path:
    """Path of a preset chosen in a picker.

    Raises:
        FileNotFoundError: if it is gone or leads outside the preset folders.
    """
    return Path(folder_paths.get_full_path_or_raise(KIND, name))
