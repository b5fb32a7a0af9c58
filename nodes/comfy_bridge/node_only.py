"""Deterministic settings that only nodes can make: SamplerCustom with other numbers in it.

KSampler's menus hold one karras, one beta, and stochastic samplers with their noise. Nodes let an
artist turn the noise off, change an order or bend a curve. Each SAMPLER and each SIGMAS here is
made by ComfyUI's own node; whether a sampler is deterministic, and not in the menus under another
name, is found by trying.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import comfy.samplers
import torch
from comfy_extras import nodes_custom_sampler, nodes_lt
from torch import Tensor, nn

from .builtin import (
    NullModel,
    Sampler,
    calls_of,
    deterministic_samplers,
    patcher_of,
    run_sampler,
    why_unfit,
)
from .model import flow_shift
from .ordinary import Setting, fitted, most_steps, scale_of, schedules, shifted

log = logging.getLogger("solver-search")
QUIET = {"eta": 0.0, "s_noise": 1.0}  # no noise is added
SA = {**QUIET, "sde_start_percent": 0.2, "sde_end_percent": 0.8, "simple_order_2": False}
SAME = 1e-6  # ends of one rule written in two ways, in float32; other rules differ by 4e-5
BETA_MIN = 0.1  # VPScheduler's default; its other two numbers follow from the model's range


@dataclass(frozen=True)
class Recipe:
    """What to put into a node.

    Args:
        label: as an artist writes it.
        node: class of ComfyUI.
        inputs: those that do not follow from the model and the number of steps.
        module: where the class is.
        spare: steps to ask for beyond those that are wanted.
    """

    label: str
    node: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    module: ModuleType = nodes_custom_sampler
    spare: int = 0

    def make(self, **known: Any) -> Any:  # noqa: ANN401  of a node
        """The node's output; `known` are inputs of which it takes what it asks for.

        Raises:
            LookupError: if this ComfyUI has no such node.
        """
        node = getattr(self.module, self.node, None)
        if node is None:
            raise LookupError(f"This ComfyUI has no node {self.node}.")
        asked = inspect.signature(node.execute).parameters
        inputs = {name: value for name, value in known.items() if name in asked}
        if "steps" in inputs:
            inputs["steps"] += self.spare
        return node.execute(**{**inputs, **self.inputs}).args[0]


# Every kind that integrates the model's equation with its noise off, and orders that are worth
# trying at 5 to 10 calls, where lower ones beat the nodes' own.
SAMPLERS = (
    Recipe("ER-SDE ODE", "SamplerER_SDE", {"solver_type": "ODE", "max_stage": 3, **QUIET}),
    Recipe("ER-SDE ODE(2)", "SamplerER_SDE",
           {"solver_type": "ODE", "max_stage": 2, **QUIET}),
    Recipe("DPM++ 2M SDE eta 0", "SamplerDPMPP_2M_SDE",
           {"solver_type": "midpoint", "noise_device": "cpu", **QUIET}),
    Recipe("DPM++ 2M SDE heun eta 0", "SamplerDPMPP_2M_SDE",
           {"solver_type": "heun", "noise_device": "cpu", **QUIET}),
    Recipe("DPM++ 3M SDE eta 0", "SamplerDPMPP_3M_SDE", {"noise_device": "cpu", **QUIET}),
    Recipe("DPM++ SDE eta 0", "SamplerDPMPP_SDE", {"r": 1.0, "noise_device": "cpu", **QUIET}),
    Recipe("DPM++ 2S eta 0", "SamplerDPMPP_2S_Ancestral", QUIET),
    Recipe("SA-Solver eta 0", "SamplerSASolver",
           {**SA, "predictor_order": 3, "corrector_order": 4, "use_pece": False}),
    Recipe("SA-Solver eta 0 (2, 2)", "SamplerSASolver",
           {**SA, "predictor_order": 2, "corrector_order": 2, "use_pece": False}),
    Recipe("SA-Solver eta 0 (2, 0)", "SamplerSASolver",
           {**SA, "predictor_order": 2, "corrector_order": 0, "use_pece": False}),
    Recipe("SA-Solver PECE eta 0", "SamplerSASolver",
           {**SA, "predictor_order": 3, "corrector_order": 4, "use_pece": True}),
    Recipe("SEEDS-2 eta 0", "SamplerSEEDS2", {"solver_type": "phi_2", "r": 0.5, **QUIET}),
    Recipe("LMS(2)", "SamplerLMS", {"order": 2}),
)
# The menus' karras is 7, their beta (0.6, 0.6), their exponential is polyexponential(1). Wider and
# narrower numbers were tried on the benchmarks' models at 5 to 10 calls: the ends of a curve are
# what matters, and these are the ones that came near the best on one of them.
CURVES = (
    Recipe("karras(3)", "KarrasScheduler", {"rho": 3.0}),
    Recipe("laplace(-1, 0.8)", "LaplaceScheduler", {"mu": -1.0, "beta": 0.8, "sigma_min": 0.0},
           spare=1),
)
EPS_CURVES = (
    Recipe("karras(5)", "KarrasScheduler", {"rho": 5.0}),
    Recipe("polyexponential(0.8)", "PolyexponentialScheduler", {"rho": 0.8}),
    Recipe("polyexponential(1.2)", "PolyexponentialScheduler", {"rho": 1.2}),
    Recipe("laplace(0, 0.5)", "LaplaceScheduler", {"mu": 0.0, "beta": 0.5, "sigma_min": 0.0},
           spare=1),
)
FLOW_CURVES = (
    Recipe("polyexponential(0.5)", "PolyexponentialScheduler", {"rho": 0.5}),
    *(Recipe(f"ltxv(shift {shift}, to 0.1)", "LTXVScheduler",
             {"max_shift": math.log(shift), "base_shift": math.log(shift), "stretch": True,
              "terminal": 0.1}, nodes_lt) for shift in (1, 3)),
)
EPS_BETAS = ((0.5, 0.7), (0.5, 1.0))
FLOW_BETAS = ((0.4, 0.6), (0.5, 0.6), (0.5, 0.7), (0.6, 0.5))


def node_settings(ms: nn.Module, calls: int, denoise: float = 1.0) -> list[Setting]:
    """Every setting with a sampler or a schedule that only nodes make, of at most `calls` calls.

    Node samplers on all schedules, the menu's samplers on node schedules.
    """
    samplers = {name: comfy.samplers.sampler_object(name) for name in deterministic_samplers()}
    menu, known = new_ones(samplers, ms, [])
    own, _ = new_ones(dict(_made(SAMPLERS, model=patcher_of(ms))), ms, known)
    found = []
    for name, sampler in {**menu, **own}.items():
        steps = most_steps(sampler, calls)
        if steps:
            lists = node_schedules(ms, steps, denoise)
            lists |= schedules(ms, steps, denoise=denoise) if name in own else {}
            found += [Setting(name, label, sigmas, scale_of(ms, sigmas, denoise), sampler)
                      for label, sigmas in lists.items() if _affordable(sampler, sigmas, calls)]
    return found


def node_schedules(ms: nn.Module, steps: int, denoise: float = 1.0) -> dict[str, Tensor]:
    """Schedules of `steps` falling steps on this model that no menu has, by label.

    Over the model's own range of noise. Laplace never reaches 0: it is taken as the node gives
    it, if what it leaves is below the model's smallest sigma.
    """
    top, low = float(ms.sigma_max), float(ms.sigma_min)
    known = {"steps": int(steps / denoise), "sigma_max": top, "sigma_min": low}
    own = flow_shift(ms)
    curves = [*EPS_CURVES, *_of_range(top, low)] if own is None else FLOW_CURVES
    found = dict(_made((*CURVES, *curves), **known))
    for suffix, moved in shifted(ms).items():
        if own is None or suffix in ("@1", f"@{own:.4g}"):
            betas = _betas(EPS_BETAS if own is None else FLOW_BETAS, suffix)
            found |= _made(betas, model=patcher_of(moved), **known)
    return fitted({label: sigmas.double().cpu() for label, sigmas in found.items()}, ms, steps,
                  denoise, low)


def new_ones(samplers: Mapping[str, Sampler], ms: nn.Module,
             known: list[Tensor]) -> tuple[dict[str, Sampler], list[Tensor]]:
    """Deterministic samplers that integrate this kind of model as none before them does.

    Args:
        samplers: by label.
        known: ends of samplers that came before, on a curved problem.

    Returns:
        the new ones, and the ends of all.
    """
    found, ends = {}, list(known)
    for label, sampler in samplers.items():
        if why_unfit(sampler):
            continue
        end = _end(sampler, ms)
        if not any(torch.allclose(end, other, rtol=0, atol=SAME) for other in ends):
            found[label] = sampler
            ends.append(end)
    return found, ends


def _end(sampler: Sampler, ms: nn.Module) -> Tensor:
    """End on a curved model with this sampling: samplers treat flow models in their own way."""
    x = torch.linspace(-2, 2, 8).reshape(1, 2, 2, 2)
    sigmas = torch.tensor([0.9, 0.75, 0.5, 0.35, 0.1, 0.0])  # uneven: lms is ipndm on even ones
    return run_sampler(sampler, NullModel(torch.tanh, ms), x, sigmas, {"seed": 0})


def _affordable(sampler: Sampler, sigmas: Tensor, calls: int) -> bool:
    """Some samplers call the model once more where a list does not end at 0."""
    return bool(sigmas[-1] == 0) or calls_of(sampler, sigmas) <= calls


def _made(recipes: Iterable[Recipe], **known: object) -> Iterator[tuple[str, Any]]:
    for recipe in recipes:
        try:
            yield recipe.label, recipe.make(**known)
        except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            log.warning("%s could not be tried: %s", recipe.label, error)


def _betas(pairs: Iterable[tuple[float, float]], suffix: str) -> list[Recipe]:
    return [Recipe(f"beta({alpha}, {beta}){suffix}", "BetaSamplingScheduler",
                   {"alpha": alpha, "beta": beta}) for alpha, beta in pairs]


def _of_range(top: float, low: float) -> list[Recipe]:
    """Curves of an eps or v model whose numbers follow from its range of sigma.

    Exponentials that leave a longer last step, and VPScheduler, whose sigma is
    sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1): top at t = 1, low at t = eps_s.
    """
    first, last = math.log1p(top ** 2), math.log1p(low ** 2)
    beta_d = 2 * (first - BETA_MIN)
    eps_s = ((BETA_MIN ** 2 + 2 * beta_d * last) ** 0.5 - BETA_MIN) / beta_d
    longer = [Recipe(f"polyexponential({rho}, to {2 * low:.2g})", "PolyexponentialScheduler",
                     {"rho": rho, "sigma_min": 2 * low}) for rho in (1.0, 1.2)]
    return [*longer, Recipe(f"vp({beta_d:.4g}, {BETA_MIN}, {eps_s:.2g})", "VPScheduler",
                            {"beta_d": beta_d, "beta_min": BETA_MIN, "eps_s": eps_s})]
