"""The viewer of Compare Solvers: it flips, slides, hands out the winner, and needs no mouse.

All compare the same, which ComfyUI does once.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from .page import FrontEnd
from .test_keyboard import check_node
from .workflows import DEMO_PRESET, comparing, with_preset


def stage_pixels(front: FrontEnd) -> Any:  # noqa: ANN401
    """Picture of the stage without names and edge."""
    stage = front.page.locator(".solver-search-compare .stage").last
    front.page.add_style_tag(content=".solver-search-compare :is(.name, .edge) {opacity: 0}")
    front.page.wait_for_timeout(400)
    return Image.open(io.BytesIO(stage.screenshot())).convert("RGB")


def differing(one: Any, other: Any) -> tuple[float, float]:  # noqa: ANN401
    """Share of pixels that differ, in the left and in the right half."""
    assert one.size == other.size
    width, height = one.size
    shares = []
    for left, right in ((0, width // 2), (width // 2, width)):
        pair = [list(image.crop((left + 4, 4, right - 4, height - 4)).getdata())
                for image in (one, other)]
        far = [max(abs(a - b) for a, b in zip(p, q, strict=True)) > 6
               for p, q in zip(*pair, strict=True)]
        shares.append(sum(far) / len(far))
    return shares[0], shares[1]


def compared(front: FrontEnd) -> dict[str, int]:
    """A comparison that has run, enlarged, with the best built-in on the left."""
    ids = front.build({**comparing(), "use": with_preset()["use"]})
    assert front.run(400) == "execution_success"
    front.wait_said(ids["compare"], "closer")
    front.js("(app, id) => app.canvas.centerOnNode(app.rootGraph.getNodeById(id))",
             ids["compare"])
    front.page.get_by_role("button", name="Enlarge").first.click()
    dialog = front.page.get_by_role("dialog", name="Comparison")
    choice = dialog.get_by_role("combobox", name="Left picture")
    built_in = next(text for text in choice.locator("option").all_inner_texts()
                    if text.startswith("Built-in"))
    choice.select_option(label=built_in)
    return ids


def test_holding_shows_all_of_the_left_picture_and_the_slider_moves_the_edge(
        front: FrontEnd) -> None:
    compared(front)
    dialog = front.page.get_by_role("dialog", name="Comparison")
    slider, hold = dialog.get_by_role("slider"), dialog.get_by_role("button", name="Hold to flip")
    half = stage_pixels(front)
    box = hold.bounding_box()
    front.page.mouse.move(box["x"] + 5, box["y"] + 5)
    front.page.mouse.down()
    held = stage_pixels(front)
    front.page.mouse.up()
    let_go = stage_pixels(front)
    left, right = differing(half, held)
    assert left < 0.01 < right  # the left half was the left picture already
    assert differing(half, let_go) == (0, 0)
    hold.focus()
    front.page.keyboard.down(" ")
    assert differing(held, stage_pixels(front)) == (0, 0)  # with the keyboard, too
    front.page.keyboard.up(" ")
    slider.fill("100")
    assert differing(held, stage_pixels(front)) == (0, 0)
    slider.fill("0")
    ours = stage_pixels(front)
    left, right = differing(half, ours)
    assert right < 0.01 < left
    stage = dialog.locator(".stage").bounding_box()
    front.page.mouse.move(stage["x"] + 3, stage["y"] + 50)
    front.page.mouse.down()
    front.page.mouse.move(stage["x"] + stage["width"] - 1, stage["y"] + 60, steps=5)
    front.page.mouse.up()
    assert dialog.locator(".stage img.over").get_attribute("style").count("inset(0px 0%") == 1
    front.screenshot("compare enlarged")


def test_the_viewer_by_keyboard(front: FrontEnd, renderer: str) -> None:
    ids = front.build(comparing())
    assert front.run() == "execution_success"
    front.wait_said(ids["compare"], "closer")
    check_node(front, ids["compare"])


def test_the_node_has_room_for_the_sheet_that_comfyui_draws_below(front: FrontEnd) -> None:
    ids = front.build(comparing())
    assert front.run() == "execution_success"
    front.wait_said(ids["compare"], "closer")
    front.js("""async (app, id) => {
        const node = app.rootGraph.getNodeById(id);
        const drawn = () => node.widgets.some((w) => w.name.includes("image-preview"));
        for (let i = 0; i < 100 && !(drawn() && node.size[1] >= node.computeSize()[1]); i++) {
            await new Promise((done) => setTimeout(done, 100));
        }
        if (!drawn()) throw Error("no sheet: " + node.widgets.map((w) => w.name));
        if (node.size[1] < node.computeSize()[1]) throw Error("cut: " + node.size);
    }""", ids["compare"])


def test_the_winner_can_be_used_and_the_worst_seed_comes_first(front: FrontEnd,
                                                              renderer: str) -> None:
    ids = front.build({**comparing(), "other": ("SolverSearch_Load", {}, {}),
                       "use": ("SolverSearch_Use", {}, {"model": "checkpoint.0",
                                                        "solver": "other.0"})})
    assert front.run(400) == "execution_success"
    front.wait_said(ids["compare"], "closer")
    front.js("(app, id) => app.canvas.centerOnNode(app.rootGraph.getNodeById(id))",
             ids["compare"])
    frames = front.page.locator(".solver-search-compare .strip button span").all_inner_texts()
    errors = [float(text) for text in frames]
    assert len(errors) == 4 and errors == sorted(errors, reverse=True)
    front.screenshot(f"compare {renderer}")
    front.wait_kept()
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["compare"])
    front.wait_said(ids["compare"], "is nearer on")
    assert front.page.locator(
        ".solver-search-compare .strip button span").all_inner_texts() == frames
    front.page.get_by_role("button", name="Use winner").first.click()
    front.page.get_by_text("Load Solver Preset now has").first.wait_for()
    assert front.widget(ids["other"], "preset") == DEMO_PRESET
    assert front.js("(app, id) => app.rootGraph.getNodeById(id).outputs[0].links.length",
                    ids["load"]) == 1  # the comparison keeps its own
