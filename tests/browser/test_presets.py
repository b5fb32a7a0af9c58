"""Presets in the page: pickers, pins, subgraphs, and what strangers put into files."""

from __future__ import annotations

from pathlib import Path

import pytest

from .console import Console
from .page import FrontEnd
from .workflows import DEMO_PRESET, library_bytes, preset_bytes, searching, with_preset

SCRIPT = '<img src=x onerror="window.PWNED=1">'
LINK = "[[Update ComfyUI here|https://evil.example/x]] https://evil.example/y"
HOSTILE = [SCRIPT, LINK]


def test_a_new_preset_is_in_the_picker_at_once(front: FrontEnd, presets: Path) -> None:
    ids = front.build({**with_preset(), **searching("brand new")})
    assert front.run() == "execution_success"
    front.wait_js("(app, id) => app.rootGraph.getNodeById(id).widgets.find((w) => "
                  "w.name === 'preset').options.values.includes('brand new.safetensors')",
                  ids["load"])
    front.choose(ids["load"], "preset", "brand new.safetensors")
    card = next(c for c in front.ask("/presets")["presets"] if c["name"] == "brand new")
    assert front.widget(ids["load"], "pin") == card["id"]


def test_a_changed_file_is_accepted_with_one_click(front: FrontEnd, renderer: str,
                                                   presets: Path) -> None:
    file = presets / "mine.safetensors"
    file.write_bytes(library_bytes("DSS SiT flow 6"))
    front.reload()
    ids = front.build(with_preset(file.name))
    front.choose(ids["load"], "preset", file.name)
    before = front.widget(ids["load"], "pin")
    assert before
    file.write_bytes(library_bytes("DSS SiT flow 7"))
    assert front.run() == "execution_success"
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["load"])
    front.select(ids["load"])
    front.page.get_by_role("button", name="Accept").first.click()
    after = front.widget(ids["load"], "pin")
    assert after and after != before


def test_the_automatic_entry_pins_what_it_took(front: FrontEnd) -> None:
    ids = front.build(with_preset("(best for the connected model)"))
    assert front.run() == "execution_success"
    mine = next(c for c in front.ask("/presets")["presets"] if c["file"] == DEMO_PRESET)
    front.wait_js("(app, [id, pin]) => app.rootGraph.getNodeById(id).widgets.find((w) => "
                  "w.name === 'pin').value === pin", [ids["load"], mine["id"]])


def test_load_goes_into_a_subgraph_and_runs_there(front: FrontEnd) -> None:
    ids = front.build(with_preset())
    front.js("(app, ids) => app.canvas.selectItems(ids.map((i) => app.rootGraph.getNodeById(i)))",
             [ids["load"], ids["use"]])
    front.command("Comfy.Graph.ConvertToSubgraph")
    front.wait_js("(app) => app.rootGraph.nodes.some((n) => n.isSubgraphNode?.())")
    assert not front.js("(app) => app.rootGraph.nodes.some((n) => "
                        "n.comfyClass === 'SolverSearch_Load')")
    assert front.run() == "execution_success"


@pytest.mark.parametrize("words", HOSTILE, ids=["script", "link"])
def test_a_strangers_words_stay_words(front: FrontEnd, renderer: str, presets: Path,
                                      words: str) -> None:
    file = presets / "stranger.safetensors"
    file.write_bytes(preset_bytes(name=words[:60], author=words[:60], notes=words))
    front.reload()
    ids = front.build(with_preset(file.name, cfg=7.0))
    assert front.run() == "execution_success"
    front.wait_said(ids["load"], words[:20].split("|")[0][:12])
    harmless(front)


def test_a_pin_that_is_no_id_is_refused_or_shown_as_words(front: FrontEnd,
                                                          renderer: str) -> None:
    front.build(with_preset(pin=SCRIPT))
    front.run()
    harmless(front)


def test_a_name_that_turns_its_direction_is_no_preset(front: FrontEnd, presets: Path,
                                                      console: Console) -> None:
    data = preset_bytes(name="nice ??? name")
    (presets / "bidi.safetensors").write_bytes(data.replace(b"???", "\u202e".encode()))
    answer = front.ask("/presets")
    assert "bidi.safetensors" not in [card["file"] for card in answer["presets"]]
    assert "bidi.safetensors" in [each["file"] for each in answer["broken"]]


def harmless(front: FrontEnd) -> None:
    """No script of a stranger ran, and nothing of theirs became a link or an element."""
    front.page.wait_for_timeout(400)
    assert front.page.evaluate("() => window.PWNED") is None
    assert front.page.locator("a[href*='evil']").count() == 0
    assert front.page.locator("img[src='x'], img[src$='/x']").count() == 0
