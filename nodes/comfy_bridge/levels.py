"""What noise levels ask of a preset: which of a family, which part, and whether it can."""

from __future__ import annotations

import comfy.samplers
import torch
from torch import Tensor, nn

from ...presets.preset import Preset
from ...solver_search.part import Part, part_of
from ...solver_search.solver import Solver, SolverError
from .model import prediction, time

RANGE_TOLERANCE = 0.01  # published tables round sigma_max to three digits
SAME_LEVELS = 1e-4  # sigmas pass through float32 and through other nodes' arithmetic
SHORT_OF_TOP = "ddim_uniform"  # the one scheduler whose whole list may begin far below sigma_max


class MismatchError(ValueError):
    """A preset meets a model or noise levels it cannot serve; the message says which and why."""


def as_sigmas(solver: Solver) -> Tensor:
    """SIGMAS of a solver, float32."""
    return solver.sigmas.float()


def found_for(preset: Preset, ms: nn.Module, sigmas: Tensor, *, movable: bool = False,
              empty: bool = False) -> tuple[Preset, Part]:
    """The member of the preset's family, and its part, that do what a sampler was asked for.

    Args:
        ms: the model's model_sampling.
        sigmas: (n + 1,) asked for.
        movable: whether the way may begin elsewhere than asked: the noise is not added yet.
        empty: whether it begins at no picture, so that only the whole way makes sense.

    Raises:
        MismatchError: wrong kind of model, levels that no solver goes along, or a part that this
            preset cannot do.
    """
    _check_levels(sigmas, ms)
    steps = whole_list_steps(ms, sigmas, trimmed=movable and empty)
    chosen = preset.member(steps or len(sigmas) - 1, float(sigmas[0]))
    check_model(chosen, ms)
    asked = _meant(chosen, sigmas, movable=movable) if steps else sigmas
    try:
        return chosen, part_of(chosen.solver, asked, time(ms))
    except SolverError as error:
        raise MismatchError(f"'{chosen.info.name}' cannot sample this: {error}") from error


def whole_list_steps(ms: nn.Module, sigmas: Tensor, *, trimmed: bool = False) -> int:
    """Steps of ddim_uniform whose whole list this is, as its node counts them; 0: it is not.

    That list has a step more than was asked for, or begins well below sigma_max: at 5 steps of
    SD1.5 at 5.2 of 14.6. Both mean the whole way to the person who chose it.

    Args:
        trimmed: also know the list that BasicScheduler cuts to as many steps as were asked for;
            a KSampler's denoise a little below 1 gives the same one.
    """
    asked = sigmas.detach().float().cpu()
    for steps in range(len(asked), 0, -1):
        whole = _ddim_uniform(ms, steps)
        if len(whole) < len(asked):
            return 0
        dropped = torch.cat([whole[:-2], whole[-1:]])  # as KSampler does for uni_pc and dpm_2
        lists = [(whole, steps), (dropped, steps - 1)]
        lists += [(whole[-(steps + 1):], steps)] if trimmed else []
        for found, meant in lists:
            if len(found) == len(asked) and torch.allclose(found, asked, rtol=SAME_LEVELS):
                return meant
    return 0


def _ddim_uniform(ms: nn.Module, steps: int) -> Tensor:
    """ComfyUI's list; empty for models without a list of levels of their own."""
    if not hasattr(ms, "sigmas"):
        return torch.zeros(0)
    return comfy.samplers.calculate_sigmas(ms, SHORT_OF_TOP, steps).float().cpu()


def _meant(preset: Preset, sigmas: Tensor, *, movable: bool) -> Tensor:
    """The whole way with the preset's own steps, from its own top if that may be moved to."""
    if movable and not preset.partial:
        return preset.solver.sigmas
    return torch.linspace(float(sigmas[0]), 0, preset.solver.steps + 1, dtype=torch.float64)


def _check_levels(sigmas: Tensor, ms: nn.Module) -> None:
    first, last, top = float(sigmas[0]), float(sigmas[-1]), float(ms.sigma_max)
    if last > first:
        raise MismatchError(f"The noise levels rise, from {first:.4g} to {last:.4g}: this turns a "
                            "picture back into noise (unsampling), which a solver does not do. "
                            "Connect that sampler to the model from before Use Solver, or give "
                            "it a sampler of ComfyUI such as euler.")
    if first > top * (1 + RANGE_TOLERANCE):
        raise MismatchError(f"The noise levels begin at {first:.4g}, above this model's highest, "
                            f"{top:.4g}: a solver has no steps there. Take out the node that "
                            "sets the first sigma, or connect the sampler to the model from "
                            "before Use Solver.")


def check_model(preset: Preset, ms: nn.Module) -> None:
    """Refuse a model of the other kind or with another noise range.

    Raises:
        MismatchError: says which, and what to do.
        UnsuitableModelError: the model has no noise levels to place.
    """
    flow = prediction(ms) == "flow"
    if flow != preset.solver.flow:
        names = {True: "a flow model (such as SD3 or Flux)",
                 False: "an eps or v model (such as SD1.5 or SDXL)"}
        raise MismatchError(f"This solver is for {names[preset.solver.flow]}, but the connected "
                            f"model is {names[flow]}. Pick a preset that matches the model, or "
                            "search one with the Search Solver node.")
    top, made_for = float(ms.sigma_max), preset.top
    if abs(made_for - top) > RANGE_TOLERANCE * top:
        raise MismatchError(f"This solver is for noise from sigma {made_for:.4g}, but the "
                            f"connected model's noise starts at {top:.4g}; it was made for "
                            "another noise schedule. Pick a preset for this model, or search "
                            "one.")
