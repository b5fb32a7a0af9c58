"""What the documents promise exists."""

from __future__ import annotations

import re
from pathlib import Path

import run

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/decisions/{p.name}" for p in
                                               (ROOT / "docs" / "decisions").glob("*.md"))]


def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_text("utf-8") for name in DOCUMENTS}


def test_every_command_named_is_one_of_run_py() -> None:
    named = {match for text in texts().values()
             for match in re.findall(r"python run\.py ([a-z-]+)", text)}
    assert {"demo", "test"} <= named <= set(run.PROGRAMS)


def test_ci_calls_exactly_the_test_command() -> None:
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    commands = [line for line in lines if "run.py" in line and not line.startswith("#")]
    assert commands
    assert all(command.rstrip().endswith("run.py test") for command in commands)


def test_every_link_and_picture_is_there() -> None:
    for name, text in texts().items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name} -> {target}"


def test_files_named_in_backticks_are_there() -> None:
    for name, text in texts().items():
        for path in re.findall(r"`([\w./-]+\.(?:py|md|json))`", text):
            found = [p for p in ROOT.glob(f"**/{path}") if ".venv" not in p.parts
                     and ".comfyui" not in p.parts]
            assert found, f"{name} names {path}"
