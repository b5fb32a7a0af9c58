"""The tab "Solvers", files dropped on the page, and the compare viewer."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from .page import FrontEnd
from .workflows import DEMO_PRESET, comparing, preset_bytes, sampled

FRIEND = "friend's fast six"


def open_tab(front: FrontEnd) -> None:
    """A click on the tab; the first card is there."""
    tab = front.page.locator("nav, .side-tool-bar-container").get_by_role(
        "button", name="Solvers").first
    front.act(lambda: tab.click())
    front.page.locator("li[data-file='Demo flow 6 steps.safetensors']").wait_for()


def files(front: FrontEnd) -> list[str]:
    return [card["file"] for card in front.ask("/presets")["presets"]]


def wait_files(front: FrontEnd, name: str, *, there: bool) -> None:
    for _ in range(40):
        if (name in files(front)) == there:
            return
        front.page.wait_for_timeout(250)
    raise AssertionError(f"{name}: wanted {there}, found {files(front)}")


def test_cards_say_what_suits_the_open_graph(front: FrontEnd) -> None:
    front.build(sampled())
    open_tab(front)
    front.page.get_by_text("Made for this checkpoint").first.wait_for()
    front.screenshot("sidebar")
    front.page.get_by_role("searchbox").first.fill("no such preset")
    front.page.wait_for_timeout(400)
    assert front.page.locator("li[data-file]").count() == 0


def test_rename_delete_and_undo(front: FrontEnd, presets: Path) -> None:
    (presets / "first name.safetensors").write_bytes(preset_bytes(name="first name"))
    front.reload()
    renamed = front.js("async (app) => (await fetch('/solver_search/rename', {method: 'POST', "
                       "headers: {'X-Solver-Search': '1', 'Content-Type': 'application/json'}, "
                       "body: JSON.stringify({file: 'first name.safetensors', name: 'second'})}))"
                       ".json()")
    assert renamed == {"file": "second.safetensors"}
    open_tab(front)
    card = front.page.locator("li[data-file='second.safetensors']")
    card.get_by_role("button", name="More").click()
    card.get_by_role("button", name="Delete").click()
    wait_files(front, "second.safetensors", there=False)
    front.page.get_by_role("button", name="Undo").first.click()
    wait_files(front, "second.safetensors", there=True)


def test_a_friends_preset_is_one_drop_and_one_click(front: FrontEnd, presets: Path) -> None:
    ids = front.build(sampled())
    data = preset_bytes(name=FRIEND, bent=1e-3)
    front.act(lambda: front.drop(data, "friend.safetensors"))
    install = front.page.get_by_role("button", name="Install", exact=True).first
    install.wait_for()
    assert "friend.safetensors" not in files(front)  # seen before anything is written
    assert front.page.get_by_text(FRIEND).first.is_visible()
    front.screenshot("drop")
    front.act(lambda: install.click())
    for _ in range(40):
        found = [c for c in front.ask("/presets")["presets"] if c["name"] == FRIEND]
        if found:
            break
        front.page.wait_for_timeout(250)
    assert found and front.actions == 2
    assert front.js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["sampler"])


def test_share_export_and_import(front: FrontEnd, presets: Path) -> None:
    shared = front.js("async (app, file) => { const a = await fetch('/solver_search/share?file=' "
                      "+ encodeURIComponent(file)); return [a.status, a.headers.get("
                      "'content-disposition'), [...new Uint8Array(await a.arrayBuffer())]]; }",
                      DEMO_PRESET)
    assert shared[0] == 200 and "attachment" in shared[1]
    assert bytes(shared[2]) == (presets / DEMO_PRESET).read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.safetensors", preset_bytes(name="one", bent=2e-3))
        archive.writestr("../two.safetensors", b"no preset")
    front.drop(packed.getvalue(), "presets.zip")
    front.page.get_by_role("button", name="Install", exact=True).first.click()
    wait_files(front, "one.safetensors", there=True)
    assert not (presets.parent / "two.safetensors").exists()


def test_another_file_still_goes_to_comfyui(front: FrontEnd) -> None:
    front.build(sampled())
    graph = front.graph()
    front.drop(json.dumps({**graph, "nodes": graph["nodes"][:1], "links": []})
               .encode(), "workflow.json")
    front.wait_js("(app) => app.rootGraph.nodes.length === 1")


def test_the_compare_viewer_flips_and_says_one_sentence(front: FrontEnd, renderer: str) -> None:
    ids = front.build(comparing())
    assert front.run() == "execution_success"
    said = front.events("executed")[-1]["output"]
    shown = front.wait_said(ids["compare"], "closer")
    assert said and shown
    front.screenshot(f"compare {renderer}")
    front.page.get_by_role("button", name="Hold to flip").first.wait_for()
