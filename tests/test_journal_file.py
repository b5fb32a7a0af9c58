"""The journal's file: damage, links, full disks and bounds, on a search that takes no time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .pack import load
from .searches import problem
from .world import World

KEY = "c0de" * 16


class Killed(BaseException):
    """What no handler for errors catches."""


def searched(folder: Path | None, most: float = float("inf"), key: str = KEY,
             warnings: list[str] | None = None, spent: list[int] | None = None) -> Any:  # noqa: ANN401
    """A finished search that has a journal, or one killed after so many rows."""
    made, methods, runs = [0], load("solver_search.methods.fit"), load("solver_search.run")
    whole = problem()

    def denoise(x: torch.Tensor, sigma: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        if made[0] + len(x) > most:
            raise Killed
        made[0] += len(x)
        return whole.denoise(x, sigma, items)

    settings = methods.FitSettings(teacher_calls=16, starts=1, iterations=3, screened=2, part=1)
    with load("nodes.journals").opened(folder, key, [] if warnings is None else warnings) as kept:
        run = runs.Run(replace(whole, denoise=denoise), records=kept)
        runs.search(lambda run: methods.fit(run, settings), run)
        kept.finished = True
    if spent is not None:
        spent.append(made[0])
    return run.model_calls, run.curve, {k: t.tolist() for k, t in run.best.tensors.items()}


def left(folder: Path, most: float = 300) -> Path:
    """The journal that a killed search leaves."""
    with pytest.raises(Killed):
        searched(folder, most)
    journal, = folder.glob("*.journal")
    return journal


@pytest.fixture(autouse=True)
def comfyui(world: World) -> None:
    """The pack's nodes can be loaded."""


@pytest.fixture(scope="module")
def whole(world: World) -> Any:  # noqa: ANN401
    return searched(None)


@pytest.mark.parametrize("most", range(12, 700, 61))
def test_a_search_killed_at_any_call_goes_on(tmp_path: Path, most: int, whole: Any) -> None:  # noqa: ANN401
    assert whole[0] > 700
    left(tmp_path, most)
    spent: list[int] = []
    assert searched(tmp_path, spent=spent) == whole
    assert spent[0] < whole[0] and not list(tmp_path.iterdir())


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "torn": lambda data: data[:-3],
    "garbage behind": lambda data: data + os.urandom(5000),
    "a bit": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "the middle": lambda data: data[:len(data) // 2] + os.urandom(9) + data[len(data) // 2 + 9:],
    "garbage": lambda data: os.urandom(len(data)),
    "empty": lambda data: b"",
    "endless line": lambda data: b"{" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_is_used_as_far_as_it_is_whole(tmp_path: Path, damage: str,
                                                         whole: Any) -> None:  # noqa: ANN401
    journal, spent = left(tmp_path), []
    journal.write_bytes(DAMAGE[damage](journal.read_bytes()))
    assert searched(tmp_path, spent=spent) == whole
    used = damage in ("torn", "garbage behind", "a bit", "the middle")
    assert (spent[0] < whole[0]) == used
    assert not journal.exists()


def test_a_journal_may_end_at_any_byte(tmp_path: Path) -> None:
    """All records that are whole by then are there, and nothing else is left in the file."""
    journal = left(tmp_path, 200)
    data, log = journal.read_bytes(), load("nodes.journal_file").Log
    file = os.open(journal, os.O_RDWR)
    ends = [entry.end for entry in log(file).entries]
    assert len(ends) > 3
    places = [end - entry.facts["bytes"] for end, entry in zip(ends, log(file).entries,
                                                               strict=True)]
    around = {at + by for at in (0, *ends, *places) for by in range(-70, 3)}
    for end in sorted(at for at in around if 0 <= at <= len(data)):
        os.ftruncate(file, 0)
        os.pwrite(file, data[:end], 0)
        whole = [at for at in ends if at <= end]
        assert [entry.end for entry in log(file).entries] == whole
        assert os.fstat(file).st_size == max(whole, default=0)
    os.close(file)


def test_a_journal_of_another_search_or_version_is_not_used(
        tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    spent: list[int] = []
    journal = left(tmp_path)
    journal.rename(journal.with_name("f" * 64 + ".journal"))
    assert searched(tmp_path, key="f" * 64, spent=spent) == whole
    left(tmp_path)
    monkeypatch.setattr(load("nodes.journals"), "VERSION", "0.0.1")
    assert searched(tmp_path, spent=spent) == whole
    assert spent == [whole[0]] * 2


@pytest.mark.parametrize("facts", [
    {"bytes": 2**62}, {"bytes": -1}, {"tensors": [["x", "float64", [2**40]]]},
    {"tensors": [["x", "float64", [-1, -8]]], "bytes": 64}, {"tensors": [["x", "pickle", [1]]]},
    {"tensors": 5}, {"tensors": [["x", "float64", [True]]], "bytes": 8}])
def test_no_size_in_a_file_is_trusted(tmp_path: Path, facts: dict[str, Any]) -> None:
    log, path = load("nodes.journal_file"), tmp_path / "x"
    line = log._line({"name": "ends", "bytes": 8, "sum": "", "tensors": [], **facts})
    path.write_bytes(line + b"0" * 64)
    file = os.open(path, os.O_RDWR)
    assert log.Log(file).entries == []
    os.close(file)


def test_a_full_disk_ends_a_journal_and_no_search(tmp_path: Path, whole: Any,  # noqa: ANN401
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    written, write, warnings, spent = [0], os.write, [], []

    def full(file: int, data: Any) -> int:  # noqa: ANN401
        written[0] += len(data)
        if written[0] > 20_000:
            write(file, bytes(data)[:10])
            raise OSError(28, "No space left on device")
        return write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(load("nodes.journal_file"), "os",
                      SimpleNamespace(**{**vars(os), "write": full}))
        assert searched(tmp_path, warnings=warnings) == whole
        assert [said for said in warnings if "No space left on device" in said]
        written[0] = 0
        left(tmp_path)
    assert searched(tmp_path, spent=spent) == whole and spent[0] < whole[0]


@pytest.mark.parametrize("foreign", ["link", "hard link", "folder", "pipe", "linked folder"])
def test_what_is_not_ours_is_not_touched(tmp_path: Path, foreign: str, whole: Any) -> None:  # noqa: ANN401
    folder, precious, warnings = tmp_path / "own", tmp_path / "precious", []
    journal = left(folder)
    data = journal.read_bytes()
    journal.unlink()
    precious.write_bytes(data)
    if foreign == "link":
        journal.symlink_to(precious)
    elif foreign == "hard link":
        os.link(precious, journal)
    elif foreign == "folder":
        journal.mkdir()
    elif foreign == "pipe":
        os.mkfifo(journal)
    else:
        folder.rmdir()
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    assert searched(folder, warnings=warnings) == whole
    assert warnings[0].startswith("No journal of this search is kept: ")
    assert precious.read_bytes() == data
    assert foreign != "linked folder" or not list((tmp_path / "elsewhere").iterdir())


def test_journals_are_few_small_and_not_old(tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    journals = load("nodes.journals")
    for i in range(12):
        path = tmp_path / f"{i:064x}.journal"
        path.write_bytes(b"0" * 1000)
        os.utime(path, (time.time() - i, time.time() - i))
    os.utime(tmp_path / f"{0:064x}.journal", (0, 0))
    (tmp_path / "note.txt").write_text("mine")
    held = os.open(tmp_path / f"{10:064x}.journal", os.O_RDWR)
    assert journals._locked(held)
    with journals.opened(tmp_path, KEY, []):
        pass
    os.close(held)
    kept = {int(p.stem, 16) for p in tmp_path.glob("0*.journal")}
    assert kept == {1, 2, 3, 4, 5, 6, 7, 10}  # seven, ours, and one that is in use
    monkeypatch.setattr(journals, "MOST_IN_ALL", 2500)
    with journals.opened(tmp_path, KEY, []):
        pass
    assert sum(p.stat().st_size for p in tmp_path.glob("*.journal")) <= 2500
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_what_is_too_large_is_made_again(tmp_path: Path, whole: Any,  # noqa: ANN401
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("nodes.journals"), "SMALL", 2_000)
    monkeypatch.setattr(load("nodes.journals"), "MOST_BYTES", 7_000)
    journal, spent = left(tmp_path, 700), []
    facts = [entry.facts for entry in load("nodes.journal_file").Log(
        os.open(journal, os.O_RDWR)).entries]
    assert "teacher" in {f["name"] for f in facts if not f.get("whole", True)}
    assert searched(tmp_path, spent=spent) == whole and spent[0] < whole[0]
