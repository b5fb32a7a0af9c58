"""A real ComfyUI: start, run, refuse, interrupt, stop; two at once; none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import pytest

from launch.client import Progress
from launch.failures import PromptError, ServerError, sentence
from launch.places import ROOT, comfyui_folder
from launch.process import start_tree, stop_tree
from launch.server import Server, free_port

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
PNG = b"\x89PNG"


def image_prompt(width: int = 32) -> dict[str, dict]:
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": width, "height": 16, "batch_size": 1, "color": 255},
        },
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def slow_prompt() -> dict[str, dict]:
    """Minutes of work: one large blur after the other, interruptible between them."""
    prompt = image_prompt()
    prompt["1"]["inputs"] |= {"width": 512, "height": 512}
    for number in range(3, 200):
        source = ["1" if number == 3 else str(number - 1), 0]
        inputs = {"image": source, "blur_radius": 31, "sigma": 5.0 + number / 100}
        prompt[str(number)] = {"class_type": "ImageBlur", "inputs": inputs}
    prompt["2"]["inputs"]["images"] = ["199", 0]
    return prompt


def test_run_reports_progress_and_returns_outputs(server: Server) -> None:
    seen: list[Progress] = []
    run = server.client.run(image_prompt(), seen.append)
    assert [progress.node_type for progress in seen][:2] == ["EmptyImage", "PreviewImage"]
    assert server.client.image(run.outputs["2"]["images"][0]).startswith(PNG)
    again = server.client.run(image_prompt())  # answered from the cache: still ends
    assert again.prompt_id != run.prompt_id


def test_a_refused_prompt_names_node_and_input(server: Server) -> None:
    with pytest.raises(PromptError, match=r"node 1 \(EmptyImage\).*width"):
        server.client.run(image_prompt(width=0))


def test_a_failing_node_is_named() -> None:
    data = {"node_id": "7", "node_type": "KSampler", "exception_type": "torch.OutOfMemoryError",
            "exception_message": "no memory\n"}  # fmt: skip
    told = sentence([["execution_start", {}], ["execution_error", data]])
    assert told == "Node 7 (KSampler) failed: OutOfMemoryError: no memory"


def test_interrupt_ends_the_run(server: Server) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.node == "4":
            server.client.interrupt()

    with pytest.raises(PromptError, match=r"Interrupted in node \d+ \(ImageBlur\)"):
        server.client.run(slow_prompt(), interrupt)
    assert server.client.run(image_prompt(width=48)).outputs


def test_comfyui_own_tree_stays_as_it_was(server: Server) -> None:
    server.client.run(image_prompt(width=64))
    assert not (comfyui_folder() / "user").exists() or comfyui_folder().parent != ROOT
    assert (server.base / "temp").is_dir()


def test_a_second_server_runs_beside_the_first_in_the_same_base(server: Server) -> None:
    with Server(server.base, arguments=["--disable-api-nodes"]) as second:
        assert second.address != server.address
        assert second.client.run(image_prompt(width=80)).outputs
        process = second._process
    assert process is not None and process.poll() is not None
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        second.client.object_info()
    assert server.client.answers()


def test_a_start_that_fails_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="unrecognized arguments: --no-such-argument"):
        Server(tmp_path, arguments=["--no-such-argument"]).__enter__()


def test_a_taken_port_is_refused_at_once(server: Server) -> None:
    with pytest.raises(ServerError, match=f"Port {server.port} is in use"):
        free_port(server.port)


TREE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
SLEEPER = """
import os, time
print(os.getpid(), flush=True)
time.sleep(600)
"""
STARTER = """
import pathlib, sys, time
from launch.process import start_tree
folder = pathlib.Path(sys.argv[1])
start_tree(folder / "tree.py", [], folder=folder, log=folder / "log")
time.sleep(600)
"""


def first_line(log: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if log.is_file() and log.read_text().endswith("\n"):
            return log.read_text().strip()
        time.sleep(0.05)
    raise TimeoutError(log)


def ends(pid: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        gone = state.parent.parent.is_dir() and not state.exists()
        if gone or (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z"):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_stop_reaches_grandchildren(tmp_path: Path) -> None:
    (tmp_path / "tree.py").write_text(TREE)
    process = start_tree(tmp_path / "tree.py", [], folder=tmp_path, log=tmp_path / "log")
    grandchild = int(first_line(tmp_path / "log"))
    stop_tree(process)
    assert process.poll() is not None
    assert ends(grandchild)


@posix
def test_a_killed_starter_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tree.py").write_text(SLEEPER)
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], cwd=ROOT)
    child = int(first_line(tmp_path / "log"))
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    assert ends(child)
