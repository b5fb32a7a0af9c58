"""Every screen of ours by keyboard: each control is reached, shows the focus and has a name."""

from __future__ import annotations

from pathlib import Path

from .page import FrontEnd
from .workflows import preset_bytes, searching, with_preset

CONTROLS = "button, a[href], input, select, textarea, summary, [tabindex='0']"
ON_NODES = ".solver-search-card, .solver-search-said, .solver-search-compare"
MOST = 200  # presses of Tab
CONTRAST = 4.5  # WCAG 2.2, 1.4.3, for text below 18 points
# Where the focus stands: how it is called, whether it is seen, and a mark to know it again.
HERE = """(root) => {
  const at = document.activeElement;
  if (!at || !at.closest(root)) return null;
  const style = getComputedStyle(at);
  const name = at.getAttribute("aria-label") || at.labels?.[0]?.textContent || at.textContent
    || at.title || at.alt || at.placeholder || "";
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0
    || style.boxShadow !== "none";
  at.dataset.walked = "yes";
  return [at.tagName.toLowerCase(), name.trim().slice(0, 60), seen];
}"""
LEFT = """([root, controls]) => [...document.querySelectorAll(root)].flatMap((r) =>
  [...r.querySelectorAll(controls)]).filter((e) => e.getClientRects().length && !e.disabled
    && e.tabIndex >= 0 && !e.dataset.walked
    && !e.closest("details:not([open]) > :not(summary)")
    && e.type !== "file").map((e) => e.outerHTML.slice(0, 120))"""
# Ratio of contrast of each text to what lies behind it; alpha is laid over, pictures left out.
FAINT = """([root, least]) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const paint = (text) => {
    if (known.has(text)) return known.get(text);
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    known.set(text, [r, g, b, a / 255]);
    return known.get(text);
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = paint(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const r of document.querySelectorAll(root))
    for (const e of r.querySelectorAll("*")) {
      const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      const shown = e.getClientRects().length && !e.closest("[disabled], svg, option, .old");
      if (!own || !shown) continue;
      const back = behind(e);
      const [a, b] = [light(over(paint(getComputedStyle(e).color), back)), light(back)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const words = e.textContent.slice(0, 40);
      if (ratio < least) found.push(`${ratio.toFixed(2)} ${e.className}: ${words}`);
    }
  return found;
}"""


def walk(front: FrontEnd, root: str) -> list[list[object]]:
    """Tab through a part of the page, from its first control on.

    Returns:
        Tag, name and whether the focus is seen, of each.
    """
    page = front.page
    page.evaluate("([root, controls]) => [...document.querySelectorAll(root)].flatMap((r) => "
                  "[...r.querySelectorAll(controls)]).find((e) => e.getClientRects().length && "
                  "e.tabIndex >= 0 && !e.disabled).focus()", [root, CONTROLS])
    page.keyboard.press("Shift+Tab")  # the keyboard's focus is drawn, a script's need not be
    page.keyboard.press("Tab")
    reached = []
    for _ in range(MOST):  # with Nodes 2.0, controls of other nodes lie between ours
        here = page.evaluate(HERE, root)
        reached += [here] if here else []
        if not page.evaluate(LEFT, [root, CONTROLS]):
            break
        page.keyboard.press("Tab")
    return reached


def check(front: FrontEnd, root: str, least: int = 1) -> None:
    """Every control is reached, named and seen; every text can be read, dark and light."""
    front.page.locator(root).first.wait_for()
    reached = walk(front, root)
    assert len(reached) >= least, reached
    assert [each for each in reached if not each[1]] == []
    assert [each for each in reached if not each[2]] == []
    assert front.page.evaluate(LEFT, [root, CONTROLS]) == []
    for light in (False, True):
        front.light(light)
        front.page.wait_for_timeout(600)
        assert front.page.evaluate(FAINT, [root, CONTRAST]) == [], f"light: {light}"
    front.light(False)


def test_the_sidebar(front: FrontEnd, presets: Path) -> None:
    front.page.locator("nav, .side-tool-bar-container").get_by_role(
        "button", name="Solvers").first.focus()
    front.page.keyboard.press("Enter")
    front.page.locator("li[data-file='Demo flow 6 steps.safetensors']").wait_for()
    check(front, ".solver-search-tab", 5)


def test_what_stands_on_nodes(front: FrontEnd, renderer: str) -> None:
    ids = front.build(with_preset(cfg=7.0))
    assert front.run() == "execution_success"
    check_node(front, ids["load"])


def test_a_search_and_its_panel(front: FrontEnd, presets: Path) -> None:
    """One search; the page shows it again in Nodes 2.0."""
    ids = front.build(searching("keys"))
    assert front.run() == "execution_success"
    check_search(front, ids["search"])
    front.wait_kept()
    front.vue(True)
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["search"])
    check_search(front, ids["search"])


def check_search(front: FrontEnd, search: int) -> None:
    """A search that has ended, on its node and in the panel."""
    front.wait_said(search, "keys")
    check_node(front, search)
    front.command("Workspace.ToggleBottomPanelTab.solver-search")
    check(front, ".solver-search-card.panel")


def check_node(front: FrontEnd, node: int) -> None:
    """All of ours on a node."""
    front.select(node)
    front.page.wait_for_timeout(1000)
    check(front, ON_NODES)


def test_the_dialog_of_a_dropped_file(front: FrontEnd, presets: Path) -> None:
    front.drop(preset_bytes(name="by keys", bent=1e-3), "keys.safetensors")
    dialog = front.page.locator("dialog[open]")
    dialog.wait_for()
    check(front, "dialog[open]", 2)
    front.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
