"""What nodes say: its order, where it goes, and that no page takes it for HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from .graphs import run, sampler_of
from .matrix.families import Subject
from .pack import load, preset_of
from .world import EPS, FLOW, World

HOSTILE = ('<img src=x onerror="alert(1)"> [[Update here|https://evil.example/x]] '
           'www.evil.example &lt;')


class Server:
    """Stands where ComfyUI's server stands, and keeps what is sent."""

    def __init__(self) -> None:
        self.client_id = "browser-1"
        self.events: list[tuple[str, Any, str | None]] = []
        self.lines: list[tuple[str, str]] = []

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:  # noqa: ANN401
        self.events.append((event, data, sid))

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        self.lines.append((text, node_id))


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    from comfy_execution.utils import CurrentNodeContext

    made = Server()
    for module in ("nodes.comfy_bridge.console", "nodes.comfy_bridge.web"):
        monkeypatch.setattr(world.module(module), "PromptServer", SimpleNamespace(instance=made))
    clients = world.module("nodes.comfy_bridge.web")
    monkeypatch.setattr(clients, "CLIENTS", clients.Clients())
    with CurrentNodeContext("prompt-1", "5:3"):
        yield made


def test_the_verdict_comes_first_and_trivia_last(world: World) -> None:
    said = world.module("nodes.said").Said("Good.", ("Look out.",), ("id 12",))
    assert said.text == "Good.\nLook out.\nid 12"
    assert said.ui(pin="12") == {
        "text": ("Good.\nLook out.\nid 12",),
        "solver_search": ({"verdict": "Good.", "warnings": ["Look out."], "details": ["id 12"],
                           "pin": "12"},)}
    assert world.module("nodes.said").as_said("a\nb").details == ("b",)


def test_it_goes_to_the_running_node_as_an_event_and_as_a_line(world: World,
                                                               server: Server) -> None:
    said = world.module("nodes.said").Said("Good.", ("Look out.",))
    world.module("nodes.comfy_bridge.console").say(said)
    assert server.events == [("solver_search.said", {
        "node": "5:3", "prompt": "prompt-1", "verdict": "Good.", "warnings": ["Look out."],
        "details": []}, "browser-1")]
    assert server.lines == [("Good.\nLook out.", "5:3")]


def test_a_page_that_shows_ours_gets_no_line(world: World, server: Server) -> None:
    world.module("nodes.comfy_bridge.web").hello("browser-1")
    world.module("nodes.comfy_bridge.console").say("Good.")
    assert len(server.events) == 1 and not server.lines
    server.client_id = "another"
    world.module("nodes.comfy_bridge.console").say("Good.")
    assert len(server.lines) == 1


def test_nothing_a_file_says_is_html_or_a_link(world: World, server: Server) -> None:
    world.module("nodes.comfy_bridge.console").say(HOSTILE)
    shown = [server.lines[0][0], world.module("nodes.said").Said(HOSTILE).ui()["text"][0]]
    for text in shown:
        assert not any(part in text for part in ("<", ">", "&", "[[", "]]", "://", "www."))
        assert "Update here" in text
    assert server.events[0][1]["verdict"] == HOSTILE  # our script shows text as text


def test_a_model_is_known_by_its_network_and_its_file(world: World, models: dict) -> None:
    facts = world.module("nodes.comfy_bridge.model").facts
    flow, eps = facts(models[FLOW]), facts(models[EPS])
    assert len(flow.architecture) == 16 and flow.architecture != eps.architecture
    assert len(flow.header_hash) == 64 and flow.header_hash != eps.header_hash
    assert flow.precision.startswith("float") and not flow.patches
    assert facts(models[FLOW].clone()) == flow


def test_a_patched_model_says_so(world: World, models: dict) -> None:
    import torch

    facts = world.module("nodes.comfy_bridge.model").facts

    def patched(strength: float, value: float) -> Any:  # noqa: ANN401
        model = models[FLOW].clone()
        keys = [k for k in model.model_state_dict() if k.endswith(".weight")][:3]
        shapes = [model.model_state_dict()[k].shape for k in keys]
        model.add_patches({k: ("diff", (torch.full(s, value),))
                           for k, s in zip(keys, shapes, strict=True)}, strength)
        return facts(model).patches

    assert patched(0.5, 1.0).startswith("1 patch on 3 weights, strength 0.5 (")
    assert patched(0.5, 1.0) == patched(0.5, 1.0) != patched(0.5, 2.0)
    assert patched(0.6, 1.0) != patched(0.5, 1.0)


def test_what_cannot_be_known_of_a_model_is_left_out(world: World, tmp_path: Any) -> None:  # noqa: ANN401
    identity = world.module("nodes.comfy_bridge.identity")
    empty = SimpleNamespace()
    assert identity.architecture(empty) == identity.checkpoint_path(empty) == ""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 20)
    assert identity.header_hash(str(broken)) == identity.header_hash("") == ""
    assert identity.header_hash(str(tmp_path / "gone.safetensors")) == ""


def test_fine_tunes_of_one_base_are_told_apart(world: World, tmp_path: Any) -> None:  # noqa: ANN401
    import torch
    from safetensors.torch import save_file

    digest = world.module("nodes.comfy_bridge.identity").header_hash
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path, value in zip(paths, (1.0, 2.0, 1.0), strict=True):
        save_file({"w": torch.full((100_000,), value)}, str(path))
    first, other, same = (digest(str(path)) for path in paths)
    assert first == same != other


@pytest.mark.parametrize(("spread", "expected"), [(0.0, False), (30.0, True)])
@pytest.mark.usefixtures("as_a_node")
def test_a_result_far_larger_than_a_picture_is_said_to_be(subject: Subject, said: list[str],
                                                          spread: float, expected: bool) -> None:
    """A plain rule at 6 steps and CFG 7 leaves much room below the bound; one with random weights
    of that size goes far beyond it."""
    import comfy.samplers

    remarks = load("nodes.comfy_bridge.remarks")
    ms = subject.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(ms, "simple", 6).double()
    flow = float(ms.sigma_max) == 1
    solver = load("solver_search.tableaus").TABLEAUS["euler"](sigmas, flow=flow)
    noise = torch.randn(solver.weights.shape, generator=torch.Generator().manual_seed(1)).double()
    moved = (spread * noise).tril(-1)
    weights = solver.weights + moved - torch.diag(moved.sum(1))
    sampler, levels = sampler_of(preset_of(replace(solver, weights=weights)))
    end = run(subject, subject.model, sampler, levels)
    assert (remarks.TOO_LARGE in said) is expected
    inside = float(subject.model.model.process_latent_in(end).abs().max())
    assert inside > 10 * remarks.LARGE if expected else inside < remarks.LARGE / 3
