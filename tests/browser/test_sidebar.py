"""The tab "Solvers", files dropped on the page, and the compare viewer."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.pack import load

from .console import Console
from .page import FrontEnd
from .workflows import preset_bytes, sampled, with_preset

FRIEND = "friend's fast six"
SIGNED, PAIR = "signed.safetensors", ["one.safetensors", "two.safetensors"]


def open_tab(front: FrontEnd) -> None:
    """A click on the tab; the first card is there."""
    tab = front.page.locator("nav, .side-tool-bar-container").get_by_role(
        "button", name="Solvers").first
    front.act(lambda: tab.click())
    front.page.locator("li[data-file='Demo flow 6 steps.safetensors']").wait_for()


def files(front: FrontEnd) -> list[str]:
    return [card["file"] for card in front.ask("/presets")["presets"]]


def wait_files(front: FrontEnd, name: str, *, there: bool) -> None:
    front.until(lambda: files(front), lambda found: (name in found) == there,
                f"{name}: {there}")


def test_cards_say_what_suits_the_open_graph(front: FrontEnd) -> None:
    front.build(sampled())
    open_tab(front)
    front.page.get_by_text("Made for this checkpoint").first.wait_for()
    front.screenshot("sidebar")
    front.page.get_by_role("searchbox").first.fill("no such preset")
    front.page.get_by_text("No preset has these words.").wait_for()
    assert front.page.locator("li[data-file]").count() == 0


def card_of(front: FrontEnd, file: str) -> Any:  # noqa: ANN401
    return front.page.locator(f"li[data-file='{file}']")


def more(front: FrontEnd, file: str, name: str) -> None:
    """A button behind the three dots of a card."""
    card = card_of(front, file)
    card.get_by_role("button", name="More for").click()
    card.get_by_role("button", name=name, exact=True).click()


@pytest.fixture
def own(presets: Path) -> Path:
    """The folder of own presets with some in it."""
    (presets / "first name.safetensors").write_bytes(preset_bytes(name="first name"))
    (presets / SIGNED).write_bytes(preset_bytes(name="signed", author="Ada", notes="for cats"))
    for number, name in enumerate(PAIR):
        (presets / name).write_bytes(preset_bytes(name=name[:3], bent=(1 + number) * 1e-3))
    return presets


def test_rename_delete_and_undo(own: Path, front: FrontEnd, console: Console) -> None:
    console.expect("400 (Bad Request)")  # for the name that no file may have
    open_tab(front)
    more(front, "first name.safetensors", "Rename")
    field = front.page.get_by_role("textbox", name="New file name for first name")
    field.fill("con")
    field.press("Enter")
    card_of(front, "first name.safetensors").get_by_text("reserved by Windows").wait_for()
    field.fill("second")
    field.press("Enter")
    wait_files(front, "second.safetensors", there=True)
    card_of(front, "second.safetensors").get_by_role("heading", name="second").wait_for()
    assert not (own / "first name.safetensors").exists()
    more(front, "second.safetensors", "Delete")
    wait_files(front, "second.safetensors", there=False)
    front.page.get_by_role("button", name="Undo").first.click()
    wait_files(front, "second.safetensors", there=True)
    card_of(front, "second.safetensors").wait_for()


def test_the_library_can_be_used_and_shared_but_not_changed(front: FrontEnd) -> None:
    open_tab(front)
    card = card_of(front, "DSS SiT flow 6.safetensors")
    card.scroll_into_view_if_needed()
    card.get_by_role("button", name="More for").click()
    assert card.get_by_role("button", name="Share").is_visible()
    assert card.get_by_role("button", name="Delete").count() == 0
    assert card.get_by_role("button", name="Rename").count() == 0


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
    front.until(lambda: [c["name"] for c in front.ask("/presets")["presets"]],
                lambda names: FRIEND in names, FRIEND)
    assert front.actions == 2
    assert front.js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["sampler"])


def download(front: FrontEnd, name: str) -> bytes:
    """What the link of the open window saves."""
    with front.page.expect_download() as found:
        front.page.get_by_role("dialog").get_by_role("link", name=name).click()
    return Path(found.value.path()).read_bytes()


def test_share_says_what_is_in_the_file_and_leaves_the_person_out(own: Path,
                                                                  front: FrontEnd) -> None:
    file, parse = SIGNED, load("presets.file").parse
    open_tab(front)
    more(front, file, "Share")
    dialog = front.page.get_by_role("dialog", name="Share signed")
    dialog.get_by_text("demo_flow.safetensors", exact=True).wait_for()
    assert dialog.get_by_text("Ada", exact=True).is_visible()
    assert not dialog.get_by_label("The author's name").is_checked()
    assert dialog.get_by_label("Notes").is_checked()
    front.screenshot("share")
    shared = parse(download(front, "Download")).info
    assert (shared.author, shared.notes) == ("", "for cats")
    more(front, file, "Share") if card_of(front, file).get_by_role(
        "button", name="Share", exact=True).count() == 0 else card_of(front, file).get_by_role(
        "button", name="Share", exact=True).click()
    dialog.get_by_label("The author's name").check()
    assert parse(download(front, "Download")).info.author == "Ada"
    assert parse((own / file).read_bytes()).info.author == "Ada"


def test_several_go_out_as_one_zip_and_come_in_again(own: Path, front: FrontEnd) -> None:
    open_tab(front)
    for name in PAIR:
        card_of(front, name).get_by_role("checkbox").check()
    front.page.get_by_text("2 selected").wait_for()
    front.page.locator(".selection").get_by_role("button", name="Share").click()
    front.page.get_by_role("dialog", name="Share 2 presets").wait_for()
    packed = download(front, "Download as zip")
    assert sorted(zipfile.ZipFile(io.BytesIO(packed)).namelist()) == PAIR
    for name in PAIR:
        (own / name).unlink()
    front.reload()
    open_tab(front)
    front.drop(packed, "presets.zip", ".solver-search-tab")  # on the tab
    front.page.get_by_role("button", name="Install 2").click()
    for name in PAIR:
        wait_files(front, name, there=True)
        card_of(front, name).wait_for()


def test_a_hostile_zip_brings_only_its_presets(front: FrontEnd, presets: Path) -> None:
    """Names that lead elsewhere, bombs, files of others: what is no preset is not sent."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../evil.safetensors", preset_bytes(name="evil", bent=3e-3))
        archive.writestr("../two.safetensors", b"no preset")
        archive.writestr("bomb.safetensors", bytes(32 << 20))
        archive.writestr("run.py", b"import os")
    before = {path for path in presets.parent.rglob("*")}
    front.drop(packed.getvalue(), "presets.zip")
    front.page.get_by_role("button", name="Install", exact=True).first.click()
    wait_files(front, "evil.safetensors", there=True)
    assert {path for path in presets.parent.rglob("*")} - before == {presets / "evil.safetensors"}
    lying = bytearray(packed.getvalue())
    at = lying.rfind(b"PK\x01\x02", 0, lying.find(b"bomb.safetensors", 2000))
    lying[at + 24 : at + 28] = (100).to_bytes(4, "little")  # the bomb claims 100 bytes
    front.drop(bytes(lying), "lying.zip", ".side-tool-bar-container")
    front.page.wait_for_timeout(1000)
    assert front.page.get_by_role("button", name="Install", exact=True).count() == 0


def test_a_preset_dropped_on_a_node_is_chosen_there(front: FrontEnd, renderer: str,
                                                    presets: Path) -> None:
    ids = front.build(with_preset())
    before = front.graph()["nodes"]
    front.js("(app, id) => app.canvas.centerOnNode(app.rootGraph.getNodeById(id))", ids["load"])
    front.page.wait_for_timeout(500)
    front.drop_on_node(preset_bytes(name="for this node", bent=4e-3), "for node.safetensors",
                       ids["load"])
    front.page.get_by_role("button", name="Install", exact=True).first.click()
    front.wait_js("(app, id) => app.rootGraph.getNodeById(id).widgets.find((w) => "
                  "w.name === 'preset').value === 'for node.safetensors'", ids["load"])
    pin = front.widget(ids["load"], "pin")
    assert pin == load("presets.store").read(presets / "for node.safetensors").id
    assert len(front.graph()["nodes"]) == len(before)


def test_another_file_still_goes_to_comfyui(front: FrontEnd) -> None:
    front.build(sampled())
    graph = front.graph()
    front.drop(json.dumps({**graph, "nodes": graph["nodes"][:1], "links": []})
               .encode(), "workflow.json")
    front.wait_js("(app) => app.rootGraph.nodes.length === 1", seconds=20)
