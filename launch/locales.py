"""Writes what ComfyUI shows of the nodes in English, and the inputs' part of their help pages.

    python -m launch.locales

English comes from the nodes' schemas, from web/js/settings.js and from web/js: each t("...") and
each sentence("...") of the server's (in main.json, under "solverSearch": English is the key);
other languages are written by hand in locales/LANGUAGE. A help page, web/docs/NODE/LANGUAGE.md,
is written by hand but for its inputs and outputs, which are put in from that language's
nodeDefs.json. The English one is also web/docs/NODE.md, which ComfyUI shows in every other
language. A test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .base import prepare_base
from .places import ROOT
from .server import Server

LOCALES, HELP = ROOT / "locales", ROOT / "web" / "docs"
PREFIX = "SolverSearch_"
INPUTS = {"en": "## Inputs", "zh": "## 输入"}
OUTPUTS = {"en": "## Outputs", "zh": "## 输出"}
COLON = {"en": ": ", "zh": "："}
SPOKEN = re.compile(r'\b(?:t|sentence)\(\s*("(?:[^"\\]|\\.)*")')
PAGE = "solverSearch"  # the key in main.json
NEXT = re.compile(r"^## ", re.MULTILINE)
QUOTED = r"""\s*("[^"]*"|'[^']*')\s*"""
SWITCH = re.compile(r"\[" + ",".join([QUOTED] * 4) + r",?\s*\]")
ALONE = re.compile(rf'id: "(SolverSearch\.\w+)",.*?name:{QUOTED},.*?tooltip:{QUOTED}', re.DOTALL)

Words = dict[str, Any]


def node_words(object_info: dict[str, Any]) -> Words:
    """nodeDefs.json in English.

    Args:
        object_info: node class -> what a server says of it.

    Returns:
        Node class -> display_name, description, inputs and outputs with names and tooltips. An
        output named by its type has no name of ours: ComfyUI translates its types.
    """
    return {name: {"display_name": info["display_name"], "description": info["description"],
                   "inputs": {key: _input(key, options) for key, options in _inputs(info)},
                   "outputs": _outputs(info)}
            for name, info in object_info.items() if name.startswith(PREFIX)}


def _inputs(info: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    return [(key, entry[1]) for key, entry in found.items()]


def _input(key: str, options: dict[str, Any]) -> dict[str, str]:
    return {"name": options.get("display_name") or key, "tooltip": options["tooltip"]}


def _outputs(info: dict[str, Any]) -> Words:
    each = zip(info["output"], info["output_name"], info["output_tooltips"], strict=True)
    return {str(i): {**({"name": name} if name != kind else {}), "tooltip": tooltip}
            for i, (kind, name, tooltip) in enumerate(each)}


def setting_words(script: str) -> Words:
    """settings.json in English, from the text of web/js/settings.js."""
    found = [(f"SolverSearch.{part[1:-1]}", name, tooltip)
             for part, _, name, tooltip in SWITCH.findall(script)] + ALONE.findall(script)
    return {id_.replace(".", "_"): {"name": name[1:-1], "tooltip": tooltip[1:-1]}
            for id_, name, tooltip in found}


def page_words(scripts: Iterable[str]) -> dict[str, str]:
    """What web/js says: every t("...") of these scripts, in alphabetical order."""
    found = {json.loads(quoted) for script in scripts for quoted in SPOKEN.findall(script)}
    return {text: text for text in sorted(found)}


def all_scripts() -> list[str]:
    """Texts of web/js."""
    return [path.read_text("utf-8") for path in sorted((ROOT / "web" / "js").glob("*.js"))]


def page(text: str, words: Words, language: str) -> str:
    """A help page with its inputs and outputs put in.

    Args:
        text: the page; has both headings.
        words: of this node, as in nodeDefs.json.
        language: en or zh.
    """
    inputs = [(entry["name"], entry["tooltip"]) for entry in words["inputs"].values()]
    outputs = [(entry.get("name", ""), entry["tooltip"]) for entry in words["outputs"].values()]
    colon = COLON[language]
    return _section(_section(text, INPUTS[language], inputs, colon), OUTPUTS[language], outputs,
                    colon)


def _section(text: str, heading: str, entries: list[tuple[str, str]], colon: str) -> str:
    before, _, after = text.partition(heading + "\n")
    later = NEXT.search(after)
    rest = after[later.start():] if later else ""
    listed = "\n".join(_entry(*entry, colon) for entry in entries)
    return f"{before}{heading}\n\n{listed}\n" + (f"\n{rest}" if rest else "")


def _entry(name: str, tooltip: str, colon: str) -> str:
    first, *more = tooltip.split("\n")
    if more and ": " in first:  # a list of choices
        return "\n".join([f"- **{name}**", *(f"  - {line}" for line in (first, *more))])
    return f"- **{name}**{colon}{tooltip}" if name else f"- {tooltip}"


def pages(words: dict[str, Words]) -> dict[Path, str]:
    """Each help page's path and text; words: language -> nodeDefs.json."""
    found: dict[Path, str] = {}
    for language, nodes in words.items():
        for node, own in nodes.items():
            path = HELP / node / f"{language}.md"
            found[path] = page(path.read_text("utf-8"), own, language)
    return found | {HELP / f"{node}.md": found[HELP / node / "en.md"] for node in words["en"]}


def read(language: str, name: str) -> Words:
    """A file of locales/."""
    return json.loads((LOCALES / language / name).read_text("utf-8"))


def write(path: Path, words: Words) -> None:
    """A file of locales/, as people read it."""
    path.write_text(json.dumps(words, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Write everything that is not written by hand."""
    with Server(prepare_base(), arguments=("--disable-api-nodes",)) as server:
        english = node_words(server.client.object_info())
    write(LOCALES / "en" / "nodeDefs.json", english)
    script = (ROOT / "web" / "js" / "settings.js").read_text("utf-8")
    write(LOCALES / "en" / "settings.json", setting_words(script))
    main = {key: words for key, words in read("en", "main.json").items() if key != PAGE}
    write(LOCALES / "en" / "main.json", {**main, PAGE: page_words(all_scripts())})
    for path, text in pages({"en": english, "zh": read("zh", "nodeDefs.json")}).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
