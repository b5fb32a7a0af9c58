"""All checks: pytest with this repository's settings, then ruff. Arguments go to pytest.

    python run.py test [--newest-front-end] [arguments of pytest]

With --newest-front-end the tests in a browser (tests/browser) use the newest release of ComfyUI's
front end on PyPI instead of the installed one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .front_end import newest_front_end
from .places import BASE, COMFYUI, FRONT_END_VARIABLE, ROOT, VENV
from .steps import say

# The root is a node pack that only ComfyUI can import; pytest would import it as the package
# around tests/ (pytest 8 and later), unless what lies above tests/ is cut off.
PYTEST = ("--rootdir", str(ROOT), "--confcutdir", str(ROOT / "tests"), "--import-mode=importlib")
NEWEST = "--newest-front-end"


def main(arguments: list[str]) -> int:
    """Run both, whatever the first says.

    Returns:
        0 if both are content.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models; two threads on busy cores crawl
    if NEWEST in arguments:
        arguments = [argument for argument in arguments if argument != NEWEST]
        os.environ[FRONT_END_VARIABLE] = str(newest_front_end())
    tests = int(pytest.main([*PYTEST, *arguments]))
    style = subprocess.run(ruff_command(), cwd=ROOT, check=False).returncode
    say(f"pytest: {'ok' if not tests else f'exit code {tests}'}; ")
    say(f"ruff: {'ok' if not style else 'see above'}\n")
    return tests or style


def ruff_command() -> list[str]:
    """The linter's command; what set-up made is excluded, also where there is no git."""
    made = ",".join(str(folder) for folder in (VENV, COMFYUI, BASE))
    return [sys.executable, "-m", "ruff", "check", "--extend-exclude", made, str(ROOT)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
