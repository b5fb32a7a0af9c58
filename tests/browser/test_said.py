"""What nodes say stays on them: after the run, after a reload, in both renderers."""

from __future__ import annotations

from pathlib import Path

from .page import LONG, FrontEnd
from .workflows import comparing, searching, with_preset

CFG_WARNING = "CFG"
HIDDEN = """() => Math.max(...[...document.querySelectorAll(".live-card")].map(
    (card) => card.scrollHeight - card.clientHeight))"""  # pixels
CUT = """() => [...document.querySelectorAll(".solver-search-card, .solver-search-said")].filter(
    (part) => part.scrollWidth > part.clientWidth).map((part) => part.innerText)"""  # at the side
DRAWN = ("Demo flow 6 steps", "Weights by step")  # the verdict, and the curves of the card


def test_verdict_and_warning_stay_after_the_run_and_after_a_reload(front: FrontEnd,
                                                                   renderer: str) -> None:
    seed = {"classic": 71, "nodes 2": 72}[renderer]  # a sampler that need not run says nothing
    ids = front.build(with_preset(cfg=7.0, seed=seed))
    assert front.run() == "execution_success"
    load = lines(front.wait_said(ids["load"], *DRAWN))
    warning = front.wait_said(ids["sampler"], CFG_WARNING)
    front.screenshot(f"said {renderer}")
    assert front.js(CUT) == []
    front.wait_kept()
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["load"])
    front.until(lambda: lines(front.said(ids["load"])), lambda again: again == load, str(load))
    assert front.wait_said(ids["sampler"], CFG_WARNING) == warning


def test_words_and_pictures_in_a_subgraph_are_there_after_a_reload(front: FrontEnd,
                                                                    renderer: str) -> None:
    seed = {"classic": 75, "nodes 2": 76}[renderer]
    compared = {name: comparing(seeds=2, cfg=1.0)[name] for name in ("compare", "size")}
    ids = front.build({**with_preset(cfg=7.0, seed=seed), **compared})
    front.into_subgraph([ids[name] for name in ("load", "use", "sampler", "compare")])
    assert front.run() == "execution_success"
    for reloaded in (False, True):
        if reloaded:
            front.wait_kept()
            front.reload()
        front.open_subgraph()
        front.wait_said(ids["load"], *DRAWN)
        front.wait_said(ids["sampler"], CFG_WARNING)
        front.wait_said(ids["compare"], "closer", "is nearer on")
        front.page.locator(".solver-search-compare .stage img").first.wait_for()
    front.screenshot(f"said in a subgraph {renderer}")


def lines(said: str) -> list[str]:
    """What stands on a node, its boxes in any order."""
    return sorted(said.split("\n"))


def test_a_copy_of_the_workflow_is_told_again_and_the_pin_samples_no_more(front: FrontEnd) -> None:
    """What ComfyUI need not run speaks all the same; the pin is no reason to run again."""
    graph = with_preset("(best for the connected model)", cfg=7.5, seed=73)
    ids = front.build(graph)
    assert front.run() == "execution_success"
    front.wait_js("(app, id) => app.rootGraph.getNodeById(id).widgets.find((w) => "
                  "w.name === 'pin').value !== ''", ids["load"])
    assert front.run() == "execution_success"
    assert str(ids["sampler"]) in front.events("execution_cached")[-1]["nodes"]
    warning = front.wait_said(ids["sampler"], CFG_WARNING)
    copy = front.build(graph)  # the same graph in a workflow of its own
    assert front.said(copy["sampler"]) == ""
    assert front.run() == "execution_success"
    assert str(copy["sampler"]) in front.events("execution_cached")[-1]["nodes"]
    assert front.wait_said(copy["sampler"], CFG_WARNING) == warning


def test_nothing_is_said_where_parts_are_switched_off(front: FrontEnd,
                                                      settings: dict[str, object]) -> None:
    for part in ("Said", "Cards", "Live"):
        front.setting(f"SolverSearch.{part}", False)
    front.reload()
    try:
        ids = front.build(with_preset())
        assert front.run() == "execution_success"
        assert front.said(ids["load"]) == ""
    finally:
        for part in ("Said", "Cards", "Live"):
            front.setting(f"SolverSearch.{part}", True)


def test_a_search_from_its_course_to_being_found_again(front: FrontEnd, presets: Path) -> None:
    """One search for all: what it tells, its preset in other nodes, a reload, another prompt."""
    ids = front.build({**with_preset(), **searching("seen")})
    assert front.run() == "execution_success"
    states = front.events("solver_search.progress")
    assert {"estimating", "searching", "measuring"} & {state["state"] for state in states}
    assert any(state["estimate"] for state in states)
    assert any(state["curve"] for state in states)
    assert any(state["seconds_left"] is not None for state in states)
    assert states[-1]["state"] == "done" and states[-1]["saved"].startswith("seen")
    front.wait_said(ids["search"], "seen")
    assert {state["workflow"] for state in states} == {front.js("(app) => app.rootGraph.id")}
    assert front.js(HIDDEN) <= 1
    picked_at_once(front, ids["load"], "seen.safetensors")
    front.wait_kept()
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["search"])
    front.wait_said(ids["search"], "seen")
    front.choose(ids["positive"], "text", "cat, night")
    assert front.run() == "execution_success"
    assert front.events("solver_search.progress")[-1]["state"] == "found"
    names = [c["name"] for c in front.ask("/presets")["presets"]]
    assert len([name for name in names if name.startswith("seen")]) == 1
    again = front.build({**with_preset(), **searching("seen")})  # in a workflow of its own
    assert again["search"] == ids["search"]
    front.page.wait_for_timeout(500)
    assert "took" not in front.said(again["search"])


def picked_at_once(front: FrontEnd, load: int, file: str) -> None:
    """A new preset is in the picker, and picking it pins its numbers."""
    front.wait_js("(app, [id, file]) => app.rootGraph.getNodeById(id).widgets.find((w) => "
                  "w.name === 'preset').options.values.includes(file)", [load, file])
    front.choose(load, "preset", file)
    card = next(c for c in front.ask("/presets")["presets"] if c["file"] == file)
    assert front.widget(load, "pin") == card["id"]


def test_stop_and_keep_hands_out_the_best_and_says_so(front: FrontEnd, presets: Path) -> None:
    ids = front.build(searching("stopped", effort="standard", steps="8", cfg=2.5))
    front.js("(app) => app.queuePrompt(0, 1)")
    front.page.wait_for_function(
        "() => window.happened.some(([n, s]) => n === 'solver_search.progress' && s.best)",
        timeout=LONG * 1000)
    front.js("(app, id) => app.canvas.centerOnNode(app.rootGraph.getNodeById(id))",
             ids["search"])
    front.reload()  # a search goes on without the page, and the page finds it again
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["search"])
    front.wait_said(ids["search"], "left")
    front.js("(app, id) => app.canvas.centerOnNode(app.rootGraph.getNodeById(id))",
             ids["search"])
    front.page.get_by_role("button", name="Stop and keep").first.click()
    assert front.end() == "execution_success"
    front.wait_said(ids["search"], "stopped")
    card = next(c for c in front.ask("/presets")["presets"] if c["name"].startswith("stopped"))
    assert card["state"] in ("", "unfinished")
