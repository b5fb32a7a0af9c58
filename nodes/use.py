"""Sample with a solver: as SAMPLER and SIGMAS, or as a patch of a MODEL."""

from __future__ import annotations

from comfy_api.latest import io

from ..presets.preset import Preset
from .comfy_bridge.apply import as_sampler, as_sigmas, rest_of, use_preset
from .comfy_bridge.console import say
from .comfy_bridge.model import facts
from .matching import verdict
from .said import Said, spoken
from .types import CATEGORY, KEPT, solver_input


class SolverSampler(io.ComfyNode):
    """SOLVER -> SAMPLER, SIGMAS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode."""
        return io.Schema(
            node_id="SolverSearch_Sampler",
            display_name="Solver Sampler",
            category=CATEGORY,
            description="Turns a solver into a sampler and its sigmas, for SamplerCustom and "
                        "SamplerCustomAdvanced. Connect both. The sigmas may be split: the "
                        "sampler finds its steps by noise level. With a scheduler's sigmas "
                        "instead it works between their first and last, for image to image.",
            search_aliases=["fast sampler", "solver sigmas"],
            inputs=[solver_input(),
                    io.Int.Input("steps", default=0, min=0, max=64, advanced=True, optional=True,
                                 tooltip="Which member of a family of presets to take. 0 takes "
                                         "the preset itself."),
                    io.Float.Input("denoise", default=1.0, min=0.01, max=1.0, step=0.01,
                                   advanced=True, optional=True,
                                   tooltip="For image to image: all steps are laid into this "
                                           "last share of the way. Below 1 connect the model."),
                    io.Model.Input("model", optional=True,
                                   tooltip="Only needed with denoise below 1.")],
            outputs=[io.Sampler.Output(tooltip="The sampler. Use it with the sigmas below."),
                     io.Sigmas.Output(tooltip="The noise levels of the solver's steps.")],
            **KEPT,
        )

    @classmethod
    @spoken
    def execute(cls, solver: Preset, steps: int = 0, denoise: float = 1.0,
                model: io.Model.Type | None = None) -> io.NodeOutput:
        """See io.ComfyNode."""
        chosen = solver.member(steps)
        if denoise < 1 and model is None:
            raise ValueError("Solver Sampler needs the model to know where a denoise of "
                             f"{denoise:g} begins. Connect it, or set denoise to 1.")
        sigmas = as_sigmas(chosen.solver) if denoise >= 1 else rest_of(chosen, model, denoise)
        said = _said(chosen, model)
        say(said)
        return io.NodeOutput(as_sampler(chosen), sigmas, ui=said.ui())


class UseSolver(io.ComfyNode):
    """MODEL -> MODEL that any sampler node samples with the solver."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode."""
        return io.Schema(
            node_id="SolverSearch_Use",
            display_name="Use Solver",
            category=CATEGORY,
            description="Makes every KSampler behind it use the solver. The KSampler's own "
                        "sampler, scheduler and steps are then not used; its seed, CFG, prompts "
                        "and denoise are. Of solvers searched for several steps its steps pick "
                        "one. With denoise below 1 all steps are laid into the rest "
                        "of the way.",
            search_aliases=["fast", "few steps", "fast sampler", "speed", "quick", "lightning",
                            "turbo", "accelerate", "schedule", "ksampler solver",
                            "apply solver"],
            inputs=[io.Model.Input("model", tooltip="The model to sample."), solver_input()],
            outputs=[io.Model.Output(tooltip="Connect this to a KSampler.")],
            **KEPT,
        )

    @classmethod
    @spoken
    def execute(cls, model: io.Model.Type, solver: Preset) -> io.NodeOutput:
        """See io.ComfyNode."""
        used, said = use_preset(model, solver), _said(solver, model)
        say(said)
        return io.NodeOutput(used, ui=said.ui())


def _said(preset: Preset, model: io.Model.Type | None) -> Said:
    """How the preset suits the model, where there is one, and which it is."""
    named = f"{preset.info.name} ({preset.solver.nfe} steps, id {preset.id})"
    if model is None:
        return Said(f"{preset.solver.nfe} steps of '{preset.info.name}'.", details=(named,))
    suits = verdict(preset, facts(model))
    return Said(suits.verdict, suits.warnings, (*suits.details, named))
