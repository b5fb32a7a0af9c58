"""A pin that names what was taken anyway: ComfyUI's cache holds, and nothing else is lost."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest

from .test_load_preset import folder, store  # noqa: F401  a fixture
from .world import FLOW, World

BEST = "(best for the connected model)"
PIN, OTHER = "0123456789abcdef", "fedcba9876543210"


def prompt(pin: str = "", preset: str = BEST, checkpoint: str = "a") -> dict[str, Any]:
    """Loader -> Load Solver Preset."""
    return {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
            "2": {"class_type": "SolverSearch_Load",
                  "inputs": {"preset": preset, "pin": pin, "steps": 0, "model": ["1", 0]}}}


@pytest.fixture
def pins(world: World) -> Any:  # noqa: ANN401
    return world.module("nodes.pins")


def test_a_pin_that_was_taken_anyway_travels_beside(pins: Any) -> None:  # noqa: ANN401
    choices = pins.Choices()
    untouched = {"prompt": prompt(PIN)}
    assert pins.set_aside(copy.deepcopy(untouched), choices) == untouched
    choices.keep("2", "files", PIN)
    aside = pins.set_aside({"prompt": prompt(PIN)}, choices)
    assert aside["prompt"] == prompt()
    assert pins.pin_of("", "2", aside["extra_data"]) == PIN
    for other in (prompt(OTHER), prompt(PIN, preset="6 steps.safetensors"), prompt()):
        assert pins.set_aside({"prompt": copy.deepcopy(other)}, choices) == {"prompt": other}


@pytest.mark.parametrize("request_", [
    {}, {"prompt": None}, {"prompt": {"2": None}}, {"prompt": {"2": {"class_type": "X"}}},
    {"prompt": {"2": {"class_type": "SolverSearch_Load", "inputs": []}}}])
def test_a_foreign_request_may_hold_anything(pins: Any, request_: dict) -> None:  # noqa: ANN401
    assert pins.set_aside(copy.deepcopy(request_), pins.Choices()) == request_


def test_the_oldest_choices_are_forgotten(pins: Any) -> None:  # noqa: ANN401
    choices = pins.Choices(most=2)
    for node in "123":
        choices.keep(node, "files", PIN)
    assert not choices.has_taken("1", PIN) and choices.has_taken("3", PIN)


def test_the_pinned_prompt_has_the_stamp_of_the_one_before(
        world: World, models: dict, folder: Any, pins: Any,  # noqa: ANN401, F811
        monkeypatch: pytest.MonkeyPatch) -> None:
    running: dict[str, Any] = {"prompt": prompt(), "extra": {}}
    module = world.module("nodes.preset_nodes")
    monkeypatch.setattr(module, "running_prompt", lambda: running["prompt"])
    monkeypatch.setattr(module, "running_extra", lambda: running["extra"])
    monkeypatch.setattr(pins.CHOICES, "taken", type(pins.CHOICES.taken)())
    node = world.of("Load")

    def queue(pin: str, checkpoint: str = "a") -> str:
        sent = pins.set_aside({"prompt": prompt(pin, checkpoint=checkpoint)})
        running.update(prompt=sent["prompt"], extra=sent.get("extra_data", {}))
        node.hidden = SimpleNamespace(unique_id="2", prompt=sent["prompt"], extra_pnginfo=None)
        return repr(sent["prompt"]) + node.fingerprint_inputs(BEST)

    first = queue("")
    taken = node.execute(BEST, model=models[FLOW]).args[0].id
    assert queue(taken) == first  # ComfyUI finds its pictures again
    assert queue(taken, checkpoint="b") != queue("", checkpoint="b")  # not chosen there
    store(world, folder, 8, "dpmpp_2m", error=0.01)
    pinned, free = queue(taken), queue("")
    assert len({first, pinned, free}) == 3
    queue(taken)
    assert node.execute(BEST, model=models[FLOW]).args[0].id == taken
    queue("")
    assert node.execute(BEST, model=models[FLOW]).args[0].id != taken


def test_pictures_carry_the_pin(pins: Any) -> None:  # noqa: ANN401
    load = {"id": 3, "type": "SolverSearch_Load", "widgets_values": [BEST, 0, ""],
            "widgets_values_named": {"preset": BEST, "pin": ""}}
    outer = {"workflow": {"nodes": [copy.deepcopy(load)]}}
    pins.write_pin(outer, "3", PIN)
    assert outer["workflow"]["nodes"][0]["widgets_values"] == [BEST, 0, PIN]
    assert outer["workflow"]["nodes"][0]["widgets_values_named"]["pin"] == PIN
    inner = {"workflow": {"nodes": [{"id": 5, "type": "sub"}],
                          "definitions": {"subgraphs": [{"id": "sub", "nodes": [load]}]}}}
    pins.write_pin(inner, "5:3", PIN)
    assert load["widgets_values"] == [BEST, 0, PIN]
    by_name = {"workflow": {"nodes": [{"id": 3, "widgets_values": ["6 steps", 0, ""]}]}}
    kept = copy.deepcopy(by_name)
    pins.write_pin(by_name, "3", PIN)
    assert by_name == kept
    for foreign in (None, {}, {"workflow": None}, {"workflow": {"nodes": [None, {}]}},
                    {"workflow": {"nodes": 3, "definitions": []}},
                    {"workflow": {"nodes": [{"id": 3, "type": []}],
                                  "definitions": {"subgraphs": [7, {"id": []}]}}}):
        pins.write_pin(foreign, "3", PIN)
        pins.write_pin(foreign, "3:4", PIN)
