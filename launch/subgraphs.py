"""Replaces each subgraph of a workflow by its content, as the browser does before queueing.

An inner node 3 of the subgraph node 12 becomes node "12:3". Inside, links come from the pseudo
node -10 (the subgraph's inputs) and end at -20 (its outputs); they are joined with the links
outside. Muted and bypassed subgraphs stay closed: they act like any muted or bypassed node.
"""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]
Graph = dict[str, Any]
Link = list[Any]  # [id, from, output, to, input, type]
INPUTS, OUTPUTS = -10, -20
PRIMITIVE = "PrimitiveNode"  # the browser's node that holds one value


def flatten(graph: Graph) -> Graph:
    """Open all subgraphs, also nested ones.

    Args:
        graph: parsed workflow file with lists `nodes` and `links`.

    Returns:
        A graph without active subgraphs; the given one is not changed.
    """
    known = {found["id"]: found for found in graph.get("definitions", {}).get("subgraphs", ())}
    nodes, links = list(graph["nodes"]), [list(link) for link in graph["links"] if link]
    while opened := next((n for n in nodes if n["type"] in known and not n.get("mode")), None):
        nodes.remove(opened)
        inner_nodes, inner_links = _Opened(opened, known[opened["type"]], links).content()
        nodes, links = nodes + inner_nodes, links + inner_links
    return {**graph, "nodes": nodes, "links": links}


class _Opened:
    """One subgraph node being opened; redirects the outer links that start at it."""

    def __init__(self, outer: Node, definition: Graph, links: list[Link]) -> None:
        self._outer, self._definition, self._links = outer, definition, links
        self._values = dict(zip(self._promoted(), outer.get("widgets_values") or (), strict=False))

    def content(self) -> tuple[list[Node], list[Link]]:
        """Inner nodes and links, renamed and joined with the outside."""
        links, constants = [], []
        for link in self._definition["links"]:
            source = self._inside(link["origin_id"], link["origin_slot"])
            if source is None and link["origin_slot"] in self._values:
                constants.append(self._constant(link["origin_slot"]))
                source = (constants[-1]["id"], 0)
            if link["target_id"] == OUTPUTS:
                self._redirect(link["target_slot"], source)
            elif source is not None:
                target = (self._name(link["target_id"]), link["target_slot"], link["type"])
                links.append([self._name(link["id"]), *source, *target])
        kept = {link[0] for link in links}
        return [self._node(node, kept) for node in self._definition["nodes"]] + constants, links

    def _name(self, inner: int | str) -> str:
        return f"{self._outer['id']}:{inner}"

    def _inside(self, node: int, output: int) -> tuple[Any, int] | None:
        """Where a link inside really starts; None: at an input that nothing is linked to."""
        if node != INPUTS:
            return self._name(node), output
        name = self._definition["inputs"][output]["name"]
        linked = [s["link"] for s in self._outer.get("inputs") or () if s["name"] == name]
        return next(((link[1], link[2]) for link in self._links if link[0] in linked), None)

    def _promoted(self) -> list[int]:
        """Inputs of the subgraph that show a widget, in the order in which values are stored."""
        nodes = {node["id"]: node for node in self._definition["nodes"]}
        shown = set()
        for link in self._definition["links"]:
            if link["origin_id"] == INPUTS and link["target_id"] in nodes:
                socket = nodes[link["target_id"]]["inputs"][link["target_slot"]]
                shown |= {link["origin_slot"]} if socket.get("widget") else set()
        return sorted(shown)

    def _constant(self, slot: int) -> Node:
        name = self._name(f"input {slot}")
        return {"id": name, "type": PRIMITIVE, "widgets_values": [self._values[slot]]}

    def _redirect(self, output: int, source: tuple[Any, int] | None) -> None:
        for link in self._links:
            if (link[1], link[2]) == (self._outer["id"], output) and source is not None:
                link[1], link[2] = source

    def _node(self, node: Node, kept: set[str]) -> Node:
        sockets = [
            {**socket, "link": name if (name := self._name(socket.get("link"))) in kept else None}
            for socket in node.get("inputs") or ()
        ]
        return {**node, "id": self._name(node["id"]), "inputs": sockets}
