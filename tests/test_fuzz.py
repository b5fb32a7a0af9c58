"""A few thousand broken inputs, the same each time; `python -m tests.fuzz` makes more."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from random import Random

import pytest

from .fuzz import campaign as fuzz
from .fuzz import tricks
from .fuzz.requests import requests
from .fuzz.structural import signature, split
from .fuzz.tricks import TRICKS
from .pack import ROOT
from .world import World


def test_broken_presets_are_read_or_refused_with_a_sentence() -> None:
    counts = fuzz.campaign(4500, seed=1)
    assert counts.crashes == {}
    assert counts.accepted + counts.refused == counts.tried == 4500
    assert counts.accepted > 200 and counts.refused > 2000  # else it tries one side only
    assert len(counts.sentences) > 50


def test_names_are_safe_or_refused_with_a_sentence() -> None:
    counts = fuzz.names(4000, seed=1)
    assert counts.crashes == {}
    assert counts.accepted > 100 and counts.refused > 2000


def test_files_of_measurements_are_read_or_refused_with_a_sentence() -> None:
    counts = fuzz.ledgers(1500, seed=1)
    assert counts.crashes == {}
    assert counts.accepted > 50 and counts.refused > 1000


@pytest.mark.skipif(shutil.which("node") is None, reason="the page's script needs Node")
def test_archives_are_taken_apart_within_bounds_or_left_alone() -> None:
    counts = fuzz.archives(200, seed=1)
    assert counts.crashes == {}
    assert counts.accepted > 5 and counts.refused > 50


def test_requests_are_answered_with_a_sentence(world: World) -> None:
    counts = requests(world, 400, seed=1)
    assert counts.crashes == {}
    assert counts.accepted > 10 and counts.refused > 200 and len(counts.sentences) > 5


def test_journals_that_say_what_none_of_ours_does_end_no_search(world: World) -> None:
    from .fuzz.journals import journals

    counts = journals(25, seed=1)
    assert counts.crashes == {} and counts.accepted > 5 and counts.refused > 2


def test_hypothesis_breaks_no_reader() -> None:
    from .fuzz.properties import properties

    counts = properties(150)
    assert counts.crashes == {} and counts.tried >= 400


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_every_trick_changes_a_file(trick: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tricks, "TRICKS", (trick,))
    sound = fuzz.sources()[0]
    changed = {tricks.tricky(sound, sound, Random(seed)) for seed in range(20)}
    assert len(changed - {sound}) > 2


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
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "40", "--seed", "1"]
    said = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True,
                          timeout=300).stdout
    assert said.startswith("files: tried 29, accepted ")
    assert said.splitlines()[-1].startswith("fuzz: tried ")
    assert said.endswith("kinds of crash 0\n")
