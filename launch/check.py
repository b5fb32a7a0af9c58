"""All checks: pytest with this repository's settings, then ruff. Arguments go to pytest.

    python run.py test [-n PROCESSES] [--newest-front-end] [arguments of pytest]

Tests run in as many processes as cores and memory allow, at most four; with -n 0 in this one, as
debuggers need it. With --newest-front-end the tests in a browser (tests/browser) use the newest
release of ComfyUI's front end on PyPI instead of the installed one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import psutil
import pytest

from .front_end import newest_front_end
from .places import BASE, COMFYUI, FRONT_END_VARIABLE, ROOT, VENV
from .steps import say

# The root is a node pack that only ComfyUI can import; pytest would import it as the package
# around tests/ (pytest 8 and later), unless what lies above tests/ is cut off.
PYTEST = ("--rootdir", str(ROOT), "--confcutdir", str(ROOT / "tests"), "--import-mode=importlib")
NEWEST = "--newest-front-end"
MOST = 4  # processes; the longest file sets the end, whatever their number
EACH = 3 * 2**30  # bytes of memory for a process with its server and its browser


def main(arguments: list[str]) -> int:
    """Run both, whatever the first says.

    Returns:
        0 if both are content.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models; two threads on busy cores crawl
    if NEWEST in arguments:
        arguments = [argument for argument in arguments if argument != NEWEST]
        os.environ[FRONT_END_VARIABLE] = str(newest_front_end())
    tests = int(pytest.main([*PYTEST, *side_by_side(), *arguments]))
    style = subprocess.run(ruff_command(), cwd=ROOT, check=False).returncode
    say(f"pytest: {'ok' if not tests else f'exit code {tests}'}; ")
    say(f"ruff: {'ok' if not style else 'see above'}\n")
    return tests or style


def side_by_side() -> list[str]:
    """Arguments for as many processes as this machine bears; none where pytest-xdist is missing,
    as with an existing ComfyUI's Python. Later arguments may say another number."""
    count = processes()
    return ["-n", str(count)] if count > 1 and find_spec("xdist") else []


def processes() -> int:
    """How many processes have a core and memory of their own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    room = psutil.virtual_memory().available // EACH
    return max(1, min(cores or 1, room, MOST))


def ruff_command() -> list[str]:
    """The linter's command; what set-up made is excluded, also where there is no git."""
    made = ",".join(str(folder) for folder in (VENV, COMFYUI, BASE))
    return [sys.executable, "-m", "ruff", "check", "--extend-exclude", made, str(ROOT)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
