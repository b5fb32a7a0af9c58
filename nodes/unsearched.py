"""What an eps or v model is offered where no preset fits: a table that needs no search."""

from __future__ import annotations

from ..presets.preset import Preset, PresetInfo
from ..solver_search.schedules import bent
from ..solver_search.tableaus import flow_ab2
from .comfy_bridge.model import ModelFacts
from .version import VERSION

METHOD = "unsearched"
BEND = 0.7  # of solver_search.schedules.BENDS
STEPS = (8, *range(4, 8), *range(9, 25))  # the members of the family, the preset itself first
WORTH = ("This table suits such models in general and was made without a search. On a small eps "
         "model its error was 0.98 to 1.19 times that of the best built-in sampler and scheduler "
         "at 5 and 6 steps, and 1.28 (CFG 3) and 1.86 times (CFG 1) at 10 steps, on 64 seeds. A "
         "search gives more: use Search Solver.")
NOTES = ("flow_ab2: Adams-Bashforth of order 2 in the coordinates of a flow model (after A-FloPS, "
         "arXiv 2509.00036), on steps even there but for a bend of 0.7. Made for the noise levels "
         "of the model, without a model call.")


def unsearched(model: ModelFacts, steps: int) -> Preset:
    """The table for this model's noise levels.

    Args:
        model: of prediction eps or v.
        steps: as many; 0 gives the preset siblings for other numbers of steps.
    """
    first, *others = [_member(model, count) for count in ((steps,) if steps else STEPS)]
    return Preset(first.solver, first.info, tuple(others))


def _member(model: ModelFacts, steps: int) -> Preset:
    solver = flow_ab2(bent(steps, model.sigma_max, BEND), flow=False)
    return Preset(solver, PresetInfo(
        name=f"Unsearched {model.family} {steps} steps"[:80], prediction=model.prediction,
        notes=NOTES, family=model.family, latent_channels=model.latent_channels,
        sigma_min=model.sigma_min, sigma_max=model.sigma_max, method=METHOD,
        tool_version=VERSION))
