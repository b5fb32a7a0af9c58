"""One search in several processes, with torch.distributed's gloo: equal results, a lost one."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from solver_search.ranks import ALONE

from . import ranks_child
from .test_journal import (  # noqa: F401  fixtures
    AGAIN,
    Calls,
    calls,
    job,
    numbers,
    small,
    subject,
    written,
)
from .test_journal import whole as whole  # a fixture

ROOT = Path(__file__).resolve().parents[1]
# The network computes in float32, and other batches are summed in another order; two refinements
# and a contest lie between.
CLOSE = 1e-3


def started(module: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT)


def together(size: int, folder: Path, methods: list[str]) -> list[int | None]:
    """Exit codes of ranks, copies of a process that has imported what they need once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ranks_child.__name__])
    ranks = [context.Process(target=ranks_child.main, args=(rank, size, folder, methods))
             for rank in range(size)]
    try:
        for rank in ranks:
            rank.start()
        end = time.monotonic() + 300
        for rank in ranks:
            rank.join(max(0, end - time.monotonic()))
        return [rank.exitcode for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()


@pytest.mark.parametrize(("size", "methods"), [
    (1, ["fit"]), (2, ["fit", "s4s_alt", "dlms", "gits"]), (4, ["fit", "dss"])])
def test_the_result_is_that_of_one_process(tmp_path: Path, size: int,
                                           methods: list[str]) -> None:
    """Of each method: the same decisions, and in float64 the same numbers but for rounding."""
    assert together(size, tmp_path, methods) == [0] * size
    every = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(size)]
    assert all(other == every[0] for other in every)
    for name in methods:
        one, other = ranks_child.found(name, ALONE), every[0][name]
        assert (other["calls"], other["label"]) == (one["calls"], one["label"])
        assert other["curve"] == pytest.approx(one["curve"], rel=1e-9)
        for key, values in one["tensors"].items():
            assert torch.allclose(torch.tensor(other["tensors"][key]), torch.tensor(values),
                                  atol=1e-9), (name, key)


def test_measuring_is_dealt_too(tmp_path: Path, whole: list[Any], calls: Calls,  # noqa: F811
                                subject: Any) -> None:  # noqa: ANN401, F811
    """Two processes share each call's three pictures, and find what one finds."""
    alone = job(subject, None)
    alone.run()
    both = [started("tests.journal_child", tmp_path / "journals", rank, 2) for rank in range(2)]
    try:
        assert [process.wait(300) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["own"] == second["own"] and first["measured"] == second["measured"]
    assert first["measured"] == alone.measured
    begun = 2 * AGAIN  # what each process asks before its search
    assert calls.made <= first["asked"] + second["asked"] <= calls.made + begun
    assert second["asked"] > 0.3 * calls.made  # one of each call's three pictures
    assert first["error"] == pytest.approx(whole[0][0], rel=CLOSE)
    assert first["own"][1] == pytest.approx(whole[0][1], rel=CLOSE)


@pytest.mark.parametrize(("words", "count"), [(b'"name": ', 10), (b" on 0 to ", 2)])
def test_a_lost_process_ends_all_and_the_journal_goes_on_in_one(
        tmp_path: Path, whole: list[Any], subject: Any,  # noqa: ANN401, F811
        words: bytes, count: int) -> None:
    """One of two is killed, while searching or while measuring built-in settings; the other one
    says so. Alone it is then finished from its records."""
    folder = tmp_path / "journals"
    folder.mkdir()
    first, second = (started("tests.journal_child", folder, rank, 2) for rank in range(2))
    try:
        while second.poll() is None and written(folder, words) < count:
            time.sleep(0.01)
        second.kill()
        assert second.wait() == -signal.SIGKILL
        assert first.wait(120) == 0
    finally:
        first.kill()
        second.kill()
    told = json.loads((tmp_path / "0.json").read_text())
    assert told["broken"] and told["state"] == "unfinished"
    assert [said for said in told["warnings"] if "Another process of this search was lost" in said
            or "another process of this search was lost" in said]
    assert "2 processes searched together." in told["warnings"]
    assert told["tool"].endswith(", 2 processes")
    resumed: list[int] = []
    one = numbers(job(subject, folder, on_resumed=resumed.append).run())
    assert resumed and resumed[0] > 0 and not list(folder.iterdir())
    assert one[0][0] == pytest.approx(whole[0][0], rel=CLOSE)
    assert one[0][1] == pytest.approx(whole[0][1], rel=CLOSE)
    assert one[0][3] == whole[0][3]
    assert [e for _, e in one[0][4]] == pytest.approx([e for _, e in whole[0][4]], rel=CLOSE)
