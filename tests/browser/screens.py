"""Takes the pictures of docs/screens.md from the real page with the demo model, dark and light.

    python -m tests.browser.screens [NAME ...]

Each picture is one function below: it brings the page there and says which part is shown. The
pictures are cut and written into docs/screenshots; all of them take some minutes.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from launch.base import prepare_base
from launch.places import ROOT
from launch.server import Server

from .chromium import ARGUMENTS, chromium
from .conftest import SETTINGS, save_settings, stop
from .page import FrontEnd
from .workflows import comparing, preset_bytes, searching, with_preset

FOLDER = ROOT / "docs" / "screenshots"
VIEW = {"width": 1500, "height": 1250}
SETTLED = 2500  # milliseconds until a page has its layout, on a busy machine
MARGIN = 14  # pixels around a node or a window
SECONDS = 900  # for a run on a busy machine
FRIEND = "friends fast six.safetensors"
Box = dict[str, float]
NODE_BOX = """(app, id) => {
  const node = app.rootGraph.getNodeById(id);
  const canvas = app.canvas.canvas.getBoundingClientRect();
  const title = window.LiteGraph.NODE_TITLE_HEIGHT;
  const [x, y] = app.canvas.ds.convertOffsetToCanvas([node.pos[0], node.pos[1] - title]);
  const scale = app.canvas.ds.scale;
  return { x: canvas.x + x, y: canvas.y + y, width: node.size[0] * scale,
           height: (node.size[1] + title) * scale };
}"""
ALL_NODES_BOX = """(app) => {
  const boxes = app.rootGraph.nodes.map((node) => [...node.pos, ...node.size]);
  const left = Math.min(...boxes.map(([x]) => x)), top = Math.min(...boxes.map(([, y]) => y)) - 30;
  const right = Math.max(...boxes.map(([x, , w]) => x + w));
  const bottom = Math.max(...boxes.map(([, y, , h]) => y + h));
  const canvas = app.canvas.canvas.getBoundingClientRect(), scale = app.canvas.ds.scale;
  const [x, y] = app.canvas.ds.convertOffsetToCanvas([left, top]);
  return { x: canvas.x + x, y: canvas.y + y, width: (right - left) * scale,
           height: (bottom - top) * scale };
}"""
SHOW = """(app, [id, scale]) => {
  const node = app.rootGraph.getNodeById(id), ds = app.canvas.ds;
  for (const other of app.rootGraph.nodes)
    if (other !== node) other.pos = [other.pos[0] + 1500, other.pos[1]];
  ds.scale = scale;
  ds.offset = [60 / scale - node.pos[0] + 60, 90 / scale - node.pos[1] + 40];
  app.canvas.setDirty(true, true);
}"""


def node(front: FrontEnd, number: int, scale: float = 1.2) -> Callable[[], Box]:
    """A node, moved to the upper left; measured anew for each picture, since nodes grow."""
    front.js(SHOW, [number, scale])
    front.page.wait_for_timeout(1200)
    return lambda: front.js(NODE_BOX, number)


def window(front: FrontEnd) -> Callable[[], Box]:
    """The window of ours that is open."""
    found = front.page.locator("dialog.solver-search-dialog")
    found.wait_for()
    front.page.wait_for_timeout(700)
    return found.bounding_box


def open_tab(front: FrontEnd) -> None:
    front.page.locator(".side-tool-bar-container").get_by_role("button",
                                                              name="Solvers").first.click()
    front.page.locator(f"li[data-file='{FRIEND}']").wait_for()


def solvers_tab(front: FrontEnd) -> Callable[[], Box]:
    """A preset of somebody else, and those that come along."""
    front.build(with_preset())
    front.js("""(app) => {
        for (const { pos } of app.rootGraph.nodes) if (pos[1] > 400) pos[1] += 200;
        app.canvas.setDirty(true, true);
    }""")
    open_tab(front)
    front.page.wait_for_timeout(1000)
    return lambda: {"x": 0, "y": 36, "width": 700, "height": 900}


def measured(front: FrontEnd) -> Callable[[], Box]:
    """A card with own figures beside the author's."""
    front.build(with_preset())
    open_tab(front)
    card = front.page.locator(f"li[data-file='{FRIEND}']")
    card.get_by_role("button", name="Measure").click()
    front.end(0, SECONDS)
    card.get_by_text("Here, on").first.wait_for()
    return card.bounding_box


def share(front: FrontEnd) -> Callable[[], Box]:
    """What is in a file, before it is given away."""
    front.build(with_preset())
    open_tab(front)
    card = front.page.locator(f"li[data-file='{FRIEND}']")
    card.get_by_role("button", name="More for").click()
    card.get_by_role("button", name="Share", exact=True).click()
    return window(front)


def drop(front: FrontEnd) -> Callable[[], Box]:
    """A preset dropped on the page."""
    front.build(with_preset())
    front.drop(preset_bytes(name="friend's fast six", author="Ada", bent=2e-3), "six.safetensors")
    return window(front)


def card(front: FrontEnd) -> Callable[[], Box]:
    """Load Solver Preset before anything has run."""
    ids = front.build(with_preset(FRIEND, cfg=4.0))
    front.wait_said(ids["load"], "CFG")
    return node(front, ids["load"])


def warning(front: FrontEnd) -> Callable[[], Box]:
    """A KSampler outside the CFG range of its preset."""
    ids = front.build(with_preset(cfg=7.0, seed=11))
    front.run(SECONDS)
    front.wait_said(ids["sampler"], "CFG")
    return node(front, ids["sampler"])


def live_search(front: FrontEnd) -> Callable[[], Box]:
    """A search that has improved some times."""
    ids = front.build(searching("portrait", effort="standard", steps="6", cfg=2.5))
    front.js("(app) => app.queuePrompt(0, 1)")
    front.page.wait_for_function(
        "() => window.happened.some(([n, s]) => n === 'solver_search.progress' && s.baseline"
        " && s.curve.length > 5 && s.best.error < 0.8 * s.baseline.error)",
        timeout=SECONDS * 1000)
    return node(front, ids["search"])


def compare(front: FrontEnd) -> Callable[[], Box]:
    """The viewer of a comparison."""
    ids = front.build(comparing())
    front.run(SECONDS)
    front.wait_said(ids["compare"], "closer")
    return node(front, ids["compare"], 1.0)


def template(front: FrontEnd) -> Callable[[], Box]:
    """A template as it opens."""
    front.template("solver-search-demo", "Demo - Speed without Turbo or Lightning LoRA")
    front.wait_js("(app) => app.rootGraph.nodes.length > 5")
    front.command("Comfy.Canvas.FitView")
    front.page.wait_for_timeout(1500)
    return lambda: front.js(ALL_NODES_BOX)


PICTURES = (solvers_tab, measured, share, drop, card, warning, live_search, compare, template)


def take(front: FrontEnd, picture: Callable[[FrontEnd], Callable[[], Box]]) -> None:
    """One picture in both themes."""
    where = picture(front)
    for theme in ("dark", "light"):
        front.light(theme == "light")
        front.page.wait_for_timeout(SETTLED)
        shot = Image.open(io.BytesIO(front.page.screenshot())).convert("RGB")
        cut(shot, where()).save(FOLDER / f"{picture.__name__}_{theme}.webp", quality=82, method=6)


def cut(shot: Image.Image, box: Box) -> Image.Image:
    """The part of a page's picture around a box."""
    left, top = max(0, box["x"] - MARGIN), max(0, box["y"] - MARGIN)
    right = min(shot.width, box["x"] + box["width"] + MARGIN)
    bottom = min(shot.height, box["y"] + box["height"] + MARGIN)
    return shot.crop((int(left), int(top), int(right), int(bottom)))


@contextmanager
def opened() -> Iterator[tuple[Server, Any]]:
    """A server with the demo model and a friend's preset, and a browser."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place:
        base = prepare_base(Path(place))
        (base / "models" / "solver_presets" / FRIEND).write_bytes(preset_bytes(
            name="friend's fast six", author="Ada", notes="Made for portraits.", bent=1e-3,
            model_name="demo_portraits.safetensors", header_hash=""))
        with Server(base, arguments=("--disable-api-nodes",)) as server:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=chromium(),
                                                 args=list(ARGUMENTS))
                yield server, browser.new_context(viewport=VIEW)
                browser.close()


def main() -> None:
    """Take the pictures that are named, or all."""
    names = {picture.__name__: picture for picture in PICTURES}
    parser = argparse.ArgumentParser(description="Take the pictures of docs/screens.md.")
    parser.add_argument("names", nargs="*", choices=[*names, []], metavar="NAME",
                        help=f"one of {', '.join(names)}; none: all")
    wanted = parser.parse_args().names or list(names)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with opened() as (server, context):
        for name in wanted:
            save_settings(server, {**SETTINGS, "Comfy.Minimap.Visible": False,
                                   "LiteGraph.Canvas.MinFontSizeForLOD": 0})
            page = context.new_page()
            page.set_default_timeout(60_000)
            front = FrontEnd(page, server)
            front.visit()
            take(front, names[name])
            page.close()
            stop(server)


if __name__ == "__main__":
    main()
