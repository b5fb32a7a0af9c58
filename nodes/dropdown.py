"""What "searched" means in a KSampler's own menus: the preset that suits the model best."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..presets.preset import Preset
from ..solver_search.part import placed
from .comfy_bridge.apply import as_sampler
from .comfy_bridge.console import say
from .comfy_bridge.dropdown import NAME, add_names, wanted
from .comfy_bridge.model import facts, flow_shift, plain_schedule, prediction, time
from .matching import RANGE_TOLERANCE, best_match
from .measured import all_figures
from .preset_nodes import all_presets


def register() -> None:
    """Add the names if the setting asks for them."""
    if wanted():
        add_names(sample_solver_search, schedule)


def sample_solver_search(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
                         extra_args: dict[str, Any] | None = None,
                         callback: Callable[[dict[str, Any]], None] | None = None,
                         disable: bool | None = None) -> Tensor:
    """The sampler "searched"; named as all of ours are, see apply.py.

    Raises:
        NoPresetError: when no preset is made for this kind of model.
    """
    patcher = model.inner_model.model_patcher
    best = best_match(list(all_presets().values()), facts(patcher), 0,
                      measured=all_figures())
    sampler = as_sampler(best)
    return sampler.sampler_function(model, x, sigmas, extra_args, callback, disable,
                                    **sampler.extra_options)


def schedule(ms: nn.Module, steps: int) -> Tensor:
    """The scheduler "searched": (steps + 1,) noise levels placed as the best preset's.

    A scheduler is not told the model, only its noise levels: the newest preset for these is
    taken, one with as many steps first. The sampler "searched" brings its own levels anyway.
    """
    fitting = [p for p in all_presets().values() if _fits(p, ms)]
    exact = [p for p in fitting if p.steps == steps]
    if not fitting:
        say(f"No preset has the noise levels of this model: the scheduler '{NAME}' gives "
            "'simple' instead.")
        return plain_schedule(ms, steps)
    chosen = (exact or fitting)[0].solver
    return placed(chosen, float(chosen.sigmas[0]), 0.0, steps, time(ms)).to(torch.float32)


def _fits(preset: Preset, ms: nn.Module) -> bool:
    shift = flow_shift(ms)
    own = preset.info.shift
    same = shift is None or own is not None and math.isclose(own, shift, rel_tol=1e-3)
    flow = preset.solver.flow == (prediction(ms) == "flow")
    top = math.isclose(preset.top, float(ms.sigma_max), rel_tol=RANGE_TOLERANCE)
    return flow and same and top and not preset.partial
