"""The page in Chinese: our parts speak it, too, and nothing is cut off."""

from __future__ import annotations

import re

import pytest

from .page import FrontEnd
from .workflows import DEMO_PRESET, with_preset

CUT = """() => [...document.querySelectorAll(
  '.solver-search-tab :is(button, p, h2, h3, label, option), ' +
  '.solver-search-card :is(p, li, button)')]
  .filter((each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0
    && getComputedStyle(each).display !== 'inline')
  .map((each) => each.textContent)"""


@pytest.fixture
def settings() -> dict[str, object]:
    return {"Comfy.Locale": "zh"}


CHINESE = re.compile("[\u4e00-\u9fff]")
ENGLISH = re.compile("[A-Za-z]{3,} [a-z]{3,}")


def test_nodes_and_cards_speak_chinese(front: FrontEnd, renderer: str) -> None:
    ids = front.build(with_preset(cfg=7.0, seed=81 + (renderer == "classic")))
    titles = front.js("(app) => app.rootGraph.nodes.filter((n) => n.comfyClass.startsWith("
                      "'SolverSearch_')).map((n) => n.title)")
    assert titles and all(CHINESE.search(title) for title in titles), titles
    front.page.locator(".side-tool-bar-container").get_by_role(
        "button", name="求解器").first.click()
    card = front.page.locator(f"li[data-file='{DEMO_PRESET}']")
    card.wait_for()
    words = card.inner_text()
    assert "6 步" in words and "在此使用" in words and "为此模型而做" in words
    assert "Use here" not in words and "steps ·" not in words
    said = front.wait_said(ids["load"], "为此模型而做")
    assert "searched" not in said
    assert front.page.evaluate(CUT) == []
    assert front.run() == "execution_success"
    warning = front.wait_said(ids["sampler"], "现在是 CFG 7")
    assert not ENGLISH.search(warning.replace(DEMO_PRESET.removesuffix(".safetensors"), ""))
    front.wait_said(ids["load"], "为此模型而做。")  # the verdict, with a full stop
    front.screenshot(f"chinese {renderer}")
