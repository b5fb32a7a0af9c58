"""Measure here: one click, figures of this machine on the card, the workflow as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from .page import FrontEnd
from .test_sidebar import card_of, open_tab
from .workflows import MANY, preset_bytes, with_preset

FILE = "friend.safetensors"


@pytest.fixture
def friend(presets: Path) -> str:
    """A preset that says it was made for another checkpoint of the family."""
    (presets / FILE).write_bytes(preset_bytes(name="friend", bent=1e-3, header_hash="",
                                              model_name="theirs.safetensors"))
    yield FILE
    (presets / "measured.json").unlink(missing_ok=True)


def test_measuring_is_one_click_and_leaves_the_workflow_alone(friend: str,
                                                              front: FrontEnd) -> None:
    # Its KSampler samples with Use Solver already.
    ids = front.build({**with_preset(cfg=2.0), "size": MANY["size"]})
    open_tab(front)
    card = card_of(front, friend)
    card.get_by_text("Same family, not measured here").wait_for()
    before, actions = front.graph(), front.actions
    front.act(lambda: card.get_by_role("button", name="Measure friend here").click())
    card.get_by_text("Measuring: ").wait_for(timeout=120_000)
    assert front.end(0, 400) == "execution_success" and front.actions == actions + 1
    card.get_by_text("Here, on demo_flow.safetensors, CFG 2:").first.wait_for()
    card.get_by_text("Author (says the file):").wait_for()
    card.get_by_text("Measured here on this checkpoint").wait_for()
    front.screenshot("measured")
    assert front.graph() == before
    own, = next(c for c in front.ask("/presets")["presets"] if c["file"] == friend)["here"]
    assert (own["guidance"], own["held_out_seeds"], own["model"]) == (
        2.0, 8, "demo_flow.safetensors")
    front.choose(ids["load"], "preset", friend)
    front.wait_said(ids["load"], "measured here on this checkpoint")


def test_a_measurement_can_be_stopped_and_then_keeps_nothing(friend: str,
                                                             front: FrontEnd) -> None:
    front.build(with_preset())
    open_tab(front)
    card = card_of(front, friend)
    card.get_by_role("button", name="Measure friend here").click()
    card.get_by_text("Measuring: ").wait_for(timeout=120_000)
    card.get_by_role("button", name="Stop").click()
    card.get_by_text("Stopped. Nothing was kept.").wait_for()
    assert next(c for c in front.ask("/presets")["presets"] if c["file"] == friend)["here"] == []


def test_without_a_sampler_it_says_what_is_missing(friend: str, front: FrontEnd) -> None:
    front.build({"load": with_preset()["load"], "checkpoint": with_preset()["checkpoint"]})
    open_tab(front)
    card = card_of(front, friend)
    card.get_by_role("button", name="Measure friend here").click()
    card.get_by_text("There is no KSampler in this workflow").wait_for()


def test_a_sampler_in_a_subgraph_is_measured_on_as_well(friend: str, front: FrontEnd) -> None:
    ids = front.build(with_preset())
    front.into_subgraph([ids["sampler"], ids["use"]])
    open_tab(front)
    card = card_of(front, friend)
    card.get_by_role("button", name="Measure friend here").click()
    card.get_by_text("Measuring: ").wait_for(timeout=120_000)
    card.get_by_role("button", name="Stop").click()
    card.get_by_text("Stopped. Nothing was kept.").wait_for()
