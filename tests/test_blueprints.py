"""The blueprint in ComfyUI's node library: listed, and a KSampler with a solver when opened."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from launch import blueprints
from launch.workflow import to_prompt

from .test_locales import schemas
from .world import World

PATH = blueprints.FOLDER / f"{blueprints.NAME}.json"


def blueprint() -> dict[str, Any]:
    return json.loads(PATH.read_text("utf-8"))


def known(world: World) -> dict[str, Any]:
    """What a server says of the nodes inside, as far as they have schemas or old-style inputs."""
    from nodes import NODE_CLASS_MAPPINGS

    sampler = NODE_CLASS_MAPPINGS["KSampler"]
    return schemas(world) | {"KSampler": {
        "input": sampler.INPUT_TYPES(), "output": list(sampler.RETURN_TYPES),
        "input_order": {kind: list(names) for kind, names in sampler.INPUT_TYPES().items()}}}


def test_files_are_the_generated_ones() -> None:
    for path, text in blueprints.blueprints().items():
        assert path.read_text("utf-8") == text, f"run `python -m launch.blueprints`: {path.name}"


def test_comfyui_lists_it(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import folder_paths
    from app.subgraph_manager import SubgraphManager

    pack = tmp_path / "solver-search"
    pack.symlink_to(blueprints.ROOT, target_is_directory=True)
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(tmp_path)])
    manager = SubgraphManager()
    listed = asyncio.run(manager.get_custom_node_subgraphs({}))
    found = {entry["name"]: key for key, entry in listed.items()}
    assert list(found) == [blueprints.NAME]
    entry = asyncio.run(manager.get_subgraph(found[blueprints.NAME], {}))
    assert json.loads(entry["data"]) == blueprint()


def test_sockets_inside_are_those_of_the_nodes_in_the_pages_order(world: World) -> None:
    """Links count sockets: those without a widget come first, as the page makes them."""
    infos = known(world)
    for node in blueprint()["definitions"]["subgraphs"][0]["nodes"]:
        given = infos[node["type"]]["input"]
        kinds = {name: entry[0] for part in ("required", "optional")
                 for name, entry in given.get(part, {}).items()}
        widgets = [n for n, kind in kinds.items()
                   if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "COMBO")]
        plain = [name for name in kinds if name not in widgets]
        assert [s["name"] for s in node["inputs"]] == [*plain, *widgets]
        assert [s["name"] for s in node["inputs"] if "widget" in s] == widgets
        for socket in node["inputs"]:
            kind = kinds[socket["name"]]
            assert socket["type"] == ("COMBO" if isinstance(kind, list) else kind)
        assert [o["type"] for o in node["outputs"]] == list(infos[node["type"]]["output"])


def test_links_join_what_they_say() -> None:
    inside = blueprint()["definitions"]["subgraphs"][0]
    nodes = {node["id"]: node for node in inside["nodes"]}
    for link in inside["links"]:
        if link["origin_id"] > 0:
            out = nodes[link["origin_id"]]["outputs"][link["origin_slot"]]
        else:
            out = inside["inputs"][link["origin_slot"]]
        there = (nodes[link["target_id"]]["inputs"] if link["target_id"] > 0
                 else inside["outputs"])[link["target_slot"]]
        assert out["type"] == there["type"] == link["type"]
        assert link["id"] in (out.get("links") or out.get("linkIds"))
        assert there.get("link") == link["id"] or link["id"] in there["linkIds"]
    outer, = blueprint()["nodes"]
    assert [s["name"] for s in outer["inputs"]] == [s["name"] for s in inside["inputs"]]


def test_it_opens_into_a_sampler_with_a_solver(world: World) -> None:
    prompt = to_prompt(blueprint(), known(world))
    kinds = {key: entry["class_type"] for key, entry in prompt.items()}
    assert sorted(kinds.values()) == ["KSampler", "SolverSearch_Load", "SolverSearch_Use"]
    of = {entry["class_type"]: entry["inputs"] for entry in prompt.values()}
    assert kinds[of["SolverSearch_Use"]["solver"][0]] == "SolverSearch_Load"
    assert kinds[of["KSampler"]["model"][0]] == "SolverSearch_Use"
    assert of["SolverSearch_Load"]["preset"] == "(best for the connected model)"
    assert of["KSampler"]["steps"] == 6
