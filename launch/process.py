"""A child process that is a tree: started so that all of it can be stopped, and stopped so."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PATIENCE = 5.0  # seconds between asking to end and ending


def start_tree(
    program: Path, arguments: Sequence[str], *, folder: Path, log: Path | None
) -> subprocess.Popen[bytes]:
    """Start a Python program as a process group of its own, tethered to this process.

    Args:
        program: a Python file.
        arguments: its arguments.
        folder: its working directory.
        log: file for its output; None shows it on this console.
    """
    command = [sys.executable, str(Path(__file__).with_name("tether.py")), str(program)]
    group = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb")) if log else None
        return subprocess.Popen(
            [*command, *arguments], cwd=folder, stdin=subprocess.PIPE, stdout=output,
            stderr=subprocess.STDOUT if output else None, env=_environment(),
            start_new_session=os.name != "nt", creationflags=group,
        )  # fmt: skip


def stop_tree(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and everything it started; returns when it has ended."""
    try:
        if process.poll() is None:
            _signal_tree(process.pid, force=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
    finally:  # also when a second Ctrl-C ends the patience
        _signal_tree(process.pid, force=True)
        process.wait()
        if process.stdin:
            process.stdin.close()


def _signal_tree(pid: int, *, force: bool) -> None:
    if sys.platform == "win32":
        command = ["taskkill", "/T", "/PID", str(pid), "/F"]
        subprocess.run(command, capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


def leave_on_terminate() -> None:
    """Let SIGTERM end this program the way Ctrl-C does: through its `finally` clauses."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
