"""A template as the prompt the server would run, and the questions asked of it.

Subgraphs, Reroutes, PrimitiveNodes and bypassed nodes are resolved by `launch.workflow`. What is
left are nodes that make plain values (PrimitiveInt, switches, arithmetic) and samplers: these are
run, each by ComfyUI's own class. Nothing that needs a model, a picture or a network is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from launch.subgraphs import flatten
from launch.workflow import Graph, to_prompt

from .installed import described, is_api, is_v3, node_classes

PLAIN = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_MATCHTYPE_V3", "SAMPLER",
                   "SIGMAS"})
NAMED = frozenset({"sampler_name", "latent_image"})  # KSampler and its kin
SOCKETS = frozenset({"sampler", "sigmas", "latent_image"})  # SamplerCustom and its kin


class UnknownValueError(LookupError):
    """A value that nobody knows before the workflow runs."""


@dataclass(frozen=True)
class Walk:
    """One template.

    Args:
        prompt: node -> {"class_type": ..., "inputs": ...}, as the server gets it.
    """

    prompt: dict[str, dict[str, Any]]

    def kind(self, node: str) -> str:
        """Type of a node."""
        return self.prompt[node]["class_type"]

    def samplers(self) -> list[str]:
        """Its sampler nodes."""
        return [node for node in self.prompt if is_sampler(self.kind(node))]

    def value(self, node: str, name: str) -> Any:  # noqa: ANN401 - whatever an input takes
        """What reaches an input.

        Raises:
            UnknownValueError: it is not known before the workflow runs.
        """
        inputs = self.prompt[node]["inputs"]
        if name not in inputs:
            raise UnknownValueError(f"{self.kind(node)} has no {name}.")
        given = inputs[name]
        if isinstance(given, list):
            return self.made(*given)
        return given["__value__"] if isinstance(given, dict) else given

    def origin(self, node: str, name: str) -> tuple[str, int] | None:
        """Node and output an input comes from, looking through switches; None: not linked."""
        link = self.prompt[node]["inputs"].get(name)
        if not isinstance(link, list):
            return None
        if chosen := self._chosen(link[0]):
            return self.origin(link[0], chosen)
        return link[0], link[1]

    def maker(self, node: str, name: str) -> str:
        """The node an input comes from, "" if nothing is linked."""
        return (self.origin(node, name) or ("", 0))[0]

    def before(self, node: str, *kinds: str) -> Iterator[str]:
        """All nodes that hand on something of these kinds (LATENT, MODEL, ...) to this one."""
        seen, waiting = {node}, [node]
        while waiting:
            at = waiting.pop()
            for name in self.prompt[at]["inputs"]:
                found, output = self.origin(at, name) or ("", 0)
                if found and found not in seen and self.gives(found, output) in kinds:
                    seen.add(found)
                    waiting.append(found)
                    yield found

    def gives(self, node: str, output: int) -> str:
        """Type of an output, "" if there is none."""
        given = _outputs(self.kind(node)) if node else []
        return given[output] if output < len(given) else ""

    def _chosen(self, node: str) -> str | None:
        """Input a switch takes; None if the node is none, or nobody knows yet."""
        kind = self.kind(node)
        if not _lazy(kind) or _outputs(kind) != ["COMFY_MATCHTYPE_V3"]:
            return None
        try:
            wanted = node_classes()[kind].check_lazy_status(**self._eager(node))
        except UnknownValueError:
            return None
        return next(iter(wanted or ()), None)

    def made(self, node: str, output: int = 0) -> Any:  # noqa: ANN401
        """An output of a node that makes plain values, by running it.

        Raises:
            UnknownValueError: it is no such node, or its own inputs are not known.
        """
        kind = self.kind(node)
        if not _is_plain(kind):
            raise UnknownValueError(f"{kind} makes it.")
        inputs = self._eager(node)
        if chosen := self._chosen(node):
            inputs |= dict.fromkeys(_lazy(kind)) | {chosen: self.value(node, chosen)}
        return _run(kind, inputs)[output]

    def _eager(self, node: str) -> dict[str, Any]:
        names = self.prompt[node]["inputs"].keys() - _lazy(self.kind(node))
        return {name: self.value(node, name) for name in names}


def walk(graph: Graph) -> Walk:
    """A workflow file, opened."""
    kinds = {node["type"] for node in flatten(graph)["nodes"]}
    return Walk(to_prompt(graph, {kind: described(kind) for kind in kinds}))


def is_sampler(kind: str) -> bool:
    """Whether nodes of this type sample."""
    names = set(_declared(kind))
    return NAMED <= names or SOCKETS <= names


def has_sockets(kind: str) -> bool:
    """Whether a sampler node takes a SAMPLER and SIGMAS from outside."""
    return SOCKETS <= set(_declared(kind))


def holds_a_sampler(graph: Graph) -> bool:
    """Whether a sampler lies anywhere in the file, running or not."""
    inside = [one["nodes"] for one in graph.get("definitions", {}).get("subgraphs", ())]
    return any(is_sampler(node["type"]) for nodes in (graph["nodes"], *inside) for node in nodes)


def _declared(kind: str) -> dict[str, Any]:
    groups = described(kind).get("input") or {}
    return {**(groups.get("required") or {}), **(groups.get("optional") or {})}


def _outputs(kind: str) -> list[str]:
    return [str(output) for output in described(kind).get("output") or ()]


def _lazy(kind: str) -> set[str]:
    return {name for name, spec in _declared(kind).items()
            if len(spec) > 1 and spec[1].get("lazy")}


def _is_plain(kind: str) -> bool:
    found = node_classes().get(kind)
    safe = found and not is_api(kind) and not getattr(found, "OUTPUT_NODE", False)
    return bool(safe and _outputs(kind) and set(_outputs(kind)) <= PLAIN)


def _run(kind: str, inputs: dict[str, Any]) -> tuple[Any, ...]:
    found = node_classes()[kind]
    try:
        if is_v3(found):
            return found.execute(**inputs).args
        return getattr(found(), found.FUNCTION)(**inputs)
    except (TypeError, ValueError, KeyError) as error:
        raise UnknownValueError(f"{kind} cannot be run: {error}") from error
