"""The page with this pack in it: templates, node search, help, Chinese, errors."""

from __future__ import annotations

import pytest

from .page import FrontEnd
from .workflows import WRONG_KIND, searching, with_preset

DEMO = "solver-search-demo"
PACK = "solver-search"
WORDS = ("fast", "few steps", "lightning", "speed", "turbo", "accelerate", "quick", "schedule")
CHINESE = "[\\u4e00-\\u9fff]"


@pytest.fixture
def first_visit(settings: dict[str, object]) -> None:
    settings["Comfy.TutorialCompleted"] = False


def test_from_the_first_visit_to_a_picture_in_four_actions(first_visit: None,
                                                          front: FrontEnd) -> None:
    page = front.page
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    front.act(lambda: dialog.get_by_text("Solver Search demo", exact=True).click())
    card = dialog.get_by_test_id("template-workflow-Demo - Fast sampling in few steps")
    front.act(lambda: card.click())
    front.wait_js("(app) => app.rootGraph.nodes.some((n) => n.comfyClass === 'SolverSearch_Use')")
    front.act(lambda: page.get_by_test_id("queue-button").click())
    assert front.end() == "execution_success"
    assert [e for e in front.events("executed") if e["output"].get("images")]
    assert front.actions <= 4


@pytest.mark.parametrize("pack", [PACK, DEMO])
def test_every_template_opens_with_all_its_nodes(front: FrontEnd, pack: str) -> None:
    names = front.js("async (app, pack) => (await (await fetch('/api/workflow_templates')).json())"
                     "[pack]", pack)
    assert names
    for name in names:
        front.template(pack, name)
        unknown = front.js("(app) => app.rootGraph.nodes.map((n) => n.type).filter((t) => "
                           "!window.LiteGraph.registered_node_types[t])")
        assert not unknown, (name, unknown)


@pytest.mark.parametrize("word", WORDS)
def test_words_people_search_by_find_our_nodes(front: FrontEnd, word: str) -> None:
    found = front.js("async (app) => Object.values(await (await fetch('/object_info')).json())"
                     ".filter((n) => n.name.startsWith('SolverSearch_'))"
                     ".flatMap((n) => [n.display_name, ...(n.search_aliases ?? [])])")
    assert any(word in text.lower() for text in found)


def test_every_node_has_a_help_page_and_the_panel_shows_it(front: FrontEnd) -> None:
    names = front.js("async (app) => Object.keys(await (await fetch('/object_info')).json())"
                     ".filter((n) => n.startsWith('SolverSearch_'))")
    missing = front.js("async (app, names) => (await Promise.all(names.map(async (n) => "
                       "[n, (await fetch(`/extensions/solver-search/docs/${n}/en.md`)).ok || "
                       "(await fetch(`/extensions/solver-search/docs/${n}.md`)).ok])))"
                       ".filter(([, ok]) => !ok).map(([n]) => n)", names)
    assert len(names) > 5 and missing == []


def test_in_chinese_our_nodes_speak_chinese(front: FrontEnd) -> None:
    front.setting("Comfy.Locale", "zh")
    front.reload()
    front.build(with_preset())
    titles = front.js("(app) => app.rootGraph.nodes.filter((n) => n.comfyClass.startsWith("
                      "'SolverSearch_')).map((n) => n.title)")
    assert front.js(f"(app, all) => all.every((t) => /{CHINESE}/.test(t))", titles), titles


def test_our_sentence_comes_first_in_an_error(front: FrontEnd) -> None:
    front.build(with_preset(WRONG_KIND))
    assert front.run() == "execution_error"
    told = front.events("execution_error")[-1]
    assert told["exception_message"].startswith("This solver is for an eps or v model")
    assert "custom_nodes" not in told["exception_type"] and "/" not in told["exception_type"]
    front.page.get_by_text("View details").first.click()
    front.page.get_by_text("This solver is for an eps or v model").first.wait_for()
    shown = front.page.inner_text("body")
    assert "custom_nodes" not in shown.split("This solver is for an eps or v model")[0]


def test_a_bad_name_is_told_before_the_run(front: FrontEnd) -> None:
    front.build(searching("../up"))
    assert front.run() == "refused"
    front.page.wait_for_timeout(500)
    assert front.events("execution_start") == []


def test_a_missing_preset_names_the_nearest_ones(front: FrontEnd) -> None:
    ids = front.build(with_preset("Demo flow 6 stepz.safetensors"))
    ended = front.run()
    everything = front.page.inner_text("body") + front.said(ids["load"])
    if ended == "execution_error":
        everything += front.events("execution_error")[-1]["exception_message"]
    refused = front.js("(app) => JSON.stringify(app.lastNodeErrors ?? {})")
    assert "Demo flow 6 steps" in everything + refused
