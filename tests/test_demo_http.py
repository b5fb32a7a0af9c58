"""The shipped workflow through a real server's HTTP API, on the demo checkpoint, made short."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image

from launch import examples
from launch.base import prepare_base
from launch.client import Progress, Run
from launch.places import ROOT, comfyui_folder
from launch.server import Server
from launch.workflow import to_prompt

from .pack import load

QUICK = ("--disable-api-nodes",)
Prompt = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not (comfyui_folder() / "main.py").is_file():
        pytest.skip("no ComfyUI: run these tests with `python run.py test`")
    base = prepare_base(tmp_path_factory.mktemp("demo"))
    with Server(base, arguments=QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def finished(server: Server) -> tuple[Prompt, Run, list[Progress]]:
    """The demo's workflow with quick effort and few seeds, run once for all tests."""
    path = examples.DEMO / "Demo - Solver search with sampler comparison.json"
    prompt = to_prompt(json.loads(path.read_text("utf-8")), server.client.object_info())
    for entry in prompt.values():
        if entry["class_type"] == "SolverSearch_Search":
            entry["inputs"]["effort"] = "quick"
        if entry["class_type"] == "SolverSearch_Compare":
            entry["inputs"] |= {"seeds": 8, "opponents": "popular samplers, all schedules"}
    seen: list[Progress] = []
    return prompt, server.client.run(prompt, seen.append), seen


def outputs_of(finished: tuple[Prompt, Run, list[Progress]], kind: str, **inputs: str) -> dict:
    prompt, run, _ = finished
    nodes = [node for node, entry in prompt.items() if entry["class_type"] == kind
             and all(entry["inputs"].get(k) == v for k, v in inputs.items())]
    assert len(nodes) == 1
    return run.outputs[nodes[0]]


def picture(server: Server, outputs: dict) -> list[bytes]:
    images = (server.client.image(reference) for reference in outputs["images"])
    return [Image.open(io.BytesIO(data)).tobytes() for data in images]


def test_example_files_are_the_generated_ones() -> None:
    for path, text in examples.examples().items():
        assert path.read_text("utf-8") == text, f"run `python -m launch.examples`: {path.name}"


def test_both_sampler_nodes_give_the_same_pictures(server: Server, finished: tuple) -> None:
    through_ksampler = outputs_of(finished, "SaveImage", filename_prefix="solver_search/ksampler")
    through_custom = outputs_of(finished, "SaveImage", filename_prefix="solver_search/custom")
    pictures = picture(server, through_ksampler)
    assert len(pictures) == 4
    assert pictures == picture(server, through_custom)


def test_search_saves_a_preset_that_is_in_the_picker_at_once(server: Server,
                                                             finished: tuple) -> None:
    assert outputs_of(finished, "SolverSearch_Search")["text"][0].startswith("Saved as")
    info = server.client.object_info()["SolverSearch_Load"]["input"]["required"]["preset"]
    options = info[1].get("options") or info[0]
    assert any(name.startswith("SD3 6 steps cfg 2.5") for name in options)
    assert sum("DSS" in name for name in options) == 19


def test_search_shows_progress(finished: tuple) -> None:
    progress = [p for p in finished[2] if p.node_type == "SolverSearch_Search" and p.total > 1]
    values = [p.value for p in progress]
    assert len(values) > 3
    assert values == sorted(values)


def test_table_compares_at_equal_model_calls(finished: tuple) -> None:
    data = json.loads(outputs_of(finished, "SolverSearch_Compare")["table"][0])
    assert [row["calls"] for row in data["rows"]] == [6, 6]
    assert all(len(row["errors"]) == 8 for row in data["rows"])
    assert data["tried"] > 50


def test_a_preset_for_the_other_kind_of_model_is_refused_with_a_sentence(server: Server) -> None:
    from launch.failures import PromptError

    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple",
              "inputs": {"ckpt_name": "demo_flow.safetensors"}},
        "2": {"class_type": "SolverSearch_Load",
              "inputs": {"preset": "DSS DiT VP 6.safetensors", "steps": 0}},
        "3": {"class_type": "SolverSearch_Use",
              "inputs": {"model": ["1", 0], "solver": ["2", 0]}},
        "4": {"class_type": "SolverSearchDemo_Prompt",
              "inputs": {"model": ["1", 0], "text": "cat, night"}},
        "5": {"class_type": "EmptySD3LatentImage",
              "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "KSampler",
              "inputs": {"model": ["3", 0], "positive": ["4", 0], "negative": ["4", 0],
                         "latent_image": ["5", 0], "seed": 1, "steps": 6, "cfg": 1.0,
                         "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}},
        "7": {"class_type": "SaveLatent",
              "inputs": {"samples": ["6", 0], "filename_prefix": "refused"}},
    }
    with pytest.raises(PromptError, match="flow model"):
        server.client.run(prompt)


def test_the_pack_and_comfyui_agree_on_the_solver_of_the_file(server: Server,
                                                              finished: tuple) -> None:
    """The file on disk is the solver that was reported."""
    report = outputs_of(finished, "SolverSearch_Search")["text"][0]
    folder = server.base / "models" / "solver_presets"
    preset = load("presets.store").read(next(folder.glob("SD3 6 steps*.safetensors")))
    assert f"id {preset.id}" in report
    assert preset.solver.nfe == 6
    assert preset.solver.sigmas.dtype == torch.float64
    assert str(ROOT) not in repr(preset.info)


@pytest.mark.parametrize("family", ["sd3", "flux_dev", "wan", "cogvideox"])
def test_the_first_template_runs_with_any_checkpoint(server: Server, family: str) -> None:
    """ComfyUI's own loader reads it; where nobody has searched, a sentence says what to do."""
    from demo.tiny import write_tiny

    write_tiny(family, server.base / "models" / "checkpoints")
    path = examples.DEMO / "Demo - Fast sampling in few steps.json"
    prompt = to_prompt(json.loads(path.read_text("utf-8")), server.client.object_info())
    kinds = {node: entry["class_type"] for node, entry in prompt.items()}
    for node, kind in kinds.items():
        inputs = prompt[node]["inputs"]
        if kind == "CheckpointLoaderSimple":
            inputs["ckpt_name"] = f"tiny_{family}.safetensors"
        if kind == "VAEDecode":  # random weights come without one
            prompt[node] = {"class_type": "SaveLatent", "inputs": {
                "samples": inputs["samples"], "filename_prefix": "tiny"}}
        if kind == "SaveImage":
            del prompt[node]
    outputs = server.client.run(prompt).outputs
    loads = [node for node, kind in kinds.items() if kind == "SolverSearch_Load"]
    said = outputs[loads[0]]["text"][0]
    assert ("Made for the same family" if family == "sd3" else "use Search Solver") in said
    assert any("latents" in given for given in outputs.values())
