"""The headless command as a program of its own: killed, many jobs, and through submitit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from .conftest import ROOT, comfyui_path
from .pack import load
from .small_door import small
from .test_headless import CHECKPOINT, LINES, Heard, do
from .world import World

SMALL_DOOR = ROOT / "tests" / "small_door.py"
STEPS = 4
# A program that a job's process can be: it tells what it was given, and ends as it is told.
STAND_IN = """
import json, os, signal, sys, time
name = next(word.partition("=")[2] for word in sys.argv if word.startswith("--name="))
def tell(event, **more): print(json.dumps({"event": event, "time": 0, **more}), flush=True)
def stop(*_):
    tell("end", exit=0, state="stopped", verdict="kept"); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
tell("progress", gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), name=name)
if name == "mute": sys.exit(9)
if name == "slow": time.sleep(60)
tell("end", exit=int(name == "bad"), state="done", verdict=name + " done")
sys.exit(3 if name == "bad" else 0)
"""


def request(folder: Path) -> dict[str, Any]:
    """A search of the demo model, as a manifest has it."""
    lines = folder / "prompts.txt"
    lines.write_text(LINES, "utf-8")
    return {"checkpoint": str(CHECKPOINT), "prompts": str(lines), "cfg": 2.5, "size": "64x64",
            "node_pack": str(ROOT / "demo" / "comfy_nodes"), "batch": 12, "effort": "quick",
            "encoder": "SolverSearchDemo_Prompt", "steps": STEPS}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SMALL_DOOR), "search", *arguments, "--comfyui",
            str(comfyui_path()), "--", "--cpu"]


def as_arguments(job: dict[str, Any]) -> list[str]:
    return load("headless.jobs").as_arguments(json.dumps(job))


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    return map(json.loads, process.stdout)


def started(arguments: list[str], log: Path) -> subprocess.Popen[str]:
    with log.open("a") as errors:
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True)


def until(so: Callable[[], Any]) -> None:
    """Wait for something; a busy machine may take minutes to start ComfyUI."""
    end = time.monotonic() + 600
    while not so():
        assert time.monotonic() < end
        time.sleep(0.1)


def ended(process: subprocess.Popen[str]) -> None:
    """Nothing of a process is left, whatever failed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def preset_in(folder: Path) -> Any:  # noqa: ANN401
    path, = folder.glob("*.safetensors")
    return load("presets.store").read(path)


def evidence(folder: Path) -> dict[str, Any]:
    """What a preset says, but for the seconds it took."""
    known = asdict(preset_in(folder).info)
    return {name: value for name, value in known.items() if name != "seconds"}


def called(folder: Path) -> int:
    """Calls of the network in the process that ended a search."""
    report, = folder.glob("*.json")
    return json.loads(report.read_text("utf-8"))["calls"]["network"]


def journals(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.journal")]


def search_here(job: dict[str, Any]) -> Heard:
    """What the same search as a program's says in this process."""
    heard = Heard()
    load("headless.comfyui").load_pack(str(ROOT / "demo" / "comfy_nodes"))
    with pytest.MonkeyPatch.context() as patch:
        for table, name, value in small(load):
            patch.setitem(table, name, value)
        assert do(["search", *as_arguments(job)], heard) == 0
    return heard


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a search that nobody ended."""
    folder = tmp_path_factory.mktemp("whole")
    search_here({**request(folder), "out": str(folder / "out")})
    return folder / "out"


def test_killed_and_started_again_it_ends_with_the_same_numbers(whole: Path,
                                                                tmp_path: Path) -> None:
    killed, job = tmp_path / "killed", request(tmp_path)
    job["out"] = str(killed)
    process = started(command(*as_arguments(job)), tmp_path / "log")
    for event in events(process):
        if event["event"] == "progress" and event["calls"] > 150:
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert journals(killed)
    told, = search_here(job).all("resumed")
    assert told["calls"] >= 100
    assert preset_in(killed).id == preset_in(whole).id
    assert evidence(killed) == evidence(whole)  # its proof, too, and what it has cost
    assert called(killed) < called(whole) and not journals(killed)


@pytest.mark.skipif(comfyui_path() is None, reason="ComfyUI not found")
def test_submitit_runs_jobs_and_starts_a_preempted_one_again(tmp_path: Path) -> None:
    import submitit

    manifest, out = tmp_path / "jobs.jsonl", tmp_path / "out"
    job = {**request(tmp_path), "out": str(out)}
    wrong = {**job, "prompts": str(tmp_path)}
    manifest.write_text(f"{json.dumps(job)}\n{json.dumps(wrong)}\n", "utf-8")
    process = started(command("--manifest", str(manifest), "--submit", "local",
                              "--submit-folder", str(tmp_path / "logs"), "--json"),
                      tmp_path / "log")
    try:
        first = next(event for event in events(process) if event["event"] == "submitted")
        running = submitit.LocalJob(tmp_path / "logs", first["id"], process=None)
        until(lambda: list(out.glob("*.safetensors")))
        task, = psutil.Process(int(first["id"])).children()
        task.send_signal(signal.SIGUSR2)  # as a cluster that takes the machine away
        *_, last = events(process)
    finally:
        ended(process)
    assert last["failed"] == [2] and last["exit"] == 1, running.stdout()
    assert "this job is preempted" in running.stdout() + running.stderr()
    assert '"state": "stopped"' in running.stdout()  # its best was kept before
    assert preset_in(out).info.state == "" and preset_in(out).info.error is not None


def test_under_torchrun_processes_make_one_search(whole: Path, tmp_path: Path) -> None:
    shared, job, program = tmp_path / "shared", request(tmp_path), command()[1:]
    at = program.index("search") + 1
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone",
         "--nproc-per-node=2", *program[:at],
         *as_arguments({**job, "out": str(shared)}), *program[at:]],
        capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]  # nothing but one's events
    assert [event["event"] for event in told].count("end") == 1 and not journals(shared)
    assert "2 processes searched together." in told[-1]["warnings"]
    one, together = preset_in(whole), preset_in(shared)
    for name, values in one.solver.tensors.items():  # float32 calls in batches of another size
        assert torch.allclose(values, together.solver.tensors[name], atol=1e-3), name
    for name in ("error", "baseline_error", "held_out_seeds"):  # measured together
        assert getattr(together.info, name) == pytest.approx(getattr(one.info, name), rel=1e-3)
    assert together.info.baseline == one.info.baseline


def test_a_command_that_fails_counts_as_failed() -> None:
    clusters = load("headless.clusters")
    assert clusters.Resumable([sys.executable, "-c", "pass"])() == 0
    with pytest.raises(RuntimeError, match="code 5"):
        clusters.Resumable([sys.executable, "-c", "raise SystemExit(5)"])()


def run_all(manifest: Path, heard: Heard, listener: Any, *more: str) -> int:  # noqa: ANN401
    options, comfy = load("headless.door").understood(
        ["search", "--manifest", str(manifest), "--out", str(manifest.parent), *more])
    with listener.listening():
        return options.run(options, comfy, heard, listener)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest's folder; its jobs are processes of the stand-in."""
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN, "utf-8")
    monkeypatch.setattr(load("headless.jobs"), "FOLDER", program)
    return tmp_path


def test_one_process_for_each_gpu_and_failures_at_the_end(stand_in: Path) -> None:
    manifest, heard = stand_in / "jobs.jsonl", Heard()
    names = ["one", "bad", "two", "mute", "three"]
    manifest.write_text("\n".join(json.dumps({"name": n}) for n in names), "utf-8")
    assert run_all(manifest, heard, load("headless.signals").Listener(), "--gpus", "2,5") == 1
    told = heard.all("progress")
    assert {one["gpu"] for one in told} == {"2", "5"} and len(told) == 5
    assert sorted(one["name"] for one in told) == sorted(names)
    end, = heard.all("end")
    assert end["failed"] == [2, 4] and end["verdict"].startswith("3 of 5 jobs done, 2 failed")
    ends = {one["job"]: one for one in heard.all("job") if "exit" in one}
    assert ends[2]["exit"] == 3 and ends[4]["exit"] == 9 and "no word" in ends[4]["verdict"]
    assert {one["job"]: one["name"] for one in told}[1] == "one"


def test_submitit_runs_jobs_here_to_be_tried(stand_in: Path) -> None:
    """Its debug executor: one after the other, in this process."""
    manifest, heard = stand_in / "jobs.jsonl", Heard()
    manifest.write_text("\n".join(json.dumps({"name": n}) for n in ("one", "bad")), "utf-8")
    assert run_all(manifest, heard, load("headless.signals").Listener(), "--submit", "debug",
                   "--submit-folder", str(stand_in / "logs"), "--", "--cpu") == 1
    end, = heard.all("end")
    assert end["failed"] == [2] and len(heard.all("submitted")) == 2
    assert [one["state"] for one in heard.all("job")] == ["done", "failed"]
    assert "code 3" in heard.all("job")[1]["verdict"]


def test_a_signal_is_handed_on_and_nothing_more_is_begun(stand_in: Path) -> None:
    manifest = stand_in / "jobs.jsonl"
    manifest.write_text("\n".join(json.dumps({"name": n}) for n in ("slow", "late")), "utf-8")
    heard = Heard("progress", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run_all(manifest, heard, load("headless.signals").Listener(), "--", "--cpu") == 0
    end, = heard.all("end")
    assert end["state"] == "stopped" and end["not_begun"] == [2]
    assert [one["verdict"] for one in heard.all("job") if "exit" in one] == ["kept"]


def test_a_long_job_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = load("headless.runner")
    clock = iter([0.0, 59.0, 61.0, 90.0, 130.0])
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    some = runner.Runner([], [], Heard(), "jobs")
    job = load("headless.jobs").Job(3, [], None)
    event = {"calls": 1200, "total": 6000, "seconds_left": 300}
    said = [some._now_and_then(job, event) for _ in range(5)]
    line = ["[3] 1,200 of 6,000 model calls, about 5 min left"]
    assert said == [[], [], line, [], line]


def test_an_event_as_long_as_a_solver_is_read(stand_in: Path) -> None:
    """asyncio's own limit of a line is 64 kB."""
    (stand_in / "stand_in.py").write_text(
        'import json; print(json.dumps({"event": "end", "time": 0, "state": "done", "verdict": '
        '"x" * 300_000}))', "utf-8")
    manifest, heard = stand_in / "jobs.jsonl", Heard()
    manifest.write_text('{"name": "a"}', "utf-8")
    assert run_all(manifest, heard, load("headless.signals").Listener(), "--", "--cpu") == 0
    assert len(next(one for one in heard.all("job") if "exit" in one)["verdict"]) == 300_000


def test_the_gpus_are_those_that_torch_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = load("headless.runner")
    assert runner._gpus("0, 3", []) == ["0", "3"]
    assert runner._gpus("", ["--cpu"]) == [""]
