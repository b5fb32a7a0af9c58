"""Which of ComfyUI's samplers integrate the model's own equation: found by trying each.

A null model, which has no network, is sampled with each. It sees what a sampler does: how often
it calls, whether it hooks into the guidance, whether its end depends on the seed. Names say none
of this reliably.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import comfy.samplers
import torch
from torch import Tensor, nn

from .dropdown import NAME as OURS_NAME

log = logging.getLogger("solver-search")
Sampler = comfy.samplers.KSAMPLER
NOISE = "adds noise"
GUIDANCE = "changes the guidance"
ADAPTIVE = "adaptive, no fixed number of calls"
OURS = "ours"
FAILS = "fails: "
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
            AssertionError)  # of samplers that another version or pack has put into the menu
HOOKS = "sampler_"  # what the options of a model call that reach into the guidance begin with
SIGMAS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.0)


def deterministic_samplers() -> tuple[str, ...]:
    """Names in ComfyUI's menu whose result depends on nothing but the model."""
    return tuple(name for name in comfy.samplers.SAMPLER_NAMES if not why_left_out(name))


@functools.cache
def why_left_out(name: str) -> str:
    """Why a sampler of ComfyUI's menu is not compared with a solver; "" if it is.

    One that changes the guidance (the CFG++ kind) solves another equation, whether or not it
    also adds noise. One that fails is named in the log.

    Returns:
        OURS, NOISE, GUIDANCE, ADAPTIVE, FAILS and ComfyUI's message, or "".
    """
    if name == OURS_NAME:
        return OURS
    try:
        reason = why_unfit(comfy.samplers.sampler_object(name))
    except AttributeError as error:  # a name in the menu whose function is gone
        reason = f"{FAILS}{error}"
    if reason.startswith(FAILS):
        log.warning("ComfyUI's sampler %s is left out of comparisons: it %s", name, reason)
    return reason


def why_unfit(sampler: Sampler) -> str:
    """The same of any SAMPLER that a node makes; nothing is logged."""
    try:
        first, calls = _tried(sampler, seed=1)
        second, _ = _tried(sampler, seed=2)
        _, other_calls = _tried(sampler, seed=1, answer=torch.zeros_like)
    except GuidanceError:
        return GUIDANCE
    except FAILURES as error:
        return f"{FAILS}{error}"
    if not torch.equal(first, second):
        return NOISE
    return ADAPTIVE if calls != other_calls else ""


def run_builtin(name: str, model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
                extra_args: dict[str, Any]) -> Tensor:
    """Call ComfyUI's sampler function by name; uni_pc writes into `sigmas` (float32)."""
    return run_sampler(comfy.samplers.sampler_object(name), model, x, sigmas, extra_args)


def run_sampler(sampler: Sampler, model: Callable[..., Tensor], x: Tensor, sigmas: Tensor,
                extra_args: dict[str, Any]) -> Tensor:
    """Call the function of a SAMPLER with its options."""
    return sampler.sampler_function(model, x.clone(), sigmas, extra_args=extra_args,
                                    callback=_ignore, disable=True, **sampler.extra_options)


def calls_of(sampler: Sampler, sigmas: Tensor) -> int:
    """Model calls a sampler makes on these sigmas, counted with a null model."""
    counter = NullModel()
    run_sampler(sampler, counter, torch.ones(1, 1, 2, 2), sigmas.float().clone(), {})
    return counter.calls


class GuidanceError(Exception):
    """A sampler has hooked itself into the guidance."""


class _NullSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """Noise levels and scalings of an eps model; lcm asks for both."""


def half(x: Tensor) -> Tensor:
    """An answer between the state and nothing."""
    return x * 0.5


class NullModel:
    """Counts calls and answers without a network.

    Args:
        answer: denoised of a state.
        sampling: a model's sampling, None: an eps model's.
    """

    def __init__(self, answer: Callable[[Tensor], Tensor] = half,
                 sampling: nn.Module | None = None) -> None:
        self.calls, self.answer = 0, answer
        ms = sampling or _NullSampling()
        patcher = patcher_of(ms)
        inner = SimpleNamespace(model_sampling=ms, model_patcher=patcher)
        self.inner_model = SimpleNamespace(inner_model=inner, model_patcher=patcher,
                                           model_sampling=ms)

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any] | None = None,
                 **extra_args: object) -> Tensor:
        if any(option.startswith(HOOKS) for option in model_options or ()):
            raise GuidanceError
        self.calls += 1
        return self.answer(x)


def patcher_of(sampling: nn.Module) -> SimpleNamespace:
    """What samplers and nodes ask a MODEL for: its sampling."""
    return SimpleNamespace(get_model_object=lambda name: sampling)


def _tried(sampler: Sampler, seed: int,
           answer: Callable[[Tensor], Tensor] = half) -> tuple[Tensor, int]:
    """End of a null model's sampling, and its calls."""
    model = NullModel(answer)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPU too
        end = run_sampler(sampler, model, torch.ones(1, 4, 2, 2), torch.tensor(SIGMAS),
                          {"seed": seed})
    return end, model.calls


def _ignore(step: object) -> None:
    pass
