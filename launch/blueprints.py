"""Writes the blueprints: nodes that ComfyUI offers in its node library, made of several.

    python -m launch.blueprints

"Fast sampling" is a KSampler with a solver already before it. Links inside a blueprint that begin
at its own inputs come from the pseudo node -10, those to its outputs end at -20.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .examples import AUTOMATIC
from .places import ROOT
from .subgraphs import INPUTS, OUTPUTS

FOLDER = ROOT / "subgraphs"
NAME = "Fast sampling"
CATEGORY = "model/sampling/solver search"
DESCRIPTION = ("A KSampler in few steps: takes the solver preset that suits your model best and "
               "samples with it.")
KINDS = {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING",
         "latent_image": "LATENT", "solver": "SOLVER", "preset": "COMBO", "steps": "INT",
         "pin": "STRING", "seed": "INT", "cfg": "FLOAT", "sampler_name": "COMBO",
         "scheduler": "COMBO", "denoise": "FLOAT"}
WIDGETS = ("preset", "steps", "pin", "seed", "cfg", "sampler_name", "scheduler", "denoise")
SHOWN = ("preset", "seed", "steps", "cfg", "denoise")

Node = dict[str, Any]


@dataclass
class Inside:
    """The content of a blueprint being written.

    Args:
        nodes: each with every socket its class has, in the page's order: links count them.
        links: as a subgraph stores them.
        inputs: of the blueprint, in order.
    """

    nodes: list[Node] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, at: tuple[int, int], size: tuple[int, int], sockets: tuple[str, ...],
            outputs: tuple[str, ...], values: list[Any]) -> Node:
        """A node without links."""
        node = {"id": len(self.nodes) + 1, "type": kind, "pos": list(at), "size": list(size),
                "flags": {}, "order": len(self.nodes), "mode": 0,
                "inputs": [_socket(name) for name in sockets],
                "outputs": [{"name": name, "type": type_, "links": []}
                            for name, type_ in (each.split(" ") for each in outputs)],
                "properties": {"Node name for S&R": kind}, "widgets_values": values}
        self.nodes.append(node)
        return node

    def link(self, source: Node, target: Node, name: str) -> None:
        """From the first output of a node to an input of another."""
        slot, socket = _find(target, name)
        source["outputs"][0]["links"].append(self._link(source["id"], 0, target["id"], slot,
                                                        socket["type"]))
        socket["link"] = source["outputs"][0]["links"][-1]

    def show(self, name: str, *targets: Node) -> None:
        """Make inputs of nodes an input of the blueprint."""
        made = {"id": _id(f"input {name}"), "name": name, "type": KINDS[name], "linkIds": [],
                "pos": [-60, 20 * len(self.inputs)]}
        for target in targets:
            slot, socket = _find(target, name)
            socket["link"] = self._link(INPUTS, len(self.inputs), target["id"], slot,
                                        socket["type"])
            made["linkIds"].append(socket["link"])
        self.inputs.append(made)

    def hand_out(self, source: Node) -> dict[str, Any]:
        """Make the first output of a node the output of the blueprint."""
        out = source["outputs"][0]
        link = self._link(source["id"], 0, OUTPUTS, 0, out["type"])
        out["links"].append(link)
        return {"id": _id(f"output {out['name']}"), "name": out["name"], "type": out["type"],
                "linkIds": [link], "pos": [960, 60]}

    def _link(self, origin: int, output: int, target: int, slot: int, kind: str) -> int:
        self.links.append({"id": len(self.links) + 1, "origin_id": origin, "origin_slot": output,
                           "target_id": target, "target_slot": slot, "type": kind})
        return len(self.links)


def _socket(name: str) -> dict[str, Any]:
    widget = {"widget": {"name": name}} if name in WIDGETS else {}
    return {"name": name, "type": KINDS[name], **widget, "link": None}


def _find(node: Node, name: str) -> tuple[int, dict[str, Any]]:
    return next((i, s) for i, s in enumerate(node["inputs"]) if s["name"] == name)


def _id(what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"solver-search {NAME} {what}"))


def fast_sampling() -> dict[str, Any]:
    """Load Solver Preset, Use Solver and KSampler in one node, as the page stores a blueprint."""
    inside = Inside()
    load = inside.add("SolverSearch_Load", (60, 0), (330, 200),
                      ("model", "preset", "steps", "pin"), ("solver SOLVER", "about STRING"),
                      [*AUTOMATIC, ""])
    use = inside.add("SolverSearch_Use", (430, 0), (200, 80), ("model", "solver"),
                     ("MODEL MODEL",), [])
    sampler = inside.add(
        "KSampler", (670, 0), (270, 270),
        ("model", "positive", "negative", "latent_image", "seed", "steps", "cfg",
         "sampler_name", "scheduler", "denoise"), ("LATENT LATENT",),
        [0, "randomize", 6, 6.0, "euler", "simple", 1.0])
    inside.link(load, use, "solver")
    inside.link(use, sampler, "model")
    inside.show("model", load, use)
    for name in ("positive", "negative", "latent_image"):
        inside.show(name, sampler)
    for name in SHOWN:
        inside.show(name, load if name == "preset" else sampler)
    return _workflow(inside, inside.hand_out(sampler))


def _workflow(inside: Inside, output: dict[str, Any]) -> dict[str, Any]:
    kind = _id("subgraph")
    content = {
        "id": kind, "version": 1, "revision": 0, "config": {}, "name": NAME,
        "state": {"lastGroupId": 0, "lastNodeId": len(inside.nodes),
                  "lastLinkId": len(inside.links), "lastRerouteId": 0},
        "inputNode": {"id": INPUTS, "bounding": [-180, -20, 120, 220]},
        "outputNode": {"id": OUTPUTS, "bounding": [940, 40, 120, 60]},
        "inputs": inside.inputs, "outputs": [output], "widgets": [], "nodes": inside.nodes,
        "groups": [], "links": inside.links, "extra": {}, "category": CATEGORY,
        "description": DESCRIPTION}
    outer = {
        "id": 1, "type": kind, "pos": [0, 0], "size": [330, 260], "flags": {}, "order": 0,
        "mode": 0, "title": NAME, "properties": {},
        "inputs": [{**_socket(made["name"])} for made in inside.inputs],
        "outputs": [{"name": output["name"], "type": output["type"], "links": None}]}
    return {"revision": 0, "last_node_id": 1, "last_link_id": 0, "nodes": [outer], "links": [],
            "groups": [], "definitions": {"subgraphs": [content]}, "config": {},
            "extra": {"BlueprintDescription": DESCRIPTION,
                      "BlueprintSearchAliases": ["fast", "few steps", "speed", "ksampler"]},
            "version": 0.4}


def blueprints() -> dict[Path, str]:
    """Every blueprint's path and JSON text."""
    return {FOLDER / f"{NAME}.json": json.dumps(fast_sampling(), indent=1) + "\n"}


if __name__ == "__main__":
    for path, text in blueprints().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
