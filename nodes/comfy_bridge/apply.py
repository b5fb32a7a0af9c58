"""Make ComfyUI sample with a preset: as a SAMPLER object, or as a patch of a MODEL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...presets.preset import Preset
from ...solver_search.canvas import Canvas
from ...solver_search.part import FALLBACK, Part, stretched
from ...solver_search.sample import sample, told_levels
from ...solver_search.solver import Solver
from ...solver_search.tableaus import TABLEAUS
from ..said import Said, spoken
from .console import say
from .features import Probe
from .guiding import Guiding, HiddenGuidanceError
from .levels import MismatchError, as_sigmas, check_model, found_for
from .model import MODEL_SAMPLING, first_sigma, flow_shift, time
from .remarks import (
    HIDDEN_GUIDANCE,
    LARGE,
    NO_MEANS,
    TOO_LARGE,
    place_in_words,
    remarks,
)
from .samplers import Place, place_in
from .session import with_levels

WRAPPER_KEY = "solver-search"
Choose = Callable[[Any, Tensor], Solver]  # (guider, asked noise levels) -> solver


def as_sampler(preset: Preset) -> comfy.samplers.KSAMPLER:
    """SAMPLER object that runs the preset's solver on the noise levels it is given."""
    def choose(guider: Any, sigmas: Tensor) -> Solver:  # noqa: ANN401
        ms = guider.inner_model.model_sampling
        chosen, part = found_for(preset, ms, sigmas)
        _remark(chosen, part, guider, ms, sigmas)
        return part.solver

    return comfy.samplers.KSAMPLER(sample_solver_search, {"choose": choose})


def rest_of(preset: Preset, model: ModelPatcher, denoise: float) -> Tensor:
    """SIGMAS of all the preset's steps in the last share of the way."""
    ms = model.get_model_object(MODEL_SAMPLING)
    check_model(preset, ms)
    first = min(first_sigma(ms, denoise), float(preset.solver.sigmas[0]))
    return as_sigmas(stretched(preset.solver, first, time(ms)))


@spoken
@torch.no_grad()
def sample_solver_search(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
                         extra_args: dict[str, Any] | None = None,
                         callback: Callable[[dict[str, Any]], None] | None = None,
                         disable: bool | None = None, *, choose: Choose,
                         shapes: Sequence[Sequence[int]] | None = None) -> Tensor:
    """A k-diffusion sampler function: the part of a solver that `sigmas` ask for.

    Its name is a contract for packs that recognise samplers by theirs (step caches and the like):
    `sampler_function.__name__` is "sample_solver_search", for every way a preset is used. It
    makes at most one model call and exactly one callback per step, in order, and adds no noise;
    a guider that hides what guidance adds costs one model call more.
    `transformer_options["sample_sigmas"]` holds the noise levels that the model is told. In the
    step that ends at sigma 0 the callback's `denoised` is the finished state.

    Args:
        choose: says which solver the noise levels ask for.
        shapes: (B, C, ...) of each medium in x, where the caller knows them.

    Raises:
        ValueError: if the model is of another kind, the latent of another model, or the solver
            cannot do this part; if the model's output is not finite.
    """
    if len(sigmas) < 2:
        return x
    latents = getattr(model.inner_model.inner_model, "latent_format", None)
    check_channels(x, getattr(latents, "latent_channels", None))
    solver = choose(model.inner_model, sigmas)
    if shapes is None:
        shapes = _shapes_in(model.inner_model)
    if solver.beside and not shapes and _packed(model.inner_model, x):
        say(NO_MEANS)
        solver = solver.without(mean=True)
    args = extra_args or {}, callback or _nobody, shapes or ()
    try:
        end = _run(model, x, solver, *args)
    except HiddenGuidanceError:
        say(HIDDEN_GUIDANCE)
        end = _run(model, x, TABLEAUS[FALLBACK](solver.sigmas, flow=solver.flow), *args)
    if float(solver.sigmas[-1]) == 0 and float(end.abs().max()) > LARGE:
        say(Said(TOO_LARGE))
    return end


def check_channels(x: Tensor, wanted: int | None) -> None:
    """Raises MismatchError: a latent (B, C, ...) of another kind of model; None: unknown."""
    if wanted is not None and x.ndim >= 4 and x.shape[1] != wanted:
        raise MismatchError(f"This model works on latents of {wanted} channels, the connected one "
                            f"has {x.shape[1]}: it was made for another kind of model. Encode the "
                            "picture again with this model's VAE.")


def _run(model: Callable[..., Tensor], x: Tensor, solver: Solver, extra_args: dict[str, Any],
         callback: Callable[[dict[str, Any]], None], shapes: Sequence[Sequence[int]]) -> Tensor:
    """The one loop with ComfyUI's calls; the last callback waits for the finished state."""
    visited, told = (s.to(x.device) for s in (as_sigmas(solver), told_levels(solver).float()))
    named, feature = with_levels(extra_args, told), None
    guiding = Guiding(needed=True) if solver.guided else None
    if guiding is not None:
        named["model_options"] = guiding.patched(named["model_options"])
    if solver.designer_in is not None:
        probe = Probe(model.inner_model.inner_model.diffusion_model)
        named["model_options"] = probe.patched(named["model_options"])
        feature = probe.feature
    each = x.new_ones(len(x))
    canvas = _canvas(model, named, told[-2].repeat(len(x)), shapes)
    waiting: list[Tensor] = []

    def tell(row: int, state: Tensor, denoised: Tensor) -> None:
        if row == solver.steps - 1 and float(solver.sigmas[-1]) == 0 and not waiting:
            waiting.append(state)
            return
        callback({"i": row, "x": state, "denoised": denoised, "sigma": visited[row],
                  "sigma_hat": visited[row]})

    def denoise(state: Tensor, sigma: Tensor) -> Tensor:
        denoised = model(state, sigma * each, **named)
        return denoised if guiding is None else guiding.checked(denoised)

    end = sample(denoise, solver, x, tell, check=True, feature=feature, canvas=canvas,
                 guidance=None if guiding is None else guiding.added)
    for state in waiting:
        tell(solver.steps - 1, state, end)
    return end


def _canvas(model: Callable[..., Tensor], extra_args: dict[str, Any], last: Tensor,
            shapes: Sequence[Sequence[int]]) -> Canvas:
    """The media in a state, and the mask of the last model call (KSamplerX0Inpaint)."""
    mask = extra_args.get("denoise_mask")
    changed = extra_args["model_options"].get("denoise_mask_function")
    if mask is not None and changed is not None:
        levels = getattr(model, "sigmas", extra_args["model_options"]["transformer_options"][
            "sample_sigmas"])
        mask = changed(last, mask, extra_options={"model": model.inner_model, "sigmas": levels})
    return Canvas(tuple(tuple(shape[1:]) for shape in shapes), mask,
                  getattr(model, "latent_image", None))


def _shapes_in(guider: Any) -> Sequence[Sequence[int]]:  # noqa: ANN401
    """Shapes of nested latents, where the model asks ComfyUI for them."""
    for entries in getattr(guider, "conds", {}).values():
        for entry in entries:
            found = entry.get("model_conds", {}).get("latent_shapes")
            if found is not None:
                return found.cond
    return ()


def _packed(guider: Any, x: Tensor) -> bool:  # noqa: ANN401
    """Whether x looks like several media in one row: (B, 1, N) of a model with more channels."""
    row = x.ndim == 3 and x.shape[1] == 1
    return row and guider.inner_model.latent_format.latent_channels != 1


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
    @spoken
    def wrapper(executor: Callable[..., Tensor], noise: Tensor, latent_image: Tensor,
                sampler: object, sigmas: Tensor, *rest: object, **named: object) -> Tensor:
        place = place_in(sampler)
        if place.why_not:
            say(place_in_words(place, preset))
        elif len(sigmas) > 1:
            guider = executor.class_obj
            if torch.count_nonzero(latent_image):
                check_channels(latent_image, guider.model_patcher.get_model_object(
                    "latent_format").latent_channels)
            ms = guider.model_patcher.get_model_object(MODEL_SAMPLING)
            chosen, part = found_for(preset, ms, sigmas, movable=True,
                                     empty=not torch.count_nonzero(latent_image))
            _remark(chosen, part, guider, ms, sigmas, place)
            sampler = place.put(sampler, _replacement(preset, part.solver,
                                                      named.get("latent_shapes")))
            sigmas = as_sigmas(part.solver).to(sigmas.device)
        return executor(noise, latent_image, sampler, sigmas, *rest, **named)
    return wrapper


def _replacement(preset: Preset, solver: Solver,
                 shapes: Sequence[Sequence[int]] | None) -> comfy.samplers.KSAMPLER:
    """Runs the solver; a sampler around it that asks for other noise levels gets their part."""
    def choose(guider: Any, sigmas: Tensor) -> Solver:  # noqa: ANN401
        own = as_sigmas(solver)
        if len(sigmas) == len(own) and torch.allclose(sigmas.float().cpu(), own):
            return solver
        return found_for(preset, guider.inner_model.model_sampling, sigmas)[1].solver

    return comfy.samplers.KSAMPLER(sample_solver_search, {"choose": choose, "shapes": shapes})


def _remark(preset: Preset, part: Part, guider: object, ms: torch.nn.Module, sigmas: Tensor,
            place: Place | None = None) -> None:
    said = remarks(preset, part, len(sigmas) - 1, cfg=getattr(guider, "cfg", None),
                   shift=flow_shift(ms), place=place)
    if said:
        say(said)


def _nobody(step: dict[str, Any]) -> None:
    pass
