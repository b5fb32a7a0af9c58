"""The page with this pack in it."""

from __future__ import annotations

from .page import FrontEnd

DEMO = "solver-search-demo"


def test_a_template_runs_to_its_picture_in_both_renderers(front: FrontEnd, renderer: str) -> None:
    front.template(DEMO, "use_a_preset")
    assert front.run() == "execution_success"
    front.screenshot(f"probe {renderer}")
    assert [e for e in front.events("executed") if e["output"].get("images")]
