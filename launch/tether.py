"""Run a program that ends when its starter does, however the starter ends.

    python tether.py main.py [arguments]

The starter holds the other end of standard input. When that closes (also because the starter was
killed outright, which no signal handler could catch), this process leaves at once.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path


def main() -> None:
    """Become `sys.argv[1]` with the remaining arguments."""
    threading.Thread(target=_leave_with_starter, daemon=True).start()
    program = Path(sys.argv[1]).resolve()
    sys.argv = [str(program), *sys.argv[2:]]
    sys.path[0] = str(program.parent)
    runpy.run_path(str(program), run_name="__main__")


def _leave_with_starter() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
