"""The pin of the automatic entry: what the same workflow takes again.

The page writes the id of what was taken into the node, so to ComfyUI the next prompt is another
one, and it would sample once more for the same picture. A pin that names what the empty pin took
is therefore emptied when a prompt arrives, and travels beside it: the node heeds it all the same,
and ComfyUI finds its results again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

AUTOMATIC = "(best for the connected model)"
LOAD = "SolverSearch_Load"
BESIDE = "solver_search_pins"  # in a prompt's extra data: node id -> pin
MOST = 256
PIN_PLACE = 2  # of the pin among the values of the node's widgets
Json = dict[str, Any]


@dataclass
class Choices:
    """What the empty pin took, by the node and by what its choice depends on.

    Args:
        most: how many are kept; the oldest are forgotten first.
    """

    most: int = MOST
    taken: OrderedDict[tuple[str, str], str] = field(default_factory=OrderedDict)

    def keep(self, node: str, basis: str, pin: str) -> None:
        """The empty pin took this one."""
        self.taken.pop((node, basis), None)
        self.taken[node, basis] = pin
        while len(self.taken) > self.most:
            self.taken.popitem(last=False)

    def took(self, node: str, basis: str) -> str:
        """What the empty pin took there; "": it was not asked yet."""
        return self.taken.get((node, basis), "")

    def has_taken(self, node: str, pin: str) -> bool:
        """Whether the empty pin ever took this one on a node."""
        return any(key[0] == node and value == pin for key, value in list(self.taken.items()))


CHOICES = Choices()


def set_aside(request: Json, choices: Choices = CHOICES) -> Json:
    """A request to run a prompt, with the pins that the empty one took anyway beside it."""
    prompt = request.get("prompt")
    for node, inputs in _automatic(prompt if isinstance(prompt, dict) else {}):
        pin = inputs.get("pin")
        if isinstance(pin, str) and pin and choices.has_taken(node, pin):
            inputs["pin"] = ""
            request.setdefault("extra_data", {}).setdefault(BESIDE, {})[node] = pin
    return request


def _automatic(prompt: Json) -> list[tuple[str, Json]]:
    """The nodes that choose by themselves."""
    named = [(name, node) for name, node in prompt.items() if isinstance(node, dict)]
    return [(name, node["inputs"]) for name, node in named if node.get("class_type") == LOAD
            and isinstance(node.get("inputs"), dict) and node["inputs"].get("preset") == AUTOMATIC]


def pin_of(pin: str, node: str | None, extra: Json) -> str:
    """The pin a node heeds: its own, or the one that travels beside the prompt."""
    beside = extra.get(BESIDE)
    return pin or (str(beside.get(node, "")) if isinstance(beside, dict) else "")


def write_pin(info: Json | None, node: str | None, pin: str) -> None:
    """Put the pin into the workflow that pictures of this run will carry.

    Args:
        info: what ComfyUI writes into pictures.
        node: "3", or "5:3" for node 3 in the subgraph of node 5.
        pin: id of what was taken.
    """
    workflow = info.get("workflow") if isinstance(info, dict) else None
    found = _node_in(workflow, str(node).split(":")) if isinstance(workflow, dict) else None
    values = (found or {}).get("widgets_values")
    if isinstance(values, list) and len(values) > PIN_PLACE and values[0] == AUTOMATIC:
        values[PIN_PLACE] = pin
    named = (found or {}).get("widgets_values_named")
    if isinstance(named, dict) and named.get("preset") == AUTOMATIC:
        named["pin"] = pin


def _node_in(workflow: Json, path: list[str]) -> Json | None:
    definitions = workflow.get("definitions")
    inside = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    graph: Json | None = workflow
    found = None
    for step in path:
        nodes = _objects(graph.get("nodes")) if graph is not None else []
        found = next((node for node in nodes if str(node.get("id")) == step), None)
        graph = next((one for one in _objects(inside) if found is not None
                      and one.get("id") == found.get("type")), None)
    return found


def _objects(value: object) -> list[Json]:
    """The objects in a list of a foreign file."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
