"""Make ComfyUI sample with a preset: as a SAMPLER object, or as a patch of a MODEL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...presets.preset import Preset
from ...solver_search.part import FALLBACK, Part, part_of, stretched
from ...solver_search.sample import sample
from ...solver_search.solver import Solver, SolverError
from .console import say
from .features import Probe
from .model import MODEL_SAMPLING, first_sigma, flow_shift, prediction, time

RANGE_TOLERANCE = 0.01  # published tables round sigma_max to three digits
WRAPPER_KEY = "solver-search"
GUIDANCE_RANGE = (0.5, 1.7)  # docs/decisions/guidance.md
LOW_SHARE = 0.4  # below it a search for the part won in every cell of benchmarks/results/parts.md
LOW_HINT = " At so low a denoise a preset searched for it does better: Search Solver's denoise."


class MismatchError(ValueError):
    """A preset meets a model or noise levels it cannot serve; the message says which and why."""


def as_sampler(preset: Preset) -> comfy.samplers.KSAMPLER:
    """SAMPLER object that runs the preset's solver on the noise levels it is given."""
    return comfy.samplers.KSAMPLER(run_preset, {"preset": preset})


def as_sigmas(solver: Solver) -> Tensor:
    """SIGMAS of a solver, float32."""
    return solver.sigmas.float()


def rest_of(preset: Preset, model: ModelPatcher, denoise: float) -> Tensor:
    """SIGMAS of all the preset's steps in the last share of the way."""
    ms = model.get_model_object(MODEL_SAMPLING)
    check_model(preset, ms)
    first = min(first_sigma(ms, denoise), float(preset.solver.sigmas[0]))
    return as_sigmas(stretched(preset.solver, first, time(ms)))


@torch.no_grad()
def run_preset(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
               extra_args: dict[str, Any] | None = None,
               callback: Callable[[dict[str, Any]], None] | None = None,
               disable: bool | None = None, *, preset: Preset) -> Tensor:
    """A k-diffusion sampler function: the part of the preset that `sigmas` ask for.

    Raises:
        MismatchError: if the model is of another kind, or the solver cannot do this part.
        DivergedError: if the model's output is not finite.
    """
    guider = model.inner_model
    solver = solver_for(preset, guider, guider.inner_model.model_sampling, sigmas)
    return run_solver(model, x, sigmas, extra_args, callback, disable, solver=solver)


@torch.no_grad()
def run_solver(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
               extra_args: dict[str, Any] | None = None,
               callback: Callable[[dict[str, Any]], None] | None = None,
               disable: bool | None = None, *, solver: Solver) -> Tensor:
    """The one loop with ComfyUI's call signature; `solver` begins and ends where `sigmas` do.

    Raises:
        DivergedError: if the model's output is not finite.
    """
    visited = as_sigmas(solver).to(x.device)
    ones, named, feature = x.new_ones(x.shape[0]), _told(extra_args or {}, visited), None
    if solver.designer_in is not None:
        probe = Probe(model.inner_model.inner_model.diffusion_model)
        named["model_options"] = probe.patched(named.get("model_options", {}))
        feature = probe.feature

    def denoise(state: Tensor, sigma: Tensor) -> Tensor:
        return model(state, sigma * ones, **named)

    def tell(row: int, state: Tensor, denoised: Tensor) -> None:
        if callback is not None:
            callback({"i": row, "x": state, "denoised": denoised, "sigma": visited[row],
                      "sigma_hat": visited[row]})

    return sample(denoise, solver, x, tell, check=True, feature=feature)


def _told(extra_args: dict[str, Any], visited: Tensor) -> dict[str, Any]:
    """Arguments of a model call; patches that look for the current step find ours."""
    options = dict(extra_args.get("model_options", {}))
    options["transformer_options"] = {**options.get("transformer_options", {}),
                                      "sample_sigmas": visited}
    return {**extra_args, "model_options": options}


def use_preset(model: ModelPatcher, preset: Preset) -> ModelPatcher:
    """A MODEL with which any sampler node uses the preset; no global list is touched.

    Raises:
        MismatchError: at once, if the preset is for another kind of model.
    """
    check_model(preset, model.get_model_object(MODEL_SAMPLING))
    patched = model.clone()
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    patched.remove_wrappers_with_key(kind, WRAPPER_KEY)
    patched.add_wrapper_with_key(kind, WRAPPER_KEY, _replacing_wrapper(preset))
    return patched


def _replacing_wrapper(preset: Preset) -> Callable[..., Tensor]:
    """Wrapper of CFGGuider.outer_sample that swaps in our sampler and noise levels."""
    def wrapper(executor: Callable[..., Tensor], noise: Tensor, latent_image: Tensor,
                sampler: object, sigmas: Tensor, *rest: object, **named: object) -> Tensor:
        if isinstance(sampler, comfy.samplers.KSAMPLER):
            guider = executor.class_obj
            ms = guider.model_patcher.get_model_object(MODEL_SAMPLING)
            solver = solver_for(preset, guider, ms, sigmas)
            sampler = comfy.samplers.KSAMPLER(run_solver, {"solver": solver},
                                              sampler.inpaint_options)
            sigmas = as_sigmas(solver).to(sigmas.device)
        return executor(noise, latent_image, sampler, sigmas, *rest, **named)
    return wrapper


def solver_for(preset: Preset, guider: object, ms: torch.nn.Module, sigmas: Tensor) -> Solver:
    """The solver that does what a sampler was asked for; says what is worth knowing of it.

    Raises:
        MismatchError: wrong kind of model, or a part that this preset cannot do.
    """
    asked = len(sigmas) - 1
    chosen = preset.member(asked, float(sigmas[0]))
    check_model(chosen, ms)
    try:
        part = part_of(chosen.solver, sigmas, time(ms))
    except SolverError as error:
        raise MismatchError(f"'{chosen.info.name}' cannot sample this: {error}") from error
    remarks = (_part_in_words(part, chosen, asked), _shift_in_words(chosen, ms),
               _guidance_in_words(getattr(guider, "cfg", None), chosen.info.guidance))
    if any(remarks):
        say("\n".join(filter(None, remarks)))
    return part.solver


def check_model(preset: Preset, ms: torch.nn.Module) -> None:
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


def _part_in_words(part: Part, preset: Preset, asked: int) -> str:
    own, calls, n = preset.solver.steps, preset.solver.nfe, part.solver.nfe
    first, last = float(part.solver.sigmas[0]), float(part.solver.sigmas[-1])
    way = f"sigma {first:.4g} to {last:.4g}"
    if part.kind == "whole":
        return (f"This solver takes its own {calls} steps; the {asked} asked for are not used."
                if asked not in (own, calls) else "")
    return {
        "piece": f"Steps {part.first + 1} to {part.last} of the solver's {own}.",
        "moved piece": f"Steps {part.first + 1} to {part.last} of the solver's {own}, moved to "
                       f"{way}.",
        "stretched": f"All {own} steps of the solver are laid into {way}."
                     + (LOW_HINT if part.share < LOW_SHARE else ""),
        "placed": f"{n} steps from {way}, placed like the solver's {own}. Its searched weights "
                  f"are for {own} steps, so a plain rule ({FALLBACK}) is used instead. Pick or "
                  f"search a preset with {n} steps.",
    }[part.kind]


def _shift_in_words(preset: Preset, ms: torch.nn.Module) -> str:
    own, found = preset.info.shift, flow_shift(ms)
    if not own or not found or abs(own - found) <= 1e-3 * own:
        return ""
    return (f"The model's shift is set to {found:.4g}. This solver brings its own noise levels, "
            f"searched at shift {own:.4g}: the setting changes only where a denoise below 1 "
            "begins.")


def _guidance_in_words(cfg: float | None, guidance: float | None) -> str:
    """A remark when CFG is far from the one searched at: measured, the gain is then lost."""
    low, high = (bound * (guidance or 0) for bound in GUIDANCE_RANGE)
    if cfg is None or not guidance or low <= cfg <= high:
        return ""
    return (f"This solver was searched at CFG {guidance:g}; at CFG {cfg:g} it may be worse than "
            f"a built-in sampler. Stay within {low:.3g} to {high:.3g}, or search again.")
