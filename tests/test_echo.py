"""What a node said is said again for the same inputs, and for no others."""

from __future__ import annotations

from typing import Any

import pytest

from .world import World

WORDS = {"verdict": "Made for this checkpoint.", "warnings": [], "details": []}


def prompt(cfg: float = 2.5, number: str = "2") -> dict[str, Any]:
    """Loader -> KSampler."""
    return {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
            number: {"class_type": "KSampler", "inputs": {"cfg": cfg, "model": ["1", 0]}}}


def test_the_same_inputs_are_answered_alike(world: World) -> None:
    echo = world.module("nodes.echo").Echo()
    echo.keep(prompt(), "2", WORDS)
    assert echo.of(prompt()) == {"2": WORDS}
    assert echo.of(prompt(cfg=3.0)) == {}
    echo.keep(prompt(cfg=1.0), "2", WORDS)
    assert echo.of(prompt(cfg=1)) == {"2": WORDS}  # as the page sends it
    other = prompt()
    other["1"]["inputs"]["ckpt_name"] = "b"
    assert echo.of(other) == {}


def test_the_oldest_words_are_forgotten(world: World) -> None:
    echo = world.module("nodes.echo").Echo(most=2)
    for cfg in (1.0, 2.0, 3.0):
        echo.keep(prompt(cfg), "2", WORDS)
    assert [bool(echo.of(prompt(cfg))) for cfg in (1.0, 2.0, 3.0)] == [False, True, True]


@pytest.mark.parametrize("foreign", [
    None, [], {"2": None}, {"2": {"class_type": 1, "inputs": []}},
    {"2": {"inputs": {"model": ["2", 0]}}}, {"2": {"inputs": {"model": [["x"], 0]}}}])
def test_a_foreign_prompt_may_hold_anything(world: World, foreign: Any) -> None:  # noqa: ANN401
    echo = world.module("nodes.echo").Echo()
    echo.keep(prompt(), "2", WORDS)
    assert echo.of(foreign) == {}
