"""Who samples: ComfyUI's own euler, a preset of ours, or the formula outside both.

A way of sampling asks for a MODEL (with which a KSampler does it), or for a SAMPLER and its noise
levels (for SamplerCustom and its kin), and never knows which of the three it got.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from tests.pack import load

from .families import Subject
from .formula import FormulaSampler, Shapes, part, sampled_by_the_formula
from .media import shapes_of
from .searched import STEPS, simple

Make = Callable[[Subject, int, float], Any]  # (subject, steps, denoise) -> preset


class Who(Protocol):
    """What a way of sampling asks for."""

    def model(self, subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
        """The MODEL for a KSampler with sampler "euler"."""

    def sampler(self, subject: Subject) -> Any:  # noqa: ANN401
        """The SAMPLER."""

    def sigmas(self, subject: Subject) -> Tensor:
        """SIGMAS to go with it."""


class Own:
    """ComfyUI's euler, nothing of ours."""

    def model(self, subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
        return subject.model

    def sampler(self, subject: Subject) -> Any:  # noqa: ANN401
        return comfy_euler()

    def sigmas(self, subject: Subject) -> Tensor:
        return simple(subject)


@dataclass(frozen=True)
class Ours:
    """A preset: Use Solver patches the model, Solver Sampler gives the sampler."""

    make: Make

    def model(self, subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
        preset = self.make(subject, steps, denoise)
        return load("nodes.comfy_bridge.apply").use_preset(subject.model, preset)

    def sampler(self, subject: Subject) -> Any:  # noqa: ANN401
        return load("nodes.comfy_bridge.apply").as_sampler(self.make(subject, STEPS, 1.0))

    def sigmas(self, subject: Subject) -> Tensor:
        return self.make(subject, STEPS, 1.0).solver.sigmas.float()


@dataclass(frozen=True)
class Plain:
    """The same preset, by the formula.

    Args:
        find: (preset) -> how the solver for asked noise levels is found.
    """

    make: Make
    find: Callable[[Any], Callable[[Tensor, Any], Any]] = part

    def model(self, subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
        found = self.find(self.make(subject, steps, denoise))
        return sampled_by_the_formula(subject.model, found, self._shapes(subject))

    def sampler(self, subject: Subject) -> Any:  # noqa: ANN401
        return FormulaSampler(self.find(self.make(subject, STEPS, 1.0)), self._shapes(subject))

    def sigmas(self, subject: Subject) -> Tensor:
        return Ours(self.make).sigmas(subject)

    def _shapes(self, subject: Subject) -> Shapes:
        return shapes_of(subject.latent)


def comfy_euler() -> Any:  # noqa: ANN401
    """ComfyUI's SAMPLER."""
    import comfy.samplers

    return comfy.samplers.sampler_object("euler")
