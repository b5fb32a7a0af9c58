"""Make it fast: at most two actions, one undo."""

from __future__ import annotations

from pathlib import Path

import pytest

from .page import FrontEnd
from .workflows import DEMO_PRESET, MANY, guided, sampled


def kinds(front: FrontEnd) -> list[str]:
    return front.js("(app) => app.rootGraph.nodes.map((n) => n.comfyClass).sort()")


def wait_placed(front: FrontEnd) -> None:
    """It is told when the new nodes have their height and their place."""
    front.page.get_by_role("alert").filter(has_text="wired in").first.wait_for()


def make_fast(front: FrontEnd, sampler: int) -> None:
    """Two actions: a click on the node, a click on the button above it."""
    front.act(lambda: front.select(sampler))
    button = front.page.get_by_role("button", name="Make it fast")
    front.act(lambda: button.first.click())


def test_a_fitting_preset_is_wired_in_with_two_actions_and_one_undo(front: FrontEnd) -> None:
    ids = front.build(sampled())
    before = kinds(front)
    make_fast(front, ids["sampler"])
    front.wait_js("(app) => app.rootGraph.nodes.some((n) => n.comfyClass === 'SolverSearch_Use')")
    assert front.actions <= 2
    assert front.widget(front.node("SolverSearch_Load"), "preset") == DEMO_PRESET
    wait_placed(front)
    front.command("Comfy.Undo")
    front.wait_js("(app) => !app.rootGraph.nodes.some((n) => n.comfyClass === 'SolverSearch_Use')")
    assert kinds(front) == before
    model = front.js("(app, id) => app.rootGraph.getNodeById(id).getInputNode(0)?.comfyClass",
                     ids["sampler"])
    assert model == "CheckpointLoaderSimple"
    make_fast(front, ids["sampler"])
    front.wait_js("(app) => app.rootGraph.nodes.some((n) => n.comfyClass === 'SolverSearch_Use')")
    assert front.run() == "execution_success"


@pytest.fixture
def no_preset(presets: Path) -> None:
    """None is made for the checkpoint."""
    (presets / DEMO_PRESET).unlink()


def test_without_a_preset_an_own_one_takes_two_actions_and_the_wait(no_preset: None,
                                                                    front: FrontEnd) -> None:
    ids = front.build(sampled(cfg=1.0))
    make_fast(front, ids["sampler"])
    front.wait_js("(app) => app.rootGraph.nodes.some((n) => "
                  "n.comfyClass === 'SolverSearch_Search')")
    assert front.actions <= 2
    search = front.node("SolverSearch_Search")
    assert front.widget(search, "cfg") == 1.0
    linked = front.js("(app, id) => app.rootGraph.getNodeById(id).inputs"
                      ".filter((i) => i.link != null).map((i) => i.name)", search)
    assert {"model", "positive", "negative", "latent", "vae"} <= set(linked)


def test_the_command_needs_no_selection_where_there_is_one_sampler(front: FrontEnd) -> None:
    front.build(sampled())
    front.command("SolverSearch.MakeFast")
    front.wait_js("(app) => app.rootGraph.nodes.some((n) => n.comfyClass === 'SolverSearch_Use')")


OURS = ("(app) => [app.rootGraph, ...app.rootGraph.subgraphs.values()].flatMap((g) => g.nodes)"
        ".map((n) => n.comfyClass ?? '').filter((c) => c.startsWith('SolverSearch_')).sort()")
PAIR = ["SolverSearch_Load", "SolverSearch_Sampler"]


def test_a_sampler_with_a_guider_gets_sampler_and_levels(front: FrontEnd) -> None:
    ids = front.build(guided())
    make_fast(front, ids["sampler"])
    front.wait_js(f"(app) => ({OURS})(app).length === 2")
    fed = front.js("(app, id) => { const n = app.rootGraph.getNodeById(id); return n.inputs.map("
                   "(_, i) => n.getInputNode(i)?.comfyClass); }", ids["sampler"])
    assert front.js(OURS) == PAIR
    assert fed == ["RandomNoise", "CFGGuider", PAIR[1], PAIR[1], "EmptySD3LatentImage"]
    assert front.widget(front.node("SolverSearch_Load"), "preset") == DEMO_PRESET
    assert front.run() == "execution_success"


def test_a_subgraph_is_made_fast_from_outside_and_runs(front: FrontEnd, presets: Path) -> None:
    """Where most of ComfyUI's templates have their sampler."""
    ids = front.build({**guided(cfg=1.0), "size": MANY["size"]})  # no preset fits: a search
    inside = [ids[name] for name in ("guider", "select", "levels", "sampler")]
    front.into_subgraph(inside)
    front.page.wait_for_timeout(1500)  # the page keeps the workflow a moment after a change
    holder = front.js("(app) => app.rootGraph.nodes.find((n) => n.isSubgraphNode?.()).id")
    make_fast(front, holder)
    front.wait_js(f"(app) => ({OURS})(app).length === 2")
    assert front.js(OURS) == ["SolverSearch_Sampler", "SolverSearch_Search"]
    wait_placed(front)
    front.command("Comfy.Undo")
    front.wait_js(f"(app) => ({OURS})(app).length === 0")
    front.command("Comfy.Redo")
    front.wait_js(f"(app) => ({OURS})(app).length === 2")
    front.js("(app, small) => { for (const g of app.rootGraph.subgraphs.values()) "
             "for (const n of g.nodes) if (n.comfyClass === 'SolverSearch_Search') "
             "for (const w of n.widgets) if (w.name in small) w.value = small[w.name]; }",
             {"effort": "quick", "steps": "2"})
    assert front.run() == "execution_success"
