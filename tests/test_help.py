"""Every node has its help page, in both languages, with its own inputs in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from launch import locales
from launch.places import ROOT

from .test_locales import schemas
from .world import World

LANGUAGES = ("en", "zh")
HEADINGS = {
    "en": ["When to use it", "What to connect", "What the answer says", "Inputs", "Outputs"],
    "zh": ["什么时候用", "怎么接", "结果怎么看", "输入", "输出"],
}


@pytest.fixture(scope="module")
def nodes(world: World) -> dict[str, Any]:
    return schemas(world)


def text_of(node: str, language: str) -> str:
    return (locales.HELP / node / f"{language}.md").read_text("utf-8")


def test_there_is_a_page_for_each_node_and_no_other(nodes: dict[str, Any]) -> None:
    wanted = {locales.HELP / node / f"{each}.md" for node in nodes for each in LANGUAGES}
    wanted |= {locales.HELP / f"{node}.md" for node in nodes}
    assert set(locales.HELP.rglob("*.*")) == wanted


def test_pages_are_up_to_date(nodes: dict[str, Any]) -> None:
    words = {"en": locales.node_words(nodes), "zh": locales.read("zh", "nodeDefs.json")}
    assert {*words["en"]} == {*nodes}
    for path, text in locales.pages(words).items():
        assert path.read_text("utf-8") == text, f"run `python -m launch.locales`: {path.name}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_page_says_what_to_do_and_names_each_input(nodes: dict[str, Any],
                                                        language: str) -> None:
    words = locales.read(language, "nodeDefs.json")
    for node, info in nodes.items():
        text = text_of(node, language)
        assert text.startswith(f"# {words[node]['display_name']}\n")
        headings = re.findall("^## (.+)$", text, re.MULTILINE)
        assert set(HEADINGS[language]) <= set(headings), node
        inputs = [*info["input"].get("required", {}), *info["input"].get("optional", {})]
        assert list(words[node]["inputs"]) == inputs, node
        for key in inputs:
            assert f"- **{words[node]['inputs'][key]['name']}**" in text, (node, key)


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_that_are_explained_are_ones_the_nodes_give(nodes: dict[str, Any],
                                                            language: str) -> None:
    """What a page quotes in bold among the answers stands in the code, but for its numbers."""
    code = re.sub(r'"\s*f?"', "", " ".join(p.read_text("utf-8") for p in sources()))
    for quoted in ("Made for this checkpoint", "not measured on this checkpoint",
                   "Made for another family", "Nobody has searched for this model",
                   "Not usable with this model", "This preset has changed"):
        assert quoted in code
        assert quoted in text_of("SolverSearch_Load", language)
    for quoted in ("too close to call", "nothing better than", "Found, searched on",
                   "not measured"):
        assert quoted in code
        assert quoted.lower() in text_of("SolverSearch_Search", language).lower()


def sources() -> list[Path]:
    return sorted((ROOT / "nodes").glob("*.py"))
