"""All checks: pytest with this repository's settings, then ruff. Arguments go to pytest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .places import BASE, COMFYUI, ROOT, VENV
from .steps import say

# The root is a node pack that only ComfyUI can import; pytest would import it as the package
# around tests/ (pytest 8 and later), unless what lies above tests/ is cut off.
PYTEST = ("--rootdir", str(ROOT), "--confcutdir", str(ROOT / "tests"), "--import-mode=importlib")


def main(arguments: list[str]) -> int:
    """Run both, whatever the first says.

    Returns:
        0 if both are content.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models; two threads on busy cores crawl
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
