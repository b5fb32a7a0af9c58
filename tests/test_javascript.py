"""web/js without a browser: its tests in Node.js, its types, its mistakes.

The type checker and the linter come from the npm registry, pinned in tests/js/package-lock.json,
into tests/js/node_modules; they are fetched once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
JS = ROOT / "tests" / "js"
LOCK = JS / "package-lock.json"
STAMP = JS / "node_modules" / ".solver-search.stamp"
REQUIRED = "SOLVER_SEARCH_BROWSER"
OLDEST_NODE = 20


def missing(sentence: str) -> None:
    """Skip, or fail where the front end must be tested."""
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(sentence)
    pytest.skip(sentence)


def run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=folder, text=True,
                          capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        missing("Node.js was not found: install node 20 or newer to test web/js.")
    version = run(found, "--version").stdout.strip()
    if int(re.match(r"v(\d+)", version).group(1)) < OLDEST_NODE:
        missing(f"Node.js {OLDEST_NODE} or newer is needed to test web/js; this is {version}.")
    return found


@pytest.fixture(scope="module")
def tools(node: str) -> Path:
    """The folder of the pinned type checker and linter."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not STAMP.is_file() or STAMP.read_text() != wanted:
        npm = shutil.which("npm")
        if npm is None:
            missing("npm was not found: it fetches the type checker and linter of web/js.")
        made = run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=JS)
        if made.returncode:
            missing("npm could not fetch the type checker and linter of web/js:\n"
                    + made.stderr[-2000:])
        STAMP.write_text(wanted)
    return JS / "node_modules" / ".bin"


def test_the_scripts_do_what_their_tests_say(node: str) -> None:
    tests = sorted(JS.glob("*.test.mjs"))
    assert tests
    done = run(node, "--import", f"./{(JS / 'front_end.mjs').relative_to(ROOT).as_posix()}",
               "--test", *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scripts_have_no_type_errors(tools: Path) -> None:
    done = run(tools / "tsc", "-p", JS / "tsconfig.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_finds_nothing_in_the_scripts(tools: Path) -> None:
    done = run(tools / "eslint", "--config", JS / "eslint.config.mjs", "web/js", "tests/js")
    assert done.returncode == 0, done.stdout + done.stderr
