"""docs/security.md names a test for each threat; here is whether these tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .pack import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
SCRIPTS = sorted((ROOT / "web" / "js").rglob("*.js"))
AS_MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|"
                       r"new Function|createContextualFragment|srcdoc|DOMParser")
ELSEWHERE = re.compile(r"(?:https?:|wss?:)?//(?=[\w-]+\.[a-z])[^\s\"'`]*")
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, never fetched


def functions_of(path: Path) -> set[str]:
    """Names of the test functions in a file."""
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_test_named_is_there() -> None:
    assert len(NAMED) > 30
    for file, test in NAMED:
        assert (ROOT / file).is_file(), file
        assert test in functions_of(ROOT / file), f"{file} has no {test}"


def test_every_threat_has_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    threats = [row for row in rows if not row.startswith("| threat |")]
    assert len(threats) > 20
    for row in threats:
        assert "::" in row, f"no test: {row}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_no_script_makes_markup_of_text_or_asks_another_server(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not AS_MARKUP.search(text)
    strings = re.findall(r"\"[^\"\n]*\"|'[^'\n]*'|`[^`]*`", text)
    found = [u for s in strings for u in ELSEWHERE.findall(s) if not u.startswith(NAMESPACE)]
    assert not found


def test_what_is_looked_for_would_be_found() -> None:
    for line in ("e.innerHTML = text", "eval(text)", "new DOMParser()"):
        assert AS_MARKUP.search(line)
    for line in ("https://evil.example/x", "//evil.example", "wss://evil.example"):
        assert ELSEWHERE.findall(line) == [line]
    assert not ELSEWHERE.findall("/solver_search/presets")
