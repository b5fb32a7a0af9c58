"""What ComfyUI shows in English is what the nodes say; Chinese has all of it and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch import locales
from launch.places import ROOT

from .world import World

FILES = ("commands.json", "main.json", "nodeDefs.json", "settings.json")
SYNTAX = re.compile(r"[{}@$|]")  # of the page's translations: such text would come out changed
CHINESE = re.compile("[\u4e00-\u9fff]")
QUOTED = re.compile(r'"([A-Z][a-z]+ [^"\n]*|[^"\n]*[a-z] [a-z]+ [a-z]+[^"\n]*)"')
FILLED = re.compile("[A-Za-z]{3,} [a-z]{2,} |[A-Z][a-z]{2,} ")
# The settings have a file of their own; the others are heard by the console or caught.
UNTOLD = ("settings", "comfy", "presets", "preset_file", "live_states")
SAME = ("name", "tooltip", "label", "description", "display_name")


def leaves(words: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each text with its dotted key."""
    for key, value in words.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def schemas(world: World) -> dict[str, Any]:
    """What a server tells of our nodes."""
    return {name: node.GET_NODE_INFO_V1() for name, node in world.nodes.NODE_CLASS_MAPPINGS.items()
            if name.startswith(locales.PREFIX)}


def test_english_is_what_the_nodes_say(world: World) -> None:
    said = locales.node_words(schemas(world))
    assert len(said) == 7
    assert locales.read("en", "nodeDefs.json") == said, "run `python -m launch.locales`"


def test_english_settings_are_those_of_the_page() -> None:
    script = (ROOT / "web" / "js" / "settings.js").read_text("utf-8")
    written = locales.setting_words(script)
    assert locales.read("en", "settings.json") == written, "run `python -m launch.locales`"
    assert len(written) == script.count("\n  [\"") + script.count("addSwitch(\"SolverSearch.")


def test_english_commands_are_those_of_the_page() -> None:
    scripts = "\n".join(p.read_text("utf-8") for p in (ROOT / "web" / "js").glob("*.js"))
    labels = {label["label"] for label in locales.read("en", "commands.json").values()}
    assert labels == set(re.findall(r'const LABEL = "(.+)"', scripts))
    script = (ROOT / "web" / "js" / "settings.js").read_text("utf-8")
    groups = {group[1:-1] for _, group, _, _ in locales.SWITCH.findall(script)} | {"KSampler"}
    assert groups == set(locales.read("en", "main.json")["settingsCategories"]) - {"Solver Search"}


def test_english_words_of_the_page_are_those_of_the_scripts() -> None:
    said = locales.page_words(locales.all_scripts())
    assert len(said) > 250
    assert locales.read("en", "main.json")[locales.PAGE] == said, "run `python -m launch.locales`"


def test_words_with_values_keep_them_in_chinese() -> None:
    values = re.compile(r"\{\w+\}")
    words = locales.read("zh", "main.json")[locales.PAGE]
    assert {key: text for key, text in words.items()
            if sorted(values.findall(key)) != sorted(values.findall(text))} == {}
    plain = [key for key, text in words.items() if not CHINESE.search(text) and key != "."]
    assert plain == [], "still English"


@pytest.mark.parametrize("path", sorted((ROOT / "web" / "js").glob("*.js")), ids=lambda p: p.stem)
def test_sentences_of_the_page_can_be_translated(path: Path) -> None:
    """A sentence in a script is one of t("..."), but for what settings.json and nobody reads."""
    if path.stem in UNTOLD:
        return
    script = re.sub(r"/\*.*?\*/|(^|\s)//[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)
    script = locales.SPOKEN.sub("t(", re.sub(r'"[^"\n]*": t\(', "t(", script))
    filled = [re.sub(r"\$\{[^}]*\}", "", text) for text in re.findall("`([^`]*)`", script)]
    elsewhere = locales.read("en", "main.json")["menuLabels"]  # commands and menus
    said = [text for text in QUOTED.findall(script) if text not in elsewhere]
    assert said + [text for text in filled if FILLED.search(text)] == []


@pytest.mark.parametrize("name", FILES)
def test_chinese_has_the_keys_of_english(name: str) -> None:
    english, chinese = (dict(leaves(locales.read(each, name))) for each in ("en", "zh"))
    assert sorted(english.keys() - chinese.keys()) == [], "not translated"
    assert sorted(chinese.keys() - english.keys()) == [], "left over"
    plain = [key for key, text in chinese.items()
             if key.split(".")[-1] in SAME and text == english[key] and len(text) > 10]
    assert plain == [], "still English"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", FILES)
def test_no_text_means_something_else_to_the_page(language: str, name: str) -> None:
    texts = {key: text for key, text in leaves(locales.read(language, name))
             if not key.startswith(f"{locales.PAGE}.")}  # these are ours to read
    assert texts
    assert [key for key, text in texts.items() if not text or SYNTAX.search(text)] == []


def test_chinese_explains_in_chinese() -> None:
    texts = dict(leaves(locales.read("zh", "nodeDefs.json")))
    explained = {key: text for key, text in texts.items() if not key.endswith(".name")}
    assert [key for key, text in explained.items() if not CHINESE.search(text)] == []


def test_choices_and_numbers_are_those_of_the_nodes(world: World) -> None:
    """A choice or a number of the English text is in the Chinese one, too."""
    chinese = dict(leaves(locales.read("zh", "nodeDefs.json")))
    said = re.compile(r"\d[\d,]*\d|\b[a-z]+_[a-z_\d]+\b")
    found = {key: set(said.findall(text)) - set(said.findall(chinese[key]))
             for key, text in leaves(locales.node_words(schemas(world))) if "tooltip" in key}
    assert {key: lost for key, lost in found.items() if lost} == {}
