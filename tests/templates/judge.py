"""Which path a sampler node, and a whole template, has with a solver."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from launch.workflow import Graph
from tests.pack import load

from .installed import is_api
from .remarks import DISTILLED, MEANING, STAYS, remarks_on
from .sampling import Asked, asked
from .walk import Walk, holds_a_sampler, walk

NONE, USE, BOTH = "none", "Use Solver", "Use Solver or Solver Sampler"
MADE_FOR = {"LotusConditioning": "Lotus"}  # a node and the comfy.model_base class it is for


@dataclass(frozen=True)
class Sampling:
    """One sampler node and what a solver can do there.

    Args:
        name: of its sampler, or of the node that makes it.
        asked: what the node asks for.
        why_not: why the sampler stays, "" if a solver may take its place.
        remarks: keys of MEANING.
    """

    name: str
    asked: Asked
    why_not: str = ""
    remarks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """One template.

    Args:
        path: NONE, USE or BOTH.
        why: why there is none, or why one of its samplers stays; else "".
        samplings: its sampler nodes.
    """

    path: str
    why: str = ""
    samplings: tuple[Sampling, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """Keys of MEANING, in its order; none without a path."""
        if self.path == NONE:
            return []
        held = set().union(*(one.remarks for one in self.samplings))
        held |= {DISTILLED} if all(one.asked.distilled for one in self.samplings) else set()
        held |= {STAYS} if self.why else set()
        return [key for key in MEANING if key in held]


def judge(graph: Graph) -> Verdict:
    """What a solver can do in a workflow."""
    opened = walk(graph)
    found = tuple(sampling(opened, node) for node in opened.samplers())
    if not found:
        return Verdict(NONE, _why_no_sampler(opened, graph))
    why = "; ".join(dict.fromkeys(one.why_not for one in found if one.why_not))
    return Verdict(_path([one for one in found if not one.why_not]), why, found)


def sampling(opened: Walk, node: str) -> Sampling:
    """What a solver can do at one sampler node."""
    samplers, wanted = load("nodes.comfy_bridge.samplers"), asked(opened, node)
    if wanted.sampler is None:
        return Sampling(wanted.maker, wanted, wanted.unmade)
    name = isinstance(wanted.sampler, samplers.Sampler) and samplers.plain_name(wanted.sampler)
    place = samplers.place_in(wanted.sampler)
    why = _unsuited(opened, node) or place.why_not
    if not why:
        return Sampling(place.inside or place.name, wanted, "",
                        remarks_on(opened, node, wanted, place.name))
    return Sampling(name or wanted.maker, wanted, why if name else f"{wanted.maker}: {why}")


def _path(served: Sequence[Sampling]) -> str:
    if not served:
        return NONE
    return BOTH if all(one.asked.sockets for one in served) else USE


def _unsuited(opened: Walk, node: str) -> str:
    """Why the model itself cannot take a solver, where a node tells which model it is."""
    for one in opened.before(node, "CONDITIONING", "GUIDER"):
        name = MADE_FOR.get(opened.kind(one))
        if name and (refused := _refusal(name)):
            return f"{name}: {refused}"
    return ""


def _refusal(name: str) -> str:
    """What the model's kind is refused with, "" if it is not."""
    import comfy.model_base as base

    model = load("nodes.comfy_bridge.model")
    kind = inspect.signature(getattr(base, name)).parameters["model_type"].default
    try:
        model.prediction(base.model_sampling(SimpleNamespace(sampling_settings={}), kind))
    except model.UnsuitableModelError as error:
        return str(error)
    return ""


def _why_no_sampler(opened: Walk, graph: Graph) -> str:
    if holds_a_sampler(graph):
        return "its sampler is switched off (bypassed or muted) in the file"
    if any(is_api(opened.kind(node)) for node in opened.prompt):
        return "API nodes, which sample elsewhere"
    return "no sampler"
