"""Small workflow files, put together for tests as the browser would save them."""

from __future__ import annotations

from typing import Any

from launch.workflow import Graph, Node

BYPASSED, MUTED = 4, 2
Wire = tuple[int, int, str]  # node, output, type
KSAMPLER = (7, "fixed", 20, 8.0, "euler", "simple", 1.0)  # KSampler's widgets


def node(number: int, kind: str, *widgets: Any, mode: int = 0,  # noqa: ANN401
         outputs: tuple[str, ...] = (), **sockets: Wire | str) -> Node:
    """One node.

    Args:
        widgets: values in the order of the widgets.
        outputs: types; only a node that is bypassed is asked for them.
        sockets: input -> where it comes from; just a type if nothing is linked.
    """
    inputs = [{"name": name, "type": wire if isinstance(wire, str) else wire[2], "wire": wire,
               **({"widget": {"name": name}} if wire[2] in ("INT", "FLOAT") else {})}
              for name, wire in sockets.items()]
    return {"id": number, "type": kind, "mode": mode, "widgets_values": list(widgets),
            "inputs": inputs, "outputs": [{"type": one} for one in outputs]}


def graph(*nodes: Node, subgraphs: tuple[Graph, ...] = ()) -> Graph:
    """A workflow file with its links."""
    wired, links = _wired(nodes)
    return {"nodes": wired, "links": links, "definitions": {"subgraphs": list(subgraphs)}}


def subgraph(name: str, inputs: tuple[str, ...], gives: Wire, *nodes: Node) -> Graph:
    """A definition of a subgraph with one output; inner wires from node -10 are its inputs."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    wired, links = _wired(nodes)
    last = {"id": 999, "origin_id": gives[0], "origin_slot": gives[1], "target_id": -20,
            "target_slot": 0, "type": gives[2]}
    named = [dict(zip(keys, link, strict=True)) for link in links]
    return {"id": name, "name": name, "nodes": wired, "links": [*named, last],
            "inputs": [{"name": one} for one in inputs], "outputs": [{"name": "out"}]}


def _wired(nodes: tuple[Node, ...]) -> tuple[list[Node], list[list[Any]]]:
    """The nodes, each input with the number of its link, and all links."""
    links: list[list[Any]] = []
    return [{**one, "inputs": [_socket(one["id"], slot, socket, links)
                               for slot, socket in enumerate(one["inputs"])]}
            for one in nodes], links


def _socket(target: int, slot: int, socket: dict[str, Any],
            links: list[list[Any]]) -> dict[str, Any]:
    wire = socket["wire"]
    if isinstance(wire, str):
        return {**socket, "link": None}
    links.append([len(links) + 1, wire[0], wire[1], target, slot, wire[2]])
    return {**socket, "link": len(links)}
