"""Ways that touch more than the picture: callbacks, samplers around samplers, odd lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .families import Subject
from .formula import FormulaSampler, whole
from .masks import MASK_WAYS
from .media import Latent, media, nested
from .searched import CFG, SEED, STEPS, searched, simple, skipping
from .ways import (
    Pair,
    Run,
    Way,
    advanced,
    cfg_guider,
    custom,
    dual_guider,
    half_mask,
    in_turn,
    ksampler,
    picture,
    split,
    two_models_guider,
)
from .who import Ours, Plain, Who, comfy_euler

LESS = 0.98  # of a noise level: what Detail Daemon tells the model in the middle of the way
DDIM_STEPS = (5, 6, 8, 10)
SKIPPING = Pair("a preset without a first call", Plain(skipping), Ours(skipping))
OWN_LEVELS = Pair("a searched preset", Plain(searched, whole), Ours(searched))


def callbacks(subject: Subject, who: Who) -> Latent:
    """All that a KSampler's callback is told, then the picture."""
    import comfy.sample

    seen: list[Tensor] = []

    def told(step: int, x0: Latent, x: Latent, total: int) -> None:
        seen.extend([torch.tensor([float(step), float(total)]), *media(x0), *media(x)])

    end = comfy.sample.sample(
        who.model(subject), comfy.sample.prepare_noise(subject.latent, SEED), STEPS, CFG, "euler",
        "simple", subject.positive, subject.negative, subject.latent, callback=told,
        disable_pbar=True, seed=SEED)
    return nested([*seen, *media(end)])


def bent(told: float, levels: Tensor) -> float:
    """What a sampler like Detail Daemon makes of a noise level: of all but those at the ends."""
    middle = float(levels[-2]) * 1.01 < told < float(levels[0]) * 0.99
    return told * LESS if middle else told


def around(inner: Any) -> Any:  # noqa: ANN401
    """A SAMPLER with another one in it, which it changes the noise levels for."""
    import comfy.samplers

    if isinstance(inner, FormulaSampler):
        return inner.within(bent)
    return comfy.samplers.KSAMPLER(sample_bent, {"wrapped": inner, "bent": bent})


def sample_bent(model: Any, x: Tensor, sigmas: Tensor, *, wrapped: Any,  # noqa: ANN401
                bent: Callable[[float, Tensor], float], **named: Any) -> Tensor:  # noqa: ANN401
    """As such packs do it: a function with the attributes that samplers look for."""
    def shown(x: Tensor, sigma: Tensor, **more: Any) -> Tensor:  # noqa: ANN401
        return model(x, torch.full_like(sigma, bent(float(sigma[0]), sigmas)), **more)

    shown.inner_model, shown.sigmas = model.inner_model, model.sigmas
    return wrapped.sampler_function(shown, x, sigmas, **named, **wrapped.extra_options)


def bent_by_use_solver(subject: Subject, who: Who) -> Latent:
    """Detail Daemon around euler, on a model behind Use Solver."""
    return custom(who.model(subject), subject, around(comfy_euler()), simple(subject))["samples"]


def bent_around_ours(subject: Subject, who: Who) -> Latent:
    """Detail Daemon around Solver Sampler."""
    return custom(subject.model, subject, around(who.sampler(subject)),
                  who.sigmas(subject))["samples"]


def bent_and_masked(subject: Subject, who: Who) -> Latent:
    """The same behind Use Solver with a mask, of which the sampler inside sees nothing."""
    latent = {"samples": picture(subject), "noise_mask": half_mask(subject)}
    return custom(who.model(subject), subject, around(comfy_euler()), simple(subject),
                  latent)["samples"]


def lists(*steps: int, patched: bool = False) -> Run:
    """SplitSigmas at these steps, and SamplerCustom for each list, also those of one level."""
    def run(subject: Subject, who: Who) -> Latent:
        return in_turn(subject, who, split(who.sigmas(subject), *steps), patched=patched)
    return run


def ddim_uniform(subject: Subject, who: Who) -> Latent:
    """KSampler with the scheduler ddim_uniform, which begins below the highest noise level."""
    return nested([part for steps in DDIM_STEPS for part in media(
        ksampler(subject, who, steps=steps, scheduler="ddim_uniform"))])


def ddim_uniform_custom(subject: Subject, who: Who) -> Latent:
    """SamplerCustom with a BasicScheduler of ddim_uniform."""
    from comfy_extras.nodes_custom_sampler import BasicScheduler

    found = []
    for steps in DDIM_STEPS:
        model = who.model(subject, steps)
        sigmas = BasicScheduler.execute(model, "ddim_uniform", steps, 1.0).args[0]
        found += media(custom(model, subject, comfy_euler(), sigmas)["samples"])
    return nested(found)


ON = ("SD1.5", "SD3", "Wan 2.1", "LTX-2")
FLAT = ON[:3]  # ComfyUI's LatentFromBatch takes no nested latents
OTHER_WAYS: dict[str, Way] = {
    **MASK_WAYS,
    "DualCFGGuider, nested": Way(advanced(dual_guider("nested"))),
    "DualModelGuider": Way(advanced(two_models_guider)),
    "denoised output": Way(advanced(cfg_guider, outputs=2)),
    "callbacks of a KSampler": Way(callbacks),
    "no model call in the first step": Way(callbacks, (SKIPPING,)),
    "Detail Daemon behind Use Solver": Way(bent_by_use_solver),
    "Detail Daemon around Solver Sampler": Way(bent_around_ours),
    "Detail Daemon and a mask": Way(bent_and_masked, mask=half_mask),
    "SplitSigmas at step 0": Way(lists(0), on=ON[:1]),
    "SplitSigmas at the last step": Way(lists(STEPS)),
    "SplitSigmas, a list of one level": Way(lists(2, 2)),
    "SplitSigmas, the same behind Use Solver": Way(lists(2, 2, STEPS, patched=True)),
    "ddim_uniform, KSampler": Way(ddim_uniform, (OWN_LEVELS,)),
    "ddim_uniform, BasicScheduler": Way(ddim_uniform_custom, (OWN_LEVELS,)),
}
