"""Search Solver with several numbers of steps, in a real ComfyUI: one family of presets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.matrix.families import FAMILIES

from .pack import load
from .test_in_comfyui import search
from .test_search_everywhere import SMALL
from .world import FLOW, World, latent, prompt

CALLS, BATCH = 600, 6
FAMILY = (4, 3, 6, 5)  # as typed; the middle one, 4, is searched first


@pytest.fixture(autouse=True, scope="module")
def small(world: World) -> Iterator[None]:
    """Searches of 600 model calls for the first member, evidence on six seeds at two scales."""
    with pytest.MonkeyPatch.context() as patch:
        for find in (world.module, load):
            config, guidance, proof = (find(name) for name in (
                "solver_search.config", "nodes.guidance", "nodes.proof"))
            sizes = config.Effort(**{**SMALL, "evidence": 6, "model_calls": CALLS})
            patch.setitem(config.EFFORTS, "quick", sizes)
            patch.setitem(guidance.RANGES, "quick", replace(
                guidance.RANGES["quick"], around=(1.5,), calls=20))
            patch.setitem(proof.EXTENTS, "quick", replace(proof.EXTENTS["quick"], reference=20))
            patch.setattr(proof, "POPULAR_SAMPLERS", ("euler", "dpmpp_2m"))
            patch.setattr(proof, "table_of", lambda *_, **__: None)  # each goes on to its range
        yield


def job(steps: tuple[int, ...], method: str = "fit", **more: Any) -> Any:  # noqa: ANN401
    """A quick search for these numbers of steps through a guider."""
    session, subject = load("nodes.comfy_bridge.session"), FAMILIES["SD3"].build()
    config = load("solver_search.config").SearchConfig(steps[0], method, "quick")
    guider = session.make_guider(subject.model, subject.positive, subject.negative, 3.0)
    return load("nodes.search_job").Job(
        guider, torch.zeros(BATCH, *subject.latent.shape[1:]), config, 3.0, f"fam {steps[0]}",
        {n: f"fam {n}" for n in steps[1:]}, **more)


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Model calls, one entry."""
    session, total = load("nodes.comfy_bridge.session"), [0]
    original = session.Session.denoise

    def counted(self: Any, x: Any, sigma: Any, items: Any) -> Any:  # noqa: ANN401
        total[0] += len(x)
        return original(self, x, sigma, items)

    monkeypatch.setattr(session.Session, "denoise", counted)
    return total


@pytest.mark.parametrize("method", ["fit", "gits", "s4s"])
def test_four_searches_cost_twice_one_and_all_that_is_told_is_spent(
        world: World, spent: list[int], method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reference must be long and the seeds do not tell who wins, told is what is spent
    but for the tables of built-in settings, which may not be needed."""
    monkeypatch.setattr(load("solver_search.settled"), "SHARE", 0.0)
    monkeypatch.setattr(load("nodes.proof"), "APART", float("inf"))
    told: list[Any] = []
    calls: list[int] = []
    wanted = job(FAMILY, method, on_estimate=told.append, on_call=calls.append)
    found = wanted.run()
    runs = sum(run.model_calls for _, run in found)
    asked_before = 5 + 2 * BATCH  # the check of memory, and the timed call with its warm-up
    proof = spent[0] - asked_before - runs
    assert 0.85 * told[0].proof <= proof <= told[0].proof
    assert calls == sorted(calls)
    assert calls[-1] == runs <= told[0].calls == 2 * CALLS


def test_every_member_is_proved_and_knows_the_others(world: World) -> None:
    phases: list[str] = []
    found = job(FAMILY, on_event=lambda event: phases.append(event.phase)).run()
    assert [preset.solver.nfe for preset, _ in found] == list(FAMILY)
    assert [preset.info.name for preset, _ in found] == [f"fam {n}" for n in FAMILY]
    for preset, run in found:
        assert {p.solver.nfe for p in preset.siblings} == set(FAMILY) - {preset.solver.nfe}
        assert preset.info.error is not None
        assert preset.info.held_out_seeds == 6
        assert preset.info.guidance_measured
        assert preset.info.model_calls == run.model_calls
    order = [p.split(" steps:")[0] for p in phases if ": best known: " in p]
    assert list(dict.fromkeys(order)) == ["4", "3", "5", "6"]


def test_a_model_without_a_gradient_is_searched_by_the_default_for_every_member(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load("nodes.comfy_bridge.session")
    original = session.Session.denoise
    monkeypatch.setattr(session.Session, "denoise",
                        lambda self, x, sigma, items: original(self, x, sigma, items).detach())
    found = job((4, 5), "s4s").run()
    assert [preset.info.method for preset, _ in found] == ["fit", "fit"]
    assert [preset.solver.nfe for preset, _ in found] == [4, 5]


@pytest.fixture(scope="module")
def family(world: World, models: dict) -> Any:  # noqa: ANN401
    return search(world, models[FLOW], steps="4, 3, 6, 5", name="portrait",
                  latent=latent(FLOW, 6))


def test_each_member_is_saved_under_its_own_name_and_reported(world: World,
                                                              family: Any) -> None:  # noqa: ANN401
    preset, plot, report = family.args
    read = world.module("presets.store").read
    for member in (preset, *preset.siblings):
        name = f"portrait {member.solver.nfe} steps"
        assert read(world.folder / f"{name}.safetensors").id == member.id
        assert f"'{name}': {member.solver.nfe} steps, fit, id {member.id}." in report
    assert report.count("Found by:") == 4
    assert preset.solver.nfe == 4
    assert plot.shape[1] == 4 * world.module("nodes.pictures").PANEL


@pytest.mark.parametrize(("asked", "taken"), [(3, 3), (4, 4), (5, 5), (6, 6), (20, 4)])
@pytest.mark.parametrize("through", ["search", "automatic"])
def test_the_steps_of_a_ksampler_pick_the_member(world: World, models: dict,
                                                 family: Any,  # noqa: ANN401
                                                 through: str, asked: int, taken: int) -> None:
    model, calls, preset = models[FLOW], [], family.args[0]
    if through == "automatic":
        preset = world.of("Load").execute("(best for the connected model)", model=model).args[0]
        assert preset.info.name.startswith("portrait")
        taken = taken if asked in FAMILY else preset.solver.nfe
    used = world.of("Use").execute(model, preset).args[0]
    used.set_model_unet_function_wrapper(lambda call, given: (
        calls.append(1), call(given["input"], given["timestep"], **given["c"]))[1])
    with torch.inference_mode():
        picture = world.nodes.common_ksampler(
            used, 5, asked, 4.0, "euler", "simple", prompt(FLOW, "cat, night"), prompt(FLOW),
            latent(FLOW, 1))[0]["samples"]
    assert len(calls) == taken
    assert torch.isfinite(picture).all()


def test_a_cancelled_search_keeps_the_members_found(world: World, models: dict,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    module = world.module("nodes.saving")
    original = module.Saving.keep

    def cancel_in_the_second(self: Any, preset: Any) -> None:  # noqa: ANN401
        original(self, preset)
        if preset.solver.nfe == 3:
            management.interrupt_current_processing(True)

    monkeypatch.setattr(module.Saving, "keep", cancel_in_the_second)
    with pytest.raises(management.InterruptProcessingException):
        search(world, models[FLOW], steps="3, 4, 5", name="stopped", latent=latent(FLOW, 6))
    management.interrupt_current_processing(False)
    kept = sorted(path.name for path in world.folder.glob("stopped*"))
    assert kept == ["stopped 3 steps.safetensors", "stopped 4 steps.safetensors"]


@pytest.mark.parametrize(("text", "numbers"), [
    ("6", [6]), (6, [6]), (6.0, [6]), (" 5,6 ,8;10\n", [5, 6, 8, 10]), ("10 5 10", [10, 5])])
def test_steps_are_read_as_people_and_older_workflows_write_them(text: Any,  # noqa: ANN401
                                                                 numbers: list[int]) -> None:
    assert load("nodes.step_list").read_steps(text) == numbers


@pytest.mark.parametrize(("text", "found"), [
    ("", "found nothing"), (" , ", "found nothing"), ("six", "found 'six'"),
    ("5, 1", "found '1'"), ("33", "found '33'"), ("5.5", "found '5.5'"), ("nan", "found 'nan'"),
    ("5-8", "found '5-8'"), ("-6", "found '-6'"),
    ("x" * 9999, f"found '{'x' * 40}'. ")])
def test_bad_steps_are_refused_in_words_before_anything_runs(world: World, text: str,
                                                             found: str) -> None:
    said = world.of("Search").validate_inputs(name=[""], steps=[text])
    assert said.startswith("steps must be whole numbers from 2 to 32, such as 6 or 5, 6, 8, 10")
    assert found in said
    assert ". Write " in said


def test_a_name_that_is_too_long_with_its_steps_is_refused_early(world: World) -> None:
    node, name = world.of("Search"), "x" * 75
    assert node.validate_inputs(name=[name], steps=["6"]) is True
    assert "characters" in node.validate_inputs(name=[name], steps=["5, 6"])


@pytest.mark.parametrize(("steps", "valid"), [(6, True), ("6", True), ("5, 6", True),
                                              ("six", False)])
def test_comfyui_takes_the_numbers_of_older_workflows(world: World, steps: Any,  # noqa: ANN401
                                                      valid: bool) -> None:
    assert bool(validated(steps=steps)) is not valid
    assert not validated(steps=["1", 0])  # a link of whole numbers from another node


def validated(**changes: Any) -> list:  # noqa: ANN401
    """Errors of ComfyUI's own check of a prompt with Search Solver."""
    import execution

    known = {"latent": ["2", 0], "method": "fit", "effort": "quick", "seed": 0, "name": "",
             "cfg": 4.0}
    graph = {"1": {"class_type": "SolverSearchTest_Number", "inputs": {}},
             "2": {"class_type": "EmptyLatentImage",
                   "inputs": {"width": 64, "height": 64, "batch_size": 1}},
             "3": {"class_type": "SolverSearch_Search", "inputs": {**known, **changes}}}
    _, errors, _ = asyncio.run(execution.validate_inputs("prompt", graph, "3", {}))
    return errors


class Number:
    """A node that gives a whole number."""

    RETURN_TYPES = ("INT",)
    FUNCTION = "give"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {}}


@pytest.fixture(autouse=True)
def number_node(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(world.nodes.NODE_CLASS_MAPPINGS, "SolverSearchTest_Number", Number)
