"""Run a long command with its output in a log file, whose tail explains a failure."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

TAIL_LINES = 25
UNREACHABLE = re.compile("NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|"
                         "name resolution|Network is unreachable|Max retries exceeded")
NO_NETWORK = ("A server could not be reached (the lines below may give another reason, which "
              "follows from it). Check the network, or the proxy, and start again.")


class CommandError(RuntimeError):
    """A command of the set-up failed; the message holds the end of its output."""


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    tick: Callable[[], None],
    *,
    inherit: int | None = None,
) -> None:
    """Run a command to its end.

    Args:
        command: program and arguments, never through a shell.
        log: file the output is appended to.
        tick: called about once a second.
        inherit: a file descriptor the command keeps open (the set-up lock).

    Raises:
        CommandError: with the last lines of the output, if the command fails.
    """
    words = [str(word) for word in command]
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = _start(words, output.fileno(), inherit)
        code = _wait(process, tick)
    if code:
        whole = log.read_bytes()[start:].decode(errors="replace")
        first = [NO_NETWORK] if UNREACHABLE.search(whole) else []
        told = whole.splitlines()[-TAIL_LINES:]
        raise CommandError("\n".join([*first, f"Failed: {' '.join(words)}", *told,
                                      f"Full log: {log}"]))


def _start(words: list[str], output: int, inherit: int | None) -> subprocess.Popen[bytes]:
    kept = () if inherit is None or os.name == "nt" else (inherit,)
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=kept
    )


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None]) -> int:
    try:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                tick()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
