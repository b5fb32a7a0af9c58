"""Files as they were once given out: every later reader must read them to the same numbers.

They are never made again. A new version of the format gets a new file beside them.
"""

from __future__ import annotations

import hashlib
import re

import pytest

from .pack import ROOT, load

GOLDEN = ROOT / "tests" / "golden"
FILES = {  # name: sha256 of the file, id, version, sum of all numbers
    "version 1 all words.safetensors": (
        "7a59a9e20fcc6f7985c6cc7160da7bac8cc31a585c6bc806f73859eda120cef4",
        "fbacc03787d2e387", 1, 42.375),
    "version 1 designer.safetensors": (
        "4ee7211ff3ed81a4c193f5d66021eed02f575c4d52f4144320ad5ce1c904b6c2",
        "3ed143a911addd3c", 1, 21.72),
    "version 1 pictures.safetensors": (
        "e20009987c09aefd5bee90b512394d76ca2d7a033522429513967af8108092ce",
        "37790c40702b9146", 1, 3.5),
    "version 1.safetensors": (
        "1016c128452710902c761eda7358ba004f187fbdb36d51cd6dde09152406fafb",
        "2cfa75b4b22525a0", 1, 2.0),
    "version 2 guidance.safetensors": (
        "178d40b438f350a6b4c5337a938de415ac72e29a1fa4b1e9f91ea641c704cb8d",
        "0754c3eacffe4e4e", 2, 7.5625),
}


def test_each_golden_file_is_named_here() -> None:
    assert sorted(p.name for p in GOLDEN.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_golden_file_reads_to_the_same_numbers_for_ever(name: str) -> None:
    sha, id_, version, total = FILES[name]
    data = (GOLDEN / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha, "a golden file was changed: put it back"
    file = load("presets.file")
    held = file.contents(data)
    assert (held.preset.id, held.version) == (id_, version)
    numbers = sum(float(t.sum()) for t in held.preset.solver.tensors.values())
    assert numbers == pytest.approx(total, abs=1e-12)  # the id holds the bits; this, their sense


@pytest.mark.parametrize("name", FILES)
def test_writing_a_golden_file_again_changes_no_number(name: str) -> None:
    file = load("presets.file")
    held = file.contents((GOLDEN / name).read_bytes())
    again = file.contents(file.dump(held.preset))
    assert (again.preset.id, again.version) == (held.preset.id, held.version)
    assert again.preset.info == held.preset.info


def test_golden_files_cover_all_tensors_and_both_versions() -> None:
    file, preset = load("presets.file"), load("presets.preset")
    held = [file.contents((GOLDEN / name).read_bytes()) for name in FILES]
    assert {h.version for h in held} == set(range(1, file.VERSION + 1))
    assert {t for h in held for t in h.preset.solver.tensors} == set(preset.TENSORS)
    assert any(h.workflow for h in held) and any(h.others for h in held)
    assert any(h.preset.info.picture for h in held)


def test_the_format_page_names_the_versions() -> None:
    text = (ROOT / "presets" / "FORMAT.md").read_text("utf-8")
    newest = load("presets.file").VERSION
    assert re.match(rf"# The preset file, versions 1 and {newest}\n", text)
