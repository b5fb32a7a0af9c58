"""The shelf: each file is opened once, and again only when it changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from .pack import load

MANY = 10_000


def preset_bytes(sigma: float, name: str = "p", **info: str) -> bytes:
    preset, solver = load("presets.preset"), load("solver_search.solver").Solver
    table = solver(torch.tensor([sigma, 0.0]), torch.tensor([[1.0]]), True)
    known = preset.PresetInfo(name=name, prediction="flow", shift=1.0, **info)
    return load("presets.file").dump(preset.Preset(table, known))


@pytest.fixture
def shelf() -> ModuleType:
    return load("presets.shelf")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were opened, in order."""
    found: list[str] = []
    store = load("presets.store")
    at_once = store._open_at_once

    def noted(path: str, flags: int) -> int:
        found.append(Path(path).name)
        return at_once(path, flags)

    monkeypatch.setattr(store, "_open_at_once", noted)
    return found


@pytest.fixture
def listing(tmp_path: Path, shelf: ModuleType) -> Callable[[], list]:
    return lambda: shelf.listed(sorted(os.listdir(tmp_path)), [str(tmp_path)])


def write(folder: Path, count: int) -> None:
    """Different names, equal bytes: what is counted is openings."""
    data = preset_bytes(1.0)
    for number in range(count):
        (folder / f"{number}.safetensors").write_bytes(data)


def replace(path: Path, data: bytes) -> None:
    """As the store writes: a new file moved over the old one, whatever the clock's steps are."""
    (path.parent / "new.tmp").write_bytes(data)
    os.replace(path.parent / "new.tmp", path)


def test_ten_thousand_presets_are_opened_once(tmp_path: Path, shelf: ModuleType,
                                              opened: list[str], listing: Callable) -> None:
    """Also beyond any bound a cache may have: scanned in order, such a one never hits."""
    write(tmp_path, MANY)
    held = shelf.Shelf().refresh(listing())
    assert len(held.presets) == len(opened) == MANY
    for _ in range(3):
        held.refresh(listing())
    assert len(opened) == MANY
    (tmp_path / "new.safetensors").write_bytes(preset_bytes(0.5))
    os.unlink(tmp_path / "7.safetensors")
    held.refresh(listing())
    assert opened[MANY:] == ["new.safetensors"]
    assert len(held.presets) == MANY and "7.safetensors" not in held.presets


def test_a_changed_file_is_read_again_and_the_others_are_not(
        tmp_path: Path, shelf: ModuleType, opened: list[str], listing: Callable) -> None:
    write(tmp_path, 5)
    held = shelf.Shelf().refresh(listing())
    before = held.presets["3.safetensors"].id
    replace(tmp_path / "3.safetensors", preset_bytes(0.5))
    assert held.refresh(listing()).presets["3.safetensors"].id != before
    assert opened[5:] == ["3.safetensors"]


def test_other_numbers_with_copied_times_and_size_are_noticed(
        tmp_path: Path, shelf: ModuleType, listing: Callable) -> None:
    """Size and time of writing can be copied, the number on the disk cannot."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(preset_bytes(1.0))
    held, stat = shelf.Shelf().refresh(listing()), path.stat()
    before = held.presets[path.name].id
    replace(path, preset_bytes(0.5))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size and path.stat().st_mtime_ns == stat.st_mtime_ns
    assert held.refresh(listing()).presets[path.name].id != before


def test_broken_files_are_named_once_and_in_one_line(
        tmp_path: Path, shelf: ModuleType, opened: list[str], listing: Callable,
        caplog: pytest.LogCaptureFixture) -> None:
    for number in range(500):
        (tmp_path / f"{number:03}.safetensors").write_bytes(b"\0" * 9)
    with caplog.at_level(logging.WARNING, "solver-search"):
        held = shelf.Shelf()
        for _ in range(3):
            held.refresh(listing())
    assert len(caplog.records) == 1 and len(opened) == 500
    line = caplog.records[0].getMessage()
    assert "\n" not in line and line.startswith("500 files are left out") and "495 more" in line
    assert held.presets == {} and len(held.broken) == 500


def test_pictures_stay_on_the_disk(tmp_path: Path, shelf: ModuleType, listing: Callable) -> None:
    picture = load("presets.pictures").picture_text(b"\xff\xd8\xff" + bytes(9000))
    (tmp_path / "a.safetensors").write_bytes(preset_bytes(1.0, picture=picture))
    held = shelf.Shelf().refresh(listing())
    entry = held.entries["a.safetensors"]
    assert entry.pictures and entry.preset.info.picture == ""
    assert load("presets.store").read(tmp_path / "a.safetensors").info.picture == picture


def test_own_files_come_first_newest_first_and_hide_others(tmp_path: Path,
                                                           shelf: ModuleType) -> None:
    own, library = tmp_path / "own", tmp_path / "library"
    for folder, names in ((own, "ab"), (library, "bc")):
        folder.mkdir()
        for age, name in enumerate(names):
            (folder / name).write_bytes(preset_bytes(1.0))
            os.utime(folder / name, (1000 + age, 1000 + age))
    found = shelf.listed(["c", "b", "a"], [str(own), str(library)])
    assert [(f.name, f.own) for f in found] == [("b", True), ("a", True), ("c", False)]


def test_only_files_are_listed_and_none_is_opened(tmp_path: Path, opened: list[str],
                                                  listing: Callable) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    try:
        (tmp_path / "loop.safetensors").symlink_to(tmp_path / "loop.safetensors")
    except OSError:
        pass  # Windows without the right to make links
    write(tmp_path, 1)
    assert [file.name for file in listing()] == ["0.safetensors"] and not opened
