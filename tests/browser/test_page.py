"""The page with this pack in it: templates, node search, help, errors."""

from __future__ import annotations

import re

import pytest

from .page import LONG, FrontEnd
from .workflows import WRONG_KIND, searching, with_preset

DEMO = "solver-search-demo"
PACK = "solver-search"
FIRST = ("fast", "few steps", "lightning", "speed", "accelerate", "quick")
AMONG = ("turbo", "schedule")  # in the names of many nodes
APP_SHOWN = "(app) => !app.canvas.canvas.getClientRects().length"
LABEL = ("(app, [id, widget]) => app.rootGraph.getNodeById(id).inputs"
         ".find((input) => input.widget?.name === widget)?.label")
OURS = re.compile("^Fast sampling|Solver")


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
    run_app(front)
    assert front.end() == "execution_success"
    assert [e for e in front.events("executed") if e["output"].get("images")]
    assert front.actions <= 4


def run_app(front: FrontEnd) -> None:
    """A click on Run; the newest front end offers a tour of its app mode before, once."""
    run = front.page.get_by_role("button", name="Run", exact=True).last
    skip = front.page.get_by_role("button", name="Skip")
    run.or_(skip).first.wait_for()
    front.page.wait_for_timeout(1500)  # the tour comes a moment after the app
    if skip.count():
        front.act(lambda: skip.click())
    front.act(lambda: run.click())


def test_the_app_shows_what_an_artist_sets_and_warns(front: FrontEnd) -> None:
    """Where no node is seen, a warning comes as a message."""
    front.template(DEMO, "Demo - Fast sampling in few steps")
    front.wait_js(APP_SHOWN)
    for label in ("Checkpoint", "Prompt", "Solver preset", "CFG", "Seed"):
        front.page.get_by_text(label, exact=True).first.wait_for()
    front.choose(front.node("KSampler"), "cfg", 7.5)
    run_app(front)
    assert front.end() == "execution_success"
    front.page.get_by_role("alert").filter(has_text="This is CFG 7.5").first.wait_for()
    front.page.locator("img[src*='ksampler']").first.wait_for()
    front.screenshot("app mode")


COVERED = """(app) => {
    const box = ({ pos: [x, y], size: [w, h] }) => [x, y - 30, x + w, y + h];  // with its title
    const meet = ([a, b, c, d], [e, f, g, h]) => a < g && e < c && b < h && f < d;
    return app.rootGraph.nodes.flatMap((one, i) => app.rootGraph.nodes.slice(i + 1)
        .filter((other) => meet(box(one), box(other))).map((other) => [one.title, other.title]));
}"""  # pairs of nodes that lie on each other


def templates(front: FrontEnd, pack: str) -> list[str]:
    """Names of a pack's templates."""
    return front.js("async (app, pack) => (await (await fetch('/api/workflow_templates')).json())"
                    "[pack]", pack)


def test_every_template_opens_with_all_its_nodes(front: FrontEnd, renderer: str) -> None:
    names = [(pack, name) for pack in (PACK, DEMO) for name in templates(front, pack)]
    assert {pack for pack, _ in names} == {PACK, DEMO}
    for pack, name in names:
        front.template(pack, name)
        unknown = front.js("(app) => app.rootGraph.nodes.map((n) => n.type).filter((t) => "
                           "!window.LiteGraph.registered_node_types[t])")
        assert not unknown, (name, unknown)
        front.page.wait_for_timeout(500)  # our cards take their place
        assert not front.js(COVERED), name


def test_every_template_is_an_app_with_its_inputs(front: FrontEnd) -> None:
    """Those that open as a graph, too, once somebody changes to the app."""
    for name in templates(front, DEMO):
        front.template(DEMO, name)
        app = front.graph()["extra"]["linearData"]
        if not front.js(APP_SHOWN):
            front.command("Comfy.ToggleLinear")
        front.wait_js(APP_SHOWN)
        labels = [front.js(LABEL, each) for each in app["inputs"]]
        assert len(labels) > 2 and all(labels), (name, labels)
        for label in labels:
            front.page.get_by_text(label, exact=True).first.wait_for()
        front.screenshot(f"app {name}")


def test_words_people_search_by_find_our_nodes(front: FrontEnd) -> None:
    """In the search box; nodes with the word in their own name come before all others there."""
    ranks = {word: front.node_search(word) for word in (*FIRST, *AMONG)}
    ours = {word: [i for i, text in enumerate(found) if OURS.search(text)]
            for word, found in ranks.items()}
    assert all(ours[word] and ours[word][0] < 3 for word in FIRST), ours
    assert all(ours[word] for word in AMONG), ours


def test_words_people_search_by_find_our_templates(front: FrontEnd) -> None:
    names = templates(front, PACK)
    front.command("Comfy.BrowseTemplates")
    dialog = front.page.get_by_role("dialog")
    box = dialog.locator("input").first
    dialog.get_by_text("Solver Search demo", exact=True).wait_for()  # after ComfyUI's own
    for word in ("sampler", "solver", "few steps"):  # found first, so that they are in the page
        box.fill(word)
        front.page.locator(", ".join(f"[data-testid='template-workflow-{name}']" for name in names)
                           ).first.wait_for(timeout=LONG * 1000)  # the first one took 35 s


def test_every_node_has_a_help_page_and_the_panel_shows_it(front: FrontEnd) -> None:
    names = front.js("async (app) => Object.keys(await (await fetch('/object_info')).json())"
                     ".filter((n) => n.startsWith('SolverSearch_'))")
    missing = front.js("async (app, names) => (await Promise.all(names.map(async (n) => "
                       "[n, (await fetch(`/extensions/solver-search/docs/${n}/en.md`)).ok || "
                       "(await fetch(`/extensions/solver-search/docs/${n}.md`)).ok])))"
                       ".filter(([, ok]) => !ok).map(([n]) => n)", names)
    assert len(names) > 5 and missing == []


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
