"""Which SAMPLER objects a solver may take the place of, and what each is called.

Only ComfyUI's own plain samplers are replaced: those in its menus, whose function is its own.
A sampler of another pack, one that continues a video (ar_video) or works on parts of a picture
(LCM upscale) does more than integrate, and one of the CFG++ kind changes the guidance itself.
Those stay. One that carries a plain sampler and changes what it sees (Detail Daemon) keeps its
place, and the solver takes that of the sampler inside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.samplers

from .builtin import GUIDANCE, NOISE, why_left_out, why_unfit
from .dropdown import NAME as OURS

Sampler = comfy.samplers.KSAMPLER
OWN_MODULES = ("comfy.samplers", "comfy.k_diffusion.", "comfy.extra_samplers.")
FUNCTION = "sample_solver_search"  # of ours; see apply.py


@dataclass(frozen=True)
class Place:
    """Where a solver may stand in a SAMPLER.

    Args:
        name: of the plain sampler that it takes the place of, "" if there is none.
        noisy: whether that one adds noise.
        inside: name of the outermost sampler around it, "" if there is none.
        path: options, from the outermost sampler inwards, behind which the plain one lies.
        why_not: why the sampler stays as it is, "" if it need not.
    """

    name: str = ""
    noisy: bool = False
    inside: str = ""
    path: tuple[str, ...] = ()
    why_not: str = ""

    def put(self, sampler: Sampler, ours: Sampler) -> Sampler:
        """`sampler` with ours in this place; the original is not changed."""
        return sampler if self.why_not else _put(sampler, ours, self.path)


def place_in(sampler: object) -> Place:
    """Where a solver may stand in any SAMPLER object."""
    if type(sampler) is not Sampler:  # a subclass has a way of its own
        return Place(why_not=f"{type(sampler).__name__} is not one of ComfyUI's plain samplers")
    name, called = plain_name(sampler), _called(sampler.sampler_function)
    if name and changes_guidance(name):
        return Place(why_not=f"{name} changes the guidance itself, which a solver does not")
    if name:
        return Place(name, adds_noise(name) and _still_noisy(sampler))
    if called == FUNCTION:
        return Place(why_not="the sampler connected is a solver already")
    return _place_inside(sampler, called)


def _place_inside(sampler: Sampler, called: str) -> Place:
    """In a sampler that carries a plain one among its options."""
    for option, inner in sampler.extra_options.items():
        found = place_in(inner) if isinstance(inner, Sampler) else Place()
        if found.name:
            return Place(found.name, found.noisy, called, (option, *found.path))
    return Place(why_not=f"{called} is more than one of ComfyUI's plain samplers")


def _put(sampler: Sampler, ours: Sampler, path: tuple[str, ...]) -> Sampler:
    if not path:
        return Sampler(ours.sampler_function, ours.extra_options, sampler.inpaint_options)
    option, *rest = path
    inner = _put(sampler.extra_options[option], ours, tuple(rest))
    return Sampler(sampler.sampler_function, {**sampler.extra_options, option: inner},
                   sampler.inpaint_options)


def plain_name(sampler: Sampler) -> str:
    """Name in ComfyUI's menus, if its function is ComfyUI's own (or our menu entry), else ""."""
    wanted = _identity(sampler.sampler_function)
    for name in comfy.samplers.SAMPLER_NAMES:
        function = comfy.samplers.sampler_object(name).sampler_function
        if _identity(function) == wanted and (name == OURS or _is_own(function)):
            return name
    return ""


def changes_guidance(name: str) -> bool:
    """Whether a sampler of ComfyUI's menus is of the CFG++ kind (arXiv 2406.08070)."""
    return why_left_out(name) == GUIDANCE


def adds_noise(name: str) -> bool:
    """Whether a sampler of ComfyUI's menus is stochastic as the menu makes it; those that change
    the guidance do not count."""
    return why_left_out(name) == NOISE


def _still_noisy(sampler: Sampler) -> bool:
    """Whether a node's options have left the noise on, tried only where there are any."""
    return not sampler.extra_options or why_unfit(sampler) == NOISE


def _identity(function: Callable[..., Any]) -> object:
    """What two functions share that ComfyUI makes anew for each sampler object."""
    return getattr(function, "__code__", function) if "<locals>" in getattr(
        function, "__qualname__", "") else function


def _is_own(function: Callable[..., Any]) -> bool:
    return getattr(function, "__module__", "").startswith(OWN_MODULES)


def _called(function: Callable[..., Any]) -> str:
    if isinstance(function, functools.partial):
        return _called(function.func)
    return getattr(function, "__name__", type(function).__name__)
