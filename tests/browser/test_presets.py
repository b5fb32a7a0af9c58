"""Presets in the page: pickers, pins, subgraphs, and what strangers put into files."""

from __future__ import annotations

from pathlib import Path

import pytest

from .console import Console
from .page import FrontEnd
from .workflows import DEMO_PRESET, library_bytes, preset_bytes, with_preset

SCRIPT = '<img src=x onerror="window.PWNED=1">'
LINK = "[[Update ComfyUI here|https://evil.example/x]] https://evil.example/y"
HOSTILE = {"script.safetensors": SCRIPT, "link.safetensors": LINK}


@pytest.fixture
def mine(presets: Path) -> Path:
    """A file that will change."""
    file = presets / "mine.safetensors"
    file.write_bytes(library_bytes("DSS SiT flow 6"))
    return file


@pytest.fixture
def strangers(presets: Path) -> None:
    """Presets with hostile words."""
    for file, words in HOSTILE.items():
        (presets / file).write_bytes(
            preset_bytes(name=words[:60], author=words[:60], notes=words))


def test_a_changed_file_is_accepted_with_one_click(mine: Path, front: FrontEnd,
                                                   renderer: str) -> None:
    ids = front.build(with_preset(mine.name))
    front.choose(ids["load"], "preset", mine.name)
    before = front.widget(ids["load"], "pin")
    assert before
    mine.write_bytes(library_bytes("DSS SiT flow 7"))
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
    front.into_subgraph([ids["load"], ids["use"]])
    assert not front.js("(app) => app.rootGraph.nodes.some((n) => "
                        "n.comfyClass === 'SolverSearch_Load')")
    assert front.run() == "execution_success"


def test_a_strangers_words_stay_words(strangers: None, front: FrontEnd, renderer: str) -> None:
    for file, words in HOSTILE.items():
        ids = front.build(with_preset(file, cfg=7.0))
        assert front.run() == "execution_success"
        front.wait_said(ids["load"], words[:12])
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
