"""Whether a model answers alike whatever it was asked before: what a search relies on."""

from __future__ import annotations

import torch
from torch import Tensor

from .comfy_bridge.model import first_sigma
from .comfy_bridge.session import Session

STEP_CACHE = "easycache"  # ComfyUI's key of EasyCache and LazyCache
TOLERANCE = {torch.float32: 1e-4}  # relative; kernels may add in another order
# For 16-bit kernels: answers of SD1.5, SDXL, SD3.5 and Wan at true size moved by 0.0009 to 0.0019
# on an H100 (benchmarks/results/true_size.json); APG with momentum moved small random models by
# 0.14 and 0.26, one of them by 0.0007, which only float32 shows.
TOLERANCE_HALF = 0.02


ALIKE = ("Solvers cannot be compared so: take it out for the search. The preset found can be used "
         "with it.")


class StatefulModelError(ValueError):
    """A model that does not answer alike, so a search cannot compare solvers; says what to do."""


def check_memoryless(session: Session, x: Tensor, dtype: torch.dtype) -> None:
    """Ask the model the same thing thrice, with other questions between.

    Step caches (EasyCache) and momentum (APG) answer from what came before, and some patches add
    noise. Sampling once from start to end is what they are made for; a search goes back and forth.

    Args:
        x: (1, C, ...) any state.
        dtype: the network computes in.

    Raises:
        StatefulModelError: if the answers differ, or a step cache is there. Only what is known
            of the reason is said.
    """
    options = session.extra_args.get("model_options", {}).get("transformer_options", {})
    before = _random(x.device)
    moved = largest_change(session, x)
    if STEP_CACHE in options:
        raise StatefulModelError("A step cache on this model (EasyCache or LazyCache) remembers "
                                 f"earlier steps. {ALIKE}")
    if not moved > TOLERANCE.get(dtype, TOLERANCE_HALF):  # NaN has a sentence of its own, later
        return
    drawn = not torch.equal(_random(x.device), before)
    why = ("a patch on it draws random numbers" if drawn else "a patch on it adds noise or "
           "remembers earlier steps (such as APG with momentum, which can be set to 0)")
    raise StatefulModelError("Asked the same question, this model answered otherwise by "
                             f"{moved:.2g} of its size: {why}. {ALIKE}")


def largest_change(session: Session, x: Tensor) -> float:
    """By how much the answer to one question changes while others are asked between, relative.

    Args:
        x: (1, C, ...) any state.
    """
    item, top = torch.zeros(1, dtype=torch.long), first_sigma(session.sampling, 0.9)
    answers = []
    for share in (0.5, 0.9, 0.5, 0.2, 0.5):
        sigma = torch.tensor(top * share, device=x.device)
        answer = session.denoise(x * share, sigma, item)
        answers += [answer] if share == 0.5 else []
    size = answers[0].abs().max().clamp_min(1e-6)
    return max(float((a - answers[0]).abs().max() / size) for a in answers)


def _random(device: torch.device) -> Tensor:
    """State of the random numbers that nodes draw from."""
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.zeros(0)
    return torch.cat([torch.random.get_rng_state(), on_gpu.to(torch.uint8)])
