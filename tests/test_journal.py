"""A search that is ended at any moment goes on where it was, on ComfyUI's own networks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults.hurting import watched
from tests.faults.stage import less_evidence
from tests.matrix.families import FAMILIES, Subject

from .pack import load
from .test_search_everywhere import SMALL
from .world import World

BATCH = 3
AGAIN = 5 + 3 * BATCH  # rows that each beginning asks for before its first record: see the job


class Killed(BaseException):
    """What no handler for errors catches, as ComfyUI's own interrupt."""


@pytest.fixture(autouse=True)
def small(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search is short."""
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of 300 model calls, evidence on three seeds and at one more CFG scale."""
    config = load("solver_search.config")
    monkeypatch.setitem(config.EFFORTS, "quick", config.Effort(**SMALL))
    less_evidence(load, monkeypatch)


@dataclass
class Calls:
    """Rows asked of the model; `most`: how many are answered before the end comes."""

    made: int = 0
    most: float = float("inf")


@pytest.fixture
def calls() -> Iterator[Calls]:
    with counting() as counted:
        yield counted


@contextmanager
def counting() -> Iterator[Calls]:
    """Of this process's sessions."""
    session, counted = load("nodes.comfy_bridge.session"), Calls()
    original = session.Session.denoise

    def denoise(self: Any, x: Any, sigma: Any, items: Any) -> Any:  # noqa: ANN401
        if counted.made + len(x) > counted.most:
            raise Killed
        counted.made += len(x)
        return original(self, x, sigma, items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.Session, "denoise", denoise)
        yield counted


@pytest.fixture(scope="module")
def subject(world: World) -> Subject:
    return FAMILIES["SD3"].build()


def job(subject: Subject, folder: Path | None, method: str = "fit", steps: tuple[int, ...] = (4,),
        **more: Any) -> Any:  # noqa: ANN401
    session, find = load("nodes.comfy_bridge.session"), load("nodes.found")
    config = load("solver_search.config").SearchConfig(
        steps[0], method, "quick", more.pop("seed", 0), reach=more.pop("reach", 0.0))
    guider = session.make_guider(subject.model, subject.positive, subject.negative, 3.0)
    latent = torch.zeros(BATCH, *subject.latent.shape[1:])
    return load("nodes.search_job").Job(
        guider, latent, config, 3.0, "made", {n: f"made {n}" for n in steps[1:]},
        find.search_key(guider, latent, config, steps), journals=folder, **more)


def numbers(found: Any) -> list[Any]:  # noqa: ANN401
    """All that a search finds, but for its seconds."""
    return [(member.preset.info.error, member.preset.info.baseline_error,
             member.preset.info.guidance_measured, member.preset.info.model_calls,
             member.run.curve,
             {name: t.numpy().tobytes() for name, t in member.preset.solver.tensors.items()})
            for member in found]


def most_of_one(folder: Path) -> float:
    """Model calls of the largest operation in a journal."""
    journal, = folder.iterdir()
    found, last = 0.0, {}
    for facts in facts_of(journal)[1:]:
        state = facts["state"]
        found = max(found, state["calls"] - last.get(state["steps"], 0))
        last[state["steps"]] = state["calls"]
    return found


def written(folder: Path, words: bytes = b'"name": ') -> int:
    """Records in a journal that another process writes: it is only looked at."""
    return sum(path.read_bytes().count(words) for path in folder.glob("*.journal"))


def facts_of(journal: Path) -> list[Any]:
    """What the headers say."""
    file = os.open(journal, os.O_RDWR)
    try:
        return [entry.facts for entry in load("nodes.journal_file").Log(file).entries]
    finally:
        os.close(file)


@pytest.mark.parametrize(("method", "steps"), [
    ("fit", (4,)), ("fit", (4, 3, 5)), ("dss", (4,)), ("s4s_alt", (4,)), ("dlms", (4,))])
def test_a_killed_search_goes_on_and_finds_the_same(
        subject: Subject, calls: Calls, tmp_path: Path, method: str,
        steps: tuple[int, ...]) -> None:
    """Killed three times on its way, in the search and while measuring."""
    told: list[int] = []
    whole = numbers(job(subject, tmp_path / "whole", method, steps, saved=lambda: False).run())
    once, calls.made, largest = calls.made, 0, most_of_one(tmp_path / "whole")
    tmp_path /= "killed"
    spent = 0
    for share in (0.25, 0.6, 0.9):
        calls.most, calls.made = share * once - spent + AGAIN, 0
        with pytest.raises(Killed):
            job(subject, tmp_path, method, steps, on_resumed=told.append).run()
        spent = int(share * once)
    calls.most, calls.made = float("inf"), 0
    wanted = job(subject, tmp_path, method, steps, on_resumed=told.append)
    assert numbers(wanted.run()) == whole
    assert told == sorted(told) and len(told) == 3
    assert calls.made <= 0.1 * once + largest + AGAIN
    assert wanted.warnings[0].startswith("Went on from where")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def whole(subject: Subject) -> list[Any]:
    """What a search finds that nobody ends."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return numbers(job(subject, None).run())


def killed(subject: Subject, calls: Calls, folder: Path, most: int,
           **more: Any) -> None:  # noqa: ANN401
    """A search is killed after so many calls."""
    calls.most, calls.made = most, 0
    with pytest.raises(Killed):
        job(subject, folder, **more).run()
    calls.most, calls.made = float("inf"), 0


@pytest.mark.parametrize("most", [30, 150, 400])  # while its units are found, searching, measuring
def test_a_search_for_a_range_goes_on_in_the_same_units(subject: Subject, calls: Calls,
                                                        tmp_path: Path, most: int) -> None:
    alone = numbers(job(subject, None, reach=1.5).run())
    killed(subject, calls, tmp_path, most, reach=1.5)
    assert numbers(job(subject, tmp_path, reach=1.5).run()) == alone
    assert not list(tmp_path.iterdir())


def test_records_of_another_search_are_thrown_away(subject: Subject, calls: Calls, tmp_path: Path,
                                                   whole: list[Any]) -> None:
    killed(subject, calls, tmp_path, 200)
    journal, = tmp_path.iterdir()
    file = load("nodes.journal_file").Log(os.open(journal, os.O_RDWR))
    last = file.entries[-1]
    values = file.payload(last)
    file.cut(len(file.entries) - 1)
    file.append({**last.facts, "name": "something else"}, values)
    os.close(file.file)
    wanted = job(subject, tmp_path)
    assert numbers(wanted.run()) == whole
    assert [said for said in wanted.warnings if "did not fit" in said and "began anew" in said]
    assert calls.made > 200 and not journal.exists()


def test_of_two_searches_of_a_kind_the_second_has_no_journal(
        subject: Subject, calls: Calls, tmp_path: Path, whole: list[Any]) -> None:
    killed(subject, calls, tmp_path, 100)
    journal, = tmp_path.iterdir()
    data = journal.read_bytes()
    with load("nodes.journals").opened(tmp_path, journal.stem, []):
        second = job(subject, tmp_path)
        assert numbers(second.run()) == whole
    assert "another search of the same kind is running" in second.warnings[0]
    assert journal.read_bytes() == data


def test_a_stop_keeps_the_journal_and_what_is_not_saved_does_too(
        subject: Subject, calls: Calls, tmp_path: Path, whole: list[Any]) -> None:
    stopped = job(subject, tmp_path, stop=lambda: calls.made > 220)
    assert stopped.run()[0].preset.info.state == "unfinished" and stopped.stopped
    unsaved = job(subject, tmp_path, saved=lambda: False)
    assert numbers(unsaved.run()) == whole and len(list(tmp_path.iterdir())) == 1
    calls.made = 0
    assert numbers(job(subject, tmp_path).run()) == whole
    assert calls.made <= AGAIN and not list(tmp_path.iterdir())


def test_a_search_that_was_short_of_memory_before_goes_on_as_it_would(
        subject: Subject, calls: Calls, tmp_path: Path) -> None:
    """Of three pictures a call it was down to one; memory is there again when it goes on."""
    def short(number: int, found: torch.Tensor) -> torch.Tensor:
        if number == 20 and len(found) > 2:  # of which each picture has two, for its CFG
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return found

    def looked() -> tuple[str, bool]:
        return "", False

    with watched(subject.model, looked, short) as seen:
        wanted = job(subject, None)
        whole = numbers(wanted.run())
    said, = [line for line in wanted.warnings if line.startswith("Memory was short")]
    assert len(seen.hurt) == 1
    with watched(subject.model, looked, short) as seen:
        killed(subject, calls, tmp_path, 200)
    assert len(seen.hurt) == 1
    with watched(subject.model, looked) as seen:
        resumed = job(subject, tmp_path)
        assert numbers(resumed.run()) == whole
    assert said in resumed.warnings
    assert calls.made and {call[3] for call in seen.calls[20:]} == {2}


def test_a_search_whose_process_is_killed_goes_on(subject: Subject, tmp_path: Path,
                                                  whole: list[Any]) -> None:
    """SIGKILL, as by a system that is out of memory; the lock goes with the process."""
    child = subprocess.Popen([sys.executable, "-m", "tests.journal_child", str(tmp_path)],
                             cwd=Path(__file__).parents[1])
    try:
        while child.poll() is None and written(tmp_path) < 12:
            time.sleep(0.02)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL
    told: list[int] = []
    assert numbers(job(subject, tmp_path, on_resumed=told.append).run()) == whole
    assert told[0] > 0
