"""What a model is offered where no preset fits: a table that needs no search."""

from __future__ import annotations

from ..presets.preset import Preset, PresetInfo
from ..solver_search.clocks import flow_clock
from ..solver_search.schedules import bent, beta_times
from ..solver_search.solver import Solver
from ..solver_search.tableaus import euler, flow_ab2
from .comfy_bridge.model import ModelFacts
from .version import VERSION

METHOD = "unsearched"
BEND = 0.7  # of solver_search.schedules.BENDS
STEPS = (8, *range(4, 8), *range(9, 25))  # the members of the family, the preset itself first
WORTH = ("This table suits such models in general and was made without a search. On a small eps "
         "model its error was 0.98 to 1.19 times that of the best built-in sampler and scheduler "
         "at 5 and 6 steps, and 1.28 (CFG 3) and 1.86 times (CFG 1) at 10 steps, on 64 seeds. A "
         "search gives more: use Search Solver.")
WORTH_FLOW = ("This is the ordinary euler with beta steps at the model's own shift, which a "
              "KSampler has, too. A search gives more: use Search Solver.")
NOTES_FLOW = ("euler on steps of ComfyUI's beta schedule at the model's shift, made without a "
              "model call.")
NOTES = ("flow_ab2: Adams-Bashforth of order 2 in the coordinates of a flow model (after A-FloPS, "
         "arXiv 2509.00036), on steps even there but for a bend of 0.7. Made for the noise levels "
         "of the model, without a model call.")


def worth(flow: bool) -> str:
    """What the table is worth, and what to do for more."""
    return WORTH_FLOW if flow else WORTH


def unsearched(model: ModelFacts, steps: int) -> Preset:
    """The table for this model's noise levels.

    Args:
        model: of any prediction.
        steps: as many; 0 gives the preset siblings for other numbers of steps.
    """
    first, *others = [_member(model, count) for count in ((steps,) if steps else STEPS)]
    return Preset(first.solver, first.info, tuple(others))


def _member(model: ModelFacts, steps: int) -> Preset:
    solver = (_on_flow(model, steps) if model.flow
              else flow_ab2(bent(steps, model.sigma_max, BEND), flow=False))
    return Preset(solver, PresetInfo(
        name=f"Unsearched {model.family} {steps} steps"[:80], prediction=model.prediction,
        notes=NOTES_FLOW if model.flow else NOTES, family=model.family, shift=model.shift,
        latent_channels=model.latent_channels, sigma_min=model.sigma_min,
        sigma_max=model.sigma_max, method=METHOD, tool_version=VERSION))


def _on_flow(model: ModelFacts, steps: int) -> Solver:
    clock = flow_clock(model.shift or 1.0)
    return euler(clock.sigma(beta_times(steps)) * model.sigma_max, flow=True)
