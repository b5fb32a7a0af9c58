"""What nodes say stays on them: after the run, after a reload, in both renderers."""

from __future__ import annotations

from .page import LONG, FrontEnd
from .workflows import searching, with_preset

CFG_WARNING = "CFG"


def test_verdict_and_warning_stay_after_the_run_and_after_a_reload(front: FrontEnd,
                                                                   renderer: str) -> None:
    seed = {"classic": 71, "nodes 2": 72}[renderer]  # a sampler that need not run says nothing
    ids = front.build(with_preset(cfg=7.0, seed=seed))
    assert front.run() == "execution_success"
    front.page.wait_for_timeout(500)
    load = front.wait_said(ids["load"], "Demo flow 6 steps")
    warning = front.wait_said(ids["sampler"], CFG_WARNING)
    front.screenshot(f"said {renderer}")
    front.page.wait_for_timeout(1500)  # the page keeps the workflow a moment after a change
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["load"])
    again = front.wait_said(ids["load"], "Demo flow 6 steps")
    assert sorted(again.split("\n")) == sorted(load.split("\n"))  # a box each, in any order
    assert front.wait_said(ids["sampler"], CFG_WARNING) == warning


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


def test_a_search_shows_its_course_and_its_result_survives_a_reload(front: FrontEnd,
                                                                    presets: object) -> None:
    ids = front.build(searching("seen"))
    assert front.run() == "execution_success"
    states = front.events("solver_search.progress")
    assert {"estimating", "searching", "measuring"} & {state["state"] for state in states}
    assert any(state["estimate"] for state in states)
    assert any(state["curve"] for state in states)
    assert any(state["seconds_left"] is not None for state in states)
    assert states[-1]["state"] == "done" and states[-1]["saved"].startswith("seen")
    front.wait_said(ids["search"], "seen")
    front.page.wait_for_timeout(1500)
    front.reload()
    front.wait_js("(app, id) => !!app.rootGraph.getNodeById(id)", ids["search"])
    front.wait_said(ids["search"], "seen")


def test_stop_and_keep_hands_out_the_best_and_says_so(front: FrontEnd, presets: object) -> None:
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


def test_a_changed_prompt_finds_the_search_again(front: FrontEnd, presets: object) -> None:
    ids = front.build(searching("once"))
    assert front.run() == "execution_success"
    front.choose(ids["positive"], "text", "cat, night")
    before = len(front.events("solver_search.progress"))
    assert front.run() == "execution_success"
    assert front.events("solver_search.progress")[before:][-1]["state"] == "found"
    names = [c["name"] for c in front.ask("/presets")["presets"]]
    assert len([name for name in names if name.startswith("once")]) == 1
