"""A search's files: nothing of it is lost, and nobody else's file is replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from .pack import load, preset_of

pytestmark = pytest.mark.usefixtures("comfy")


def made(name: str = "d", seed: int = 0) -> Any:  # noqa: ANN401
    sigmas = torch.tensor([1, 0.6 + seed / 100, 0], dtype=torch.float64)
    solver = load("solver_search.tableaus").TABLEAUS["euler"](sigmas, flow=True)
    return preset_of(solver, name=name)


def saving(folder: Path, **more: Any) -> Any:  # noqa: ANN401
    return load("nodes.saving").Saving(folder, **more)


def read(path: Path) -> Any:  # noqa: ANN401
    return load("presets.store").read(path)


def test_our_own_last_write_is_replaced(tmp_path: Path) -> None:
    ours = saving(tmp_path)
    ours.keep(made())
    ours.keep(made(seed=1))
    assert os.listdir(tmp_path) == ["d.safetensors"]
    assert read(tmp_path / "d.safetensors").id == made(seed=1).id


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("written", [True, False])
def test_what_is_not_ours_is_never_replaced(tmp_path: Path, kind: str, written: bool) -> None:
    ours, path = saving(tmp_path), tmp_path / "d.safetensors"
    if written:
        ours.keep(made())
        path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path.parent / "elsewhere")
    else:
        path.write_bytes(b"of another server")
    ours.keep(made(seed=1))
    assert ours.name("d") == "d 2"
    assert read(tmp_path / "d 2.safetensors").info.name == "d 2"
    assert not (tmp_path.parent / "elsewhere").exists()
    assert kind != "file" or path.read_bytes() == b"of another server"


def test_a_full_disk_ends_nothing_and_is_said(tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    ours, module = saving(tmp_path), load("nodes.saving")
    ours.keep(made())

    def full(*given: Any, **named: Any) -> None:  # noqa: ANN401
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "save", full)
        ours.keep(made(seed=1))
    said = ours.warning(made(seed=1))
    assert "could not be saved: No space left on device." in said
    assert "unfinished one is in d.safetensors" in said and "Save Solver Preset" in said
    ours.keep(made(seed=2))
    assert ours.warning(made()) == ""


def test_a_folder_that_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(load("nodes.saving").FolderError, match="nothing was searched yet"):
        saving(blocked / "presets").ready()


def test_old_leftovers_of_ours_go_and_nothing_else(tmp_path: Path) -> None:
    names = (f".{'a' * 16}.tmp", f".{'b' * 16}.tmp", ".other.tmp", "d.safetensors")
    for name in names:
        (tmp_path / name).write_bytes(b"")
        if "b" not in name:
            os.utime(tmp_path / name, (1, 1))
    saving(tmp_path).ready()
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])


def test_names_of_the_library_are_not_hidden(tmp_path: Path) -> None:
    assert saving(tmp_path, others=["D.safetensors"]).free("d") == "d 2"


def test_a_file_name_is_cleaned_for_the_preset() -> None:
    assert load("nodes.saving").plain("a\u200e/b\n" + "c" * 300, 255) == "ab" + "c" * 253
