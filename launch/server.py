"""A real ComfyUI server for as long as a `with` block lasts.

    with Server() as server:
        outputs = server.client.run(prompt).outputs

The database is in memory, so servers may run side by side; it would otherwise lie in ComfyUI's
own tree, behind a file lock, whatever the base directory is.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .base import create_folders
from .client import Client, ServerError
from .places import BASE, comfyui_folder
from .process import start_tree, stop_tree

log = logging.getLogger(__name__)
LOCALHOST = "127.0.0.1"
TAIL_LINES = 25


class Server:
    """Starts ComfyUI on entering and stops it on leaving, whatever happened in between.

    Args:
        base: base directory (models, custom nodes, output ...).
        port: port on the loopback interface; None takes a free one.
        arguments: further arguments for ComfyUI's main.py.
        database: where ComfyUI keeps its database; None for in memory.
        to_console: show ComfyUI's output instead of keeping it in `base/comfyui.log`.
        patience: seconds to wait for the first answer.
    """

    def __init__(
        self,
        base: Path = BASE,
        *,
        port: int | None = None,
        arguments: Sequence[str] = (),
        database: Path | None = None,
        to_console: bool = False,
        patience: float = 300.0,
    ) -> None:
        self.base = create_folders(base.resolve())
        self.port = free_port(port or 0)
        self.client = Client(f"http://{LOCALHOST}:{self.port}")
        self.log = None if to_console else self.base / "comfyui.log"
        self._arguments = (*_own_arguments(self.base, self.port, database), *arguments)
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address to open in a browser."""
        return self.client.address

    def __enter__(self) -> Server:
        self._process = self._start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server and everything it started; harmless when it has ended."""
        process, self._process = self._process, None
        if process is not None:
            stop_tree(process)

    def wait(self) -> int:
        """Wait until the server ends by itself.

        Returns:
            Its exit status.
        """
        return self._process.wait() if self._process else 0

    def tail(self) -> str:
        """The end of the server's output."""
        if self.log is None or not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:])

    def _start(self) -> subprocess.Popen[bytes]:
        folder = comfyui_folder()
        log.info("starting ComfyUI from %s on port %d", folder, self.port)
        return start_tree(folder / "main.py", self._arguments, folder=folder, log=self.log)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + self._patience
        while not self.client.answers():
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"ComfyUI ended while starting:\n{self.tail()}")
            if time.monotonic() > end:
                raise ServerError(f"No answer within {self._patience:.0f} s:\n{self.tail()}")
            time.sleep(0.1)


def _own_arguments(base: Path, port: int, database: Path | None) -> tuple[str, ...]:
    place = database.as_posix() if database else ":memory:"
    return (
        "--listen", LOCALHOST, "--port", str(port), "--disable-auto-launch",
        "--base-directory", str(base), "--database-url", f"sqlite:///{place}",
        *device_arguments(),
    )  # fmt: skip


@functools.cache
def device_arguments() -> tuple[str, ...]:
    """`--cpu` exactly if torch finds no accelerator; without it ComfyUI would not start then."""
    import torch

    found = torch.cuda.is_available() or torch.backends.mps.is_available()
    accelerator = getattr(torch, "accelerator", None)  # torch 2.6: also Intel and others
    found = found or (accelerator is not None and accelerator.is_available())
    return () if found else ("--cpu",)


def free_port(port: int = 0) -> int:
    """A port nothing listens on: the one asked for, or any.

    Raises:
        ServerError: if the one asked for is taken.
    """
    with socket.socket() as probe:
        if os.name != "nt":  # else a port is "in use" for a minute after its server has ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError as error:
            raise ServerError(f"Port {port} is in use; choose another one.") from error
        return int(probe.getsockname()[1])
