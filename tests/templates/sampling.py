"""What one sampler node of a template asks for, read from its widgets and from what it follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .walk import UnknownValueError, Walk, has_sockets

FEW_STEPS, MANY_STEPS = 4, 10  # distilled models' ground; above the second a search has most room


@dataclass(frozen=True)
class Asked:
    """What a sampler node asks for; None where nobody knows before the workflow runs.

    Args:
        sampler: the SAMPLER object as ComfyUI makes it; None if `unmade` says why it is not.
        maker: the node or name it comes from, as the artist reads it.
        unmade: why there is no object, "" if there is one.
        steps: of the whole list of noise levels, before any split.
        cfg: scale; the larger of two; 1 where there is none.
        denoise: share of the way.
        scheduler: name, "" where noise levels come otherwise.
        levels: type of the node that makes the noise levels, "" for a KSampler.
        sockets: whether Solver Sampler can be connected.
    """

    sampler: object | None
    maker: str
    unmade: str
    steps: int | None
    cfg: float | None
    denoise: float | None
    scheduler: str
    levels: str
    sockets: bool

    @property
    def distilled(self) -> bool:
        """Few steps without guidance."""
        return self.cfg == 1 and self.steps is not None and self.steps <= FEW_STEPS

    @property
    def roomy(self) -> bool:
        """Guidance and many steps: what a search shortens most."""
        return bool(self.cfg and self.cfg > 1 and self.steps and self.steps > MANY_STEPS)


def asked(walk: Walk, node: str) -> Asked:
    """Read a sampler node."""
    sockets = has_sockets(walk.kind(node))
    at = first_levels(walk, node) if sockets else node
    sampler, maker, unmade = (_connected if sockets else _named)(walk, node)
    return Asked(sampler, maker, unmade, _steps(walk, at), _cfg(walk, node),
                 _known(walk, at, "denoise", 1.0), _known(walk, at, "scheduler", "") or "",
                 walk.kind(at) if sockets and at else "", sockets)


def first_levels(walk: Walk, node: str) -> str:
    """The node that makes the list of noise levels which reaches this one, split or not."""
    while found := walk.maker(node, "sigmas"):
        node = found
    return node


def _named(walk: Walk, node: str) -> tuple[object | None, str, str]:
    """SAMPLER object of a node with a menu."""
    import comfy.samplers

    try:
        name = walk.value(node, "sampler_name")
    except UnknownValueError as error:
        return None, walk.kind(node), f"its sampler is chosen when it runs: {error}"
    if name not in comfy.samplers.SAMPLER_NAMES:
        return None, str(name), f"{name} is not in ComfyUI's menu"
    return comfy.samplers.sampler_object(name), name, ""


def _connected(walk: Walk, node: str) -> tuple[object | None, str, str]:
    """SAMPLER object of a node with a socket."""
    found = walk.maker(node, "sampler")
    maker = walk.kind(found) if found else "nothing"
    try:
        return walk.value(node, "sampler"), maker, ""
    except UnknownValueError as error:
        return None, maker, f"its sampler is not known before it runs: {error}"


def _steps(walk: Walk, node: str) -> int | None:
    """Steps of a list: as its node says, else as many as the list has."""
    if "steps" in walk.prompt[node]["inputs"]:
        steps = _known(walk, node, "steps", None)
        return None if steps is None else int(steps)
    try:
        return len(walk.made(node)) - 1
    except UnknownValueError:
        return None


def _cfg(walk: Walk, node: str) -> float | None:
    """Scale of a sampler node, or of its guider; some guiders have two, some none."""
    at = walk.maker(node, "guider") or node
    scales = [_known(walk, at, name, None) for name in walk.prompt[at]["inputs"]
              if name.startswith("cfg")]
    if None in scales:
        return None
    return float(max(scales, default=1.0))


def _known(walk: Walk, node: str, name: str, missing: Any) -> Any:  # noqa: ANN401
    """A value; `missing` where the node has no such input, None where it is not known yet."""
    if name not in walk.prompt[node]["inputs"]:
        return missing
    try:
        return walk.value(node, name)
    except UnknownValueError:
        return None
