"""What the samplers behind a node will be asked for, read from the prompt before they run.

A prompt is `{node id: {"class_type", "inputs"}}`; an input is a value or a link
`[node id, output]`. From our node the links are followed downwards through everything that hands
on a model, a solver or a guider, to the first nodes that say how they sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Prompt = dict[str, Any]
DEEP = 64  # nodes in a row, at most
CARRIED = ("model", "solver", "guider", "sampler", "sigmas")  # inputs on the way to a sampler


@dataclass(frozen=True)
class Wish:
    """What is asked of a solver. None: nobody says, or several say different things.

    Args:
        cfg: guidance scale.
        steps: of the sampler node.
        pixels: width times height of the picture.
    """

    cfg: float | None = None
    steps: int | None = None
    pixels: float | None = None


def wish_behind(prompt: Prompt | None, node: str | None) -> Wish:
    """What the sampler nodes behind a node ask for.

    Args:
        prompt: as ComfyUI runs it; a foreign one may hold anything.
        node: id of the node, such as "5" or, in a subgraph, "5:3".
    """
    if not isinstance(prompt, dict) or node is None:
        return Wish()
    reached = _reached(prompt, str(node))
    inputs = [_inputs(prompt, name) for name in reached]
    return Wish(_one(prompt, inputs, "cfg"), _whole(_one(prompt, inputs, "steps")),
                _one_of([_pixels(prompt, one) for one in inputs]))


def _reached(prompt: Prompt, node: str) -> list[str]:
    """Nodes behind, in the order of their distance."""
    found, front = [], [node]
    for _ in range(DEEP):
        front = [name for name in prompt if name not in found and name != node
                 and any(_source(value) in front for key, value in _inputs(prompt, name).items()
                         if key.startswith(CARRIED) or _ours(prompt, name))]
        if not front:
            break
        found += front
    return found


def _inputs(prompt: Prompt, name: str) -> dict[str, Any]:
    node = prompt.get(name)
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _ours(prompt: Prompt, name: str) -> bool:
    return str(prompt[name].get("class_type", "")).startswith("SolverSearch_Use")


def _source(value: object) -> str | None:
    linked = isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)
    return str(value[0]) if linked else None


def _one(prompt: Prompt, inputs: list[dict[str, Any]], name: str) -> float | None:
    """The value of this name in the nodes that also sample, if they agree."""
    return _one_of([_number(prompt, one.get(name)) for one in inputs
                    if name == "cfg" or "cfg" in one])


def _one_of(values: list[float | None]) -> float | None:
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None


def _number(prompt: Prompt, value: object, deep: int = 4) -> float | None:
    """A literal, also one that a primitive node hands on."""
    source = _source(value)
    if source is not None:
        return _number(prompt, _inputs(prompt, source).get("value"), deep - 1) if deep else None
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _pixels(prompt: Prompt, inputs: dict[str, Any]) -> float | None:
    """Width times height of the empty latent that a sampler node begins with."""
    source = _source(inputs.get("latent_image", inputs.get("latent")))
    for _ in range(DEEP):
        if source is None:
            return None
        above = _inputs(prompt, source)
        sides = [_number(prompt, above.get(side)) for side in ("width", "height")]
        if sides[0] and sides[1]:
            return sides[0] * sides[1]
        source = next((found for key, value in above.items() if "latent" in key or key == "samples"
                       if (found := _source(value)) is not None), None)
    return None
