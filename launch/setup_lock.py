"""One set-up at a time: an operating-system lock that ends with the processes holding it.

The descriptor is inherited by pip (see `commands.py`): if this process is killed outright, the
next set-up waits until that pip has ended instead of writing beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .steps import say


@contextmanager
def setup_lock(path: Path) -> Iterator[IO[bytes]]:
    """Hold the lock at `path`, waiting for whoever holds it now."""
    with path.open("a+b") as file:
        if not _try_lock(file):
            say("Another set-up is running; waiting for it ...\n")
            while not _try_lock(file):
                time.sleep(0.5)
        yield file


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
