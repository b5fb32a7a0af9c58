"""Set-up that heals itself: stamps are written after success only and die with their product."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from launch.installer import Installer
from launch.steps import Step, Tick, run_steps


class Work:
    """Creates a folder, counts its calls, and fails or is interrupted when told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        self.error: BaseException | None = None

    def __call__(self, tick: Tick) -> None:
        self.calls += 1
        self.folder.mkdir(exist_ok=True)
        tick()
        if self.error:
            raise self.error


@pytest.fixture
def works(tmp_path: Path) -> list[Work]:
    return [Work(tmp_path / name) for name in ("first", "second", "third")]


def steps(works: list[Work], pins: str = "1.0") -> list[Step]:
    return [Step(w.folder.name, w.folder / "done.stamp", pins, w) for w in works]


def calls(works: list[Work]) -> list[int]:
    return [work.calls for work in works]


def test_second_start_does_nothing(
    works: list[Work], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_steps(steps(works)) == 3
    assert "[2/3] second ... " in capsys.readouterr().out
    assert run_steps(steps(works)) == 0
    assert calls(works) == [1, 1, 1]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [RuntimeError("no disk"), KeyboardInterrupt(), SystemExit(143)])
def test_continues_with_the_step_that_failed(works: list[Work], error: BaseException) -> None:
    works[1].error = error
    with pytest.raises(type(error)):
        run_steps(steps(works))
    assert calls(works) == [1, 1, 0]
    works[1].error = None
    assert run_steps(steps(works)) == 2
    assert calls(works) == [1, 2, 1]


def test_a_step_that_fails_when_repeated_loses_its_stamp(works: list[Work]) -> None:
    run_steps(steps(works))
    works[0].error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_steps(steps(works, pins="2.0"))
    assert not steps(works, pins="1.0")[0].done


def test_changed_pins_run_the_step_again(works: list[Work]) -> None:
    run_steps(steps(works))
    changed = [*steps(works)[:2], dataclasses.replace(steps(works)[2], pins="2.0")]
    assert run_steps(changed) == 1
    assert calls(works) == [1, 1, 2]


def test_removing_a_product_removes_its_stamp(works: list[Work]) -> None:
    run_steps(steps(works))
    shutil.rmtree(works[0].folder)
    assert run_steps(steps(works)) == 1


def test_stamps_of_the_real_steps_lie_in_their_products() -> None:
    found = Installer().steps()
    assert len({step.stamp for step in found}) == len(found)
    assert {step.stamp.parent.name for step in found} == {".venv", ".comfyui"}
