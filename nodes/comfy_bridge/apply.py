"""Make ComfyUI sample with a Solver: as a SAMPLER object, or as a patch of a MODEL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_sampling
import comfy.patcher_extension
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...solver_search.sample import sample
from ...solver_search.solver import Solver
from .console import say
from .features import Probe

SIGMA_TOLERANCE = 1e-3  # sigmas pass through float32 and through other nodes' arithmetic
RANGE_TOLERANCE = 0.01  # published tables round sigma_max to three digits
WRAPPER_KEY = "solver-search"
GUIDANCE_RANGE = (0.5, 1.7)  # docs/decisions/guidance.md


class MismatchError(ValueError):
    """A solver meets a model or sigmas it was not made for; the message says which and why."""


def as_sampler(solver: Solver, guidance: float | None = None) -> comfy.samplers.KSAMPLER:
    """SAMPLER object that runs the solver on its own sigmas.

    Args:
        guidance: CFG it was searched at; far from it, a sentence says so while sampling.
    """
    return comfy.samplers.KSAMPLER(run_solver, {"solver": solver, "guidance": guidance})


def as_sigmas(solver: Solver) -> Tensor:
    """SIGMAS of a solver, float32."""
    return solver.sigmas.float()


@torch.no_grad()
def run_solver(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
               extra_args: dict[str, Any] | None = None,
               callback: Callable[[dict[str, Any]], None] | None = None,
               disable: bool | None = None, *, solver: Solver,
               guidance: float | None = None) -> Tensor:
    """A k-diffusion sampler function: the one loop with ComfyUI's call signature.

    Raises:
        MismatchError: if sigmas are not the solver's, or the model is of another kind.
        DivergedError: if the model's output is not finite.
    """
    check_model(solver, model.inner_model.inner_model.model_sampling)
    _check_sigmas(solver, sigmas)
    _mind_guidance(getattr(model.inner_model, "cfg", None), guidance)
    ones, named, feature = x.new_ones(x.shape[0]), dict(extra_args or {}), None
    if solver.designer_in is not None:
        probe = Probe(model.inner_model.inner_model.diffusion_model)
        named["model_options"] = probe.patched(named.get("model_options", {}))
        feature = probe.feature

    def denoise(state: Tensor, sigma: Tensor) -> Tensor:
        return model(state, sigma * ones, **named)

    def tell(row: int, state: Tensor, denoised: Tensor) -> None:
        if callback is not None:
            callback({"i": row, "x": state, "denoised": denoised, "sigma": sigmas[row],
                      "sigma_hat": sigmas[row]})

    return sample(denoise, solver, x, tell, check=True, feature=feature)


def use_solver(model: ModelPatcher, solver: Solver,
               guidance: float | None = None) -> ModelPatcher:
    """A MODEL with which any sampler node uses the solver; no global list is touched.

    Raises:
        MismatchError: at once, if the solver is for another kind of model.
    """
    check_model(solver, model.get_model_object("model_sampling"))
    patched = model.clone()
    kind = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    patched.remove_wrappers_with_key(kind, WRAPPER_KEY)
    wrapper = _replacing_wrapper(as_sampler(solver, guidance), as_sigmas(solver))
    patched.add_wrapper_with_key(kind, WRAPPER_KEY, wrapper)
    return patched


def _replacing_wrapper(own: comfy.samplers.KSAMPLER, own_sigmas: Tensor) -> Callable[..., Tensor]:
    """Wrapper of CFGGuider.outer_sample that swaps in our sampler and sigmas."""
    def wrapper(executor: Callable[..., Tensor], noise: Tensor, latent_image: Tensor,
                sampler: object, sigmas: Tensor, *rest: object, **named: object) -> Tensor:
        if isinstance(sampler, comfy.samplers.KSAMPLER):
            ms = executor.class_obj.model_patcher.get_model_object("model_sampling")
            _check_full_range(ms, sigmas)
            sampler, sigmas = own, own_sigmas.to(sigmas.device)
        return executor(noise, latent_image, sampler, sigmas, *rest, **named)
    return wrapper


def check_model(solver: Solver, ms: torch.nn.Module) -> None:
    """Refuse a model of the other kind or with another noise range."""
    flow = isinstance(ms, comfy.model_sampling.CONST)
    if flow != solver.flow:
        names = {True: "a flow model (such as SD3 or Flux)",
                 False: "an eps or v model (such as SD1.5 or SDXL)"}
        raise MismatchError(f"This solver is for {names[solver.flow]}, but the connected model is "
                            f"{names[flow]}. Pick a preset that matches the model, or search one "
                            "with the Search Solver node.")
    top, first = float(ms.sigma_max), float(solver.sigmas[0])
    if abs(first - top) > RANGE_TOLERANCE * top:
        raise MismatchError(f"This solver starts at sigma {first:.4g}, but the connected model's "
                            f"noise starts at {top:.4g}; it was made for another noise schedule. "
                            "Pick a preset for this model, or search one.")


def _mind_guidance(cfg: float | None, guidance: float | None) -> None:
    """Say so when CFG is far from the one searched at: measured, a solver then loses its gain."""
    if cfg is None or not guidance:
        return
    low, high = GUIDANCE_RANGE[0] * guidance, GUIDANCE_RANGE[1] * guidance
    if not low <= cfg <= high:
        say(f"This solver was searched at CFG {guidance:g}; at CFG {cfg:g} it may be worse "
            f"than a built-in sampler. Stay within {low:.3g} to {high:.3g}, or search again.")


def _check_full_range(ms: torch.nn.Module, sigmas: Tensor) -> None:
    top = float(ms.sigma_max)
    if float(sigmas[-1]) != 0 or abs(float(sigmas[0]) - top) > 0.05 * top:
        raise MismatchError(f"This solver runs the whole way from pure noise to the picture, but "
                            f"the sampler asks for sigma {float(sigmas[0]):.4g} to "
                            f"{float(sigmas[-1]):.4g}. Set denoise to 1 and do not split the "
                            "steps, or take the Use Solver node out for this pass.")


def _check_sigmas(solver: Solver, sigmas: Tensor) -> None:
    own = as_sigmas(solver)
    given = sigmas.detach().float().cpu()
    if given.shape != own.shape or not torch.allclose(given, own, rtol=SIGMA_TOLERANCE, atol=1e-6):
        raise MismatchError(f"This sampler belongs to its own {solver.nfe} steps, but was given "
                            f"{len(given) - 1} steps of another schedule. Connect the SIGMAS "
                            "output of the same Solver Sampler node.")
