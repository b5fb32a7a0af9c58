"""Presets as files: names that stay inside, writing that is whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.pack import load

if TYPE_CHECKING:
    from presets.preset import Preset

preset = load("presets.preset")
store = load("presets.store")
Solver = load("solver_search.solver").Solver
PresetError = preset.PresetError


def make(sigma: float = 1.0) -> Preset:
    info = preset.PresetInfo(name="Euler", prediction="flow", shift=1.0)
    return preset.Preset(Solver(torch.tensor([sigma, 0.0]), torch.tensor([[1.0]]), True), info)


ESCAPES = ["../evil", "..", ".", "a/b", "a\\b", "/etc/passwd", "C:evil", "C:\\evil", "..\\evil",
           "\\\\server\\share", "a\0b", "%2e%2e", "~", "a\nb", "a:stream", "file://x", "$HOME",
           "....//x", "ä", "a\u202e", "a*", "a?", "<a>", "a|b", "a\"b"]


@pytest.mark.parametrize("name", ESCAPES)
def test_escapes_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "presets"
    with pytest.raises(PresetError, match="The name"):
        store.save(folder, make(), name=name, overwrite=True)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(("name", "sentence"), [
    ("", "1 to 80 characters, found 0"), ("x" * 81, "1 to 80 characters, found 81"),
    (".safetensors", "1 to 80 characters, found 0"),
    (".hidden", "must not start or end with a dot"), ("a.", "must not start or end"),
    (" a", "must not start or end"), ("a ", "must not start or end"),
    ("CON", "reserved by Windows"), ("com1", "reserved by Windows"),
    ("lpt9.txt", "reserved by Windows"), ("nul .x", "reserved by Windows"),
    ("aux.safetensors", "reserved by Windows"), ("é", "Folders and accents are not possible"),
])
def test_names_are_refused_with_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(PresetError, match=sentence):
        store.check_name(name)


@pytest.mark.parametrize(("name", "fitting"), [
    ("M\u00fcnchner Licht", "Munchner Licht"), ("Mu\u0308nchner", "Munchner"),
    ("a/b: c", "a b c"), ("\ufb01lm", "film"), ("caf\u00e9\u2013noir", "cafe noir"),
    ("\u5149", ""), ("\u0308", ""), ("..x ", "x"), ("con", ""),
])
def test_a_fitting_name_keeps_letters_without_their_accents(name: str, fitting: str) -> None:
    assert store.fitting_name(name) == fitting


@pytest.mark.parametrize("name", ["a", "SDXL 6 steps v1.2_final-x", "x" * 80, "console", "a..b"])
def test_names_are_accepted(name: str) -> None:
    assert store.check_name(name) == name
    assert store.check_name(name + ".safetensors") == name


def test_save_and_read(tmp_path: Path) -> None:
    path = store.save(tmp_path / "new", make(), name="My preset", overwrite=False)
    assert path == tmp_path / "new" / "My preset.safetensors"
    assert store.read(path).id == make().id
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_overwriting_needs_leave(tmp_path: Path) -> None:
    path = store.save(tmp_path, make(), name="a", overwrite=False)
    with pytest.raises(PresetError, match="a.safetensors is already there. Choose another"):
        store.save(tmp_path, make(0.5), name="a", overwrite=False)
    assert store.read(path).id == make().id
    store.save(tmp_path, make(0.5), name="a", overwrite=True)
    assert store.read(path).id == make(0.5).id


def test_overwriting_refreshes_times(tmp_path: Path) -> None:
    """ComfyUI lists a folder again when the folder's time changes."""
    path = store.save(tmp_path, make(), name="a", overwrite=False)
    for place in (tmp_path, path):
        os.utime(place, (1, 1))
    store.save(tmp_path, make(0.5), name="a", overwrite=True)
    assert path.stat().st_mtime > 1 and tmp_path.stat().st_mtime > 1


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failed_write_keeps_the_old_file(
        call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.save(tmp_path, make(), name="a", overwrite=False)
    before = path.read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        store.save(tmp_path, make(0.5), name="a", overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_bad_workflow_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="workflow"):
        store.save(tmp_path / "new", make(), name="a", overwrite=True, workflow="no JSON")
    assert not (tmp_path / "new").exists()


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(b"precious")
    folder = tmp_path / "presets"
    folder.mkdir()
    try:
        (folder / "a.safetensors").symlink_to(outside)
    except OSError:
        pytest.skip("this system makes no links")
    with pytest.raises(PresetError, match="leads out of the preset folder"):
        store.save(folder, make(), name="a", overwrite=True)
    assert outside.read_bytes() == b"precious"


def test_a_linked_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    try:
        (tmp_path / "presets").symlink_to(tmp_path / "disk", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    store.save(tmp_path / "presets", make(), name="a", overwrite=False)
    assert (tmp_path / "disk" / "a.safetensors").is_file()


def test_reading_starts_with_the_size(tmp_path: Path) -> None:
    path = tmp_path / "sdxl.safetensors"
    with path.open("wb") as file:
        file.truncate(7_000_000_000)  # sparse: takes no room
    with pytest.raises(PresetError, match="^sdxl.safetensors: .*this file has 7000000000.*model"):
        store.read(path)


def test_reading_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="^gone.safetensors: there is no such file"):
        store.read(tmp_path / "gone.safetensors")
    (tmp_path / "dir.safetensors").mkdir()
    with pytest.raises(PresetError, match="^dir.safetensors: there is no such file"):
        store.read(tmp_path / "dir.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(PresetError, match="^bad.safetensors: The file ends after 3 bytes"):
        store.read(tmp_path / "bad.safetensors")


def test_free_names_count_up(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        names.append(store.free_name(tmp_path, "a b"))
        store.save(tmp_path, make(), name=names[-1], overwrite=False)
    assert names == ["a b", "a b 2", "a b 3"]
    store.save(tmp_path, make(), name="x" * 80, overwrite=False)
    assert store.free_name(tmp_path, "x" * 80) == "x" * 78 + " 2"
    with pytest.raises(PresetError, match="The name"):
        store.free_name(tmp_path, "../a")
