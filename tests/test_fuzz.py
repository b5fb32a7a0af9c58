"""A few thousand broken presets, the same each time; `python -m tests.fuzz` makes more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .fuzz import campaign as fuzz
from .fuzz.structural import signature, split
from .pack import ROOT


def test_broken_presets_are_read_or_refused_with_a_sentence() -> None:
    counts = fuzz.campaign(4000, seed=1)
    assert counts.crashes == {}
    assert counts.accepted + counts.refused == counts.tried == 4000
    assert counts.accepted > 200 and counts.refused > 2000  # else it tries one side only
    assert len(counts.sentences) > 50


def test_the_fuzzer_sees_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise IndexError
    monkeypatch.setattr(fuzz.load("presets.file"), "parse", broken)
    counts = fuzz.campaign(3, seed=1)
    assert counts.tried == 3 and len(counts.crashes) == 1
    assert "IndexError" in next(iter(counts.crashes))


def test_the_fuzzer_sees_words_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise fuzz.load("presets.fields").PresetError("It must be text, found NoneType.")
    monkeypatch.setattr(fuzz.load("presets.file"), "parse", broken)
    assert "Python's words" in next(iter(fuzz.campaign(1, seed=1).crashes))


def test_mutants_are_signed_as_the_format_page_says() -> None:
    for path in fuzz.GOLDEN.iterdir():
        words, tensors = split(path.read_bytes())
        assert signature(words["flow"], tensors) == words["id"]


def test_the_command_prints_what_was_tried() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "20", "--seed", "1"]
    said = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True,
                          timeout=120).stdout
    assert said.startswith("tried 20, accepted ") and said.endswith("kinds of crash 0\n")
