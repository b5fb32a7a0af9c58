"""Many jobs: a manifest's lines, and the command that does one of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exits import Exit, Refusal

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Job:
    """One line of a manifest.

    Args:
        number: from 1 on.
        arguments: of the command `search`, those common to all jobs included.
        options: what they mean.
    """

    number: int
    arguments: Sequence[str]
    options: argparse.Namespace

    def command(self, comfy: Sequence[str]) -> list[str]:
        """Python and its arguments, which do this job in a process of its own."""
        return [sys.executable, str(FOLDER), *self.arguments, "--json", "--", *comfy]

    @property
    def about(self) -> str:
        """For people."""
        given = self.options
        return " ".join(filter(None, (Path(given.checkpoint or given.model or "?").stem,
                                      given.name, f"steps {given.steps}", f"CFG {given.cfg}")))


def read_manifest(path: Path) -> list[list[str]]:
    """Each job's own arguments.

    Raises:
        Refusal: if the file cannot be read, or a line is wrong.
    """
    try:
        lines = path.expanduser().read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(Exit.REQUEST, f"The manifest {path} cannot be read: {error}") from error
    jobs = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            jobs.append(as_arguments(line))
        except ValueError as error:
            raise Refusal(Exit.REQUEST, f"{path.name}, line {number}: {error}. Write one job a "
                          "line, as {\"checkpoint\": \"a.safetensors\", \"cfg\": 3.5}."
                          ) from error
    if not jobs:
        raise Refusal(Exit.REQUEST, f"{path} holds no job. Write one a line.")
    return jobs


def as_arguments(line: str) -> list[str]:
    """A manifest's line, a JSON object with the names of the command line, as its arguments.

    Raises:
        ValueError: for anything else, in words.
    """
    try:
        job = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(job, dict):
        raise ValueError(f"it must be an object in braces, found {type(job).__name__}")
    return [word for name, value in job.items() for word in _words(name, value)]


def _words(name: str, value: Any) -> list[str]:  # noqa: ANN401  JSON
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, list) and name == "steps":
        return [f"{flag}={','.join(map(str, value))}"]
    if isinstance(value, list):
        return [word for one in value for word in _words(name, one)]
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"{name} must be a text, a number, true or a list of these, found "
                         f"{type(value).__name__}")
    return [f"{flag}={value}"]
