"""A workflow file as the browser saves it -> the prompt the server runs.

    prompt[node] = {"class_type": type, "inputs": {name: value or [node, output]}}

Follows the browser's own conversion (frontend 1.47, graphToPrompt): muted nodes vanish, bypassed
ones hand an input of the same type on to their output, and Reroute, PrimitiveNode and notes exist
in the browser only. Schema 0.4, where a link is [id, from, output, to, input, type].
Outside: inputs the browser itself computes while queueing (webcam, 3-D viewer, drawing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .subgraphs import PRIMITIVE, flatten
from .widgets import named_values

Node = dict[str, Any]
Graph = dict[str, Any]
MUTED, BYPASSED = 2, 4
NOTES = ("Note", "MarkdownNote")
REROUTE = "Reroute"
VIRTUAL = (*NOTES, REROUTE, PRIMITIVE)


class WorkflowError(ValueError):
    """A workflow file cannot be turned into a prompt."""


@dataclass(frozen=True)
class Constant:
    """A value that reaches an input through a link, from a PrimitiveNode."""

    value: Any


def to_prompt(graph: Graph, object_info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Convert a workflow.

    Args:
        graph: parsed workflow file.
        object_info: answer of the server's /object_info.

    Returns:
        The prompt in API format; inputs linked to muted nodes are left out, as the browser does.

    Raises:
        WorkflowError: if it is no such file or uses nodes the server does not know.
    """
    if not isinstance(graph.get("nodes"), list) or not isinstance(graph.get("links"), list):
        raise WorkflowError("No workflow file: it has no lists 'nodes' and 'links'.")
    flat = flatten(graph)
    wires = _Wires(flat)
    running = [node for node in flat["nodes"] if _runs(node)]
    _check_known(running, object_info)
    return {str(node["id"]): _entry(node, object_info, wires) for node in running}


def _runs(node: Node) -> bool:
    return node["type"] not in VIRTUAL and node.get("mode", 0) not in (MUTED, BYPASSED)


def _check_known(nodes: list[Node], object_info: dict[str, Any]) -> None:
    unknown = [node for node in nodes if node["type"] not in object_info]
    if unknown:
        told = ", ".join(f"node {node['id']} ({node['type']})" for node in unknown)
        raise WorkflowError(f"The server does not know {told}. Is its node pack installed?")


def _entry(node: Node, object_info: dict[str, Any], wires: _Wires) -> dict[str, Any]:
    values = named_values(node, object_info[node["type"]])
    inputs = {name: _boxed(value) for name, value in values.items()}
    for socket in node.get("inputs") or ():
        source = wires.source(socket)
        if isinstance(source, Constant):
            inputs[socket["name"]] = _boxed(source.value)
        elif source is not None:
            inputs[socket["name"]] = source
        elif wires.is_linked(socket):
            inputs.pop(socket["name"], None)
    title = node.get("title") or node["type"]
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}


def _boxed(value: Any) -> Any:  # noqa: ANN401 - whatever a widget holds
    """A list in a prompt means a link; one that is a value goes into a box."""
    return {"__value__": value} if isinstance(value, list) else value


class _Wires:
    """Follows links backwards to the nodes that really run."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = {node["id"]: node for node in graph["nodes"]}
        self._links = {link[0]: (link[1], link[2]) for link in graph["links"] if link}

    def is_linked(self, socket: dict[str, Any]) -> bool:
        return socket.get("link") is not None

    def source(self, socket: dict[str, Any]) -> list[Any] | Constant | None:
        """Where an input comes from: [node, output], a constant, or nowhere."""
        kind, seen = socket.get("type", "*"), set()
        while self.is_linked(socket):
            link = socket["link"]
            if link in seen:
                raise WorkflowError(f"Link {link} leads back to itself.")
            seen.add(link)
            node, output = self._origin(link)
            if _runs(node):
                return [str(node["id"]), output]
            if node["type"] == PRIMITIVE:
                return Constant((node.get("widgets_values") or [None])[0])
            passed = _passed_on(node, output, kind)
            if passed is None:
                return None
            socket = passed
        return None

    def _origin(self, link: int) -> tuple[Node, int]:
        if link not in self._links:
            raise WorkflowError(f"Link {link} is used by a node but not in the list of links.")
        origin, output = self._links[link]
        if origin not in self._nodes:
            raise WorkflowError(f"Link {link} comes from node {origin}, which does not exist.")
        return self._nodes[origin], output


def _passed_on(node: Node, output: int, kind: str) -> dict[str, Any] | None:
    """The input that a node which does not run hands on to one of its outputs."""
    sockets = node.get("inputs") or []
    if node["type"] == REROUTE:
        return sockets[0] if sockets else None
    if node.get("mode") != BYPASSED or node["type"] in VIRTUAL:
        return None
    given = (node.get("outputs") or [])[output]["type"]
    if kind == "*":
        return sockets[output] if output < len(sockets) else next(iter(sockets), None)
    same_place = sockets[output : output + 1]
    exact = [socket for socket in sockets if socket["type"] == kind]
    fits = [s for s in (*same_place, *exact, *sockets) if _fit(s["type"], given, kind)]
    return next(iter(fits), None)


def _fit(offered: str, given: str, wanted: str) -> bool:
    return _compatible(offered, given) and _compatible(offered, wanted)


def _compatible(first: str, second: str) -> bool:
    """Types may be lists ("INT,FLOAT") and "*" is any."""
    one, other = ({part.lower() for part in str(kind).split(",")} for kind in (first, second))
    return "*" in one | other or bool(one & other)
