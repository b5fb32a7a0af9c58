"""How tests are dealt to processes, and how many there are."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from launch import check

from .parallel import place_of


@pytest.mark.parametrize(("test", "place"), [
    ("tests/test_rows.py::test_a[1::2]", "tests/test_rows.py"),
    ("tests/browser/test_page.py::test_a", "tests/browser/"),
    ("tests/launch/test_base.py::test_a", "tests/launch/")])
def test_a_file_or_a_folder_with_one_server_stays_together(test: str, place: str) -> None:
    assert place_of(test) == place


@pytest.mark.parametrize(("cores", "gigabytes", "arguments"), [
    (2, 20, ["-n", "2"]), (64, 500, ["-n", "4"]), (8, 7, ["-n", "2"]), (1, 20, []), (8, 2, [])])
def test_processes_have_a_core_and_memory_of_their_own(
        monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, arguments: list[str]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setattr(check.psutil, "virtual_memory",
                        lambda: SimpleNamespace(available=gigabytes * 2**30))
    monkeypatch.setattr(check, "find_spec", lambda name: name)
    assert check.side_by_side() == arguments
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    assert check.side_by_side() == []
