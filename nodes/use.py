"""Sample with a solver: as SAMPLER and SIGMAS, or as a patch of a MODEL."""

from __future__ import annotations

from comfy_api.latest import io

from ..presets.preset import Preset
from .comfy_bridge.apply import as_sampler, as_sigmas, use_solver
from .types import CATEGORY, solver_input


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
                        "SamplerCustomAdvanced. Connect both: they belong together.",
            search_aliases=["fast sampler", "solver sigmas"],
            inputs=[solver_input()],
            outputs=[io.Sampler.Output(tooltip="The sampler. Use it with the sigmas below."),
                     io.Sigmas.Output(tooltip="The noise levels of the solver's steps.")],
        )

    @classmethod
    def execute(cls, solver: Preset) -> io.NodeOutput:
        """See io.ComfyNode."""
        return io.NodeOutput(as_sampler(solver.solver, solver.info.guidance),
                             as_sigmas(solver.solver))


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
                        "sampler, scheduler and steps are then not used; its seed, CFG and "
                        "prompts are.",
            search_aliases=["fast sampler", "ksampler solver", "apply solver"],
            inputs=[io.Model.Input("model", tooltip="The model to sample."), solver_input()],
            outputs=[io.Model.Output(tooltip="Connect this to a KSampler.")],
        )

    @classmethod
    def execute(cls, model: io.Model.Type, solver: Preset) -> io.NodeOutput:
        """See io.ComfyNode."""
        return io.NodeOutput(use_solver(model, solver.solver, solver.info.guidance))
