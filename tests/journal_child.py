"""One short search in a process of its own: `python -m tests.journal_child FOLDER`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from .conftest import comfyui_path


def main(folder: Path) -> None:
    """Search with its journal in the folder."""
    sys.path.insert(0, str(comfyui_path()))
    importlib.import_module("comfy.cli_args").args.cpu = True  # before anything else of comfy
    journal, families = (importlib.import_module(f"tests.{name}") for name in (
        "test_journal", "matrix.families"))
    with pytest.MonkeyPatch.context() as patch:
        journal.shorten(patch)
        journal.job(families.FAMILIES["SD3"].build(), folder).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
