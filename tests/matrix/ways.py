"""Ways of sampling in ComfyUI, each with its own euler and with Euler as a preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.pack import load, preset_of

from .families import Subject

STEPS, CFG, SEED = 4, 3.0, 5
Way = Callable[[Subject, Any], Tensor]  # preset None: ComfyUI's own euler


def euler(subject: Subject, steps: int = STEPS) -> Any:  # noqa: ANN401
    """Euler as a preset, on the "simple" noise levels of the model."""
    model = load("nodes.comfy_bridge.model")
    facts = model.facts(subject.model)
    sigmas = simple(subject, steps).double()
    table = load("solver_search.tableaus").TABLEAUS["euler"](sigmas, flow=facts.flow)
    return preset_of(table, prediction=facts.prediction, shift=facts.shift, guidance=CFG)


def simple(subject: Subject, steps: int = STEPS) -> Tensor:
    """ComfyUI's "simple" noise levels."""
    import comfy.samplers

    ms = subject.model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(ms, "simple", steps)


def used(subject: Subject, preset: Any) -> Any:  # noqa: ANN401
    """The model, with the preset as Use Solver patches it."""
    if preset is None:
        return subject.model
    return load("nodes.comfy_bridge.apply").use_preset(subject.model, preset)


def ksampler(subject: Subject, preset: Any, steps: int = STEPS,  # noqa: ANN401
             latent: dict | None = None, **more: Any) -> Tensor:  # noqa: ANN401
    import nodes

    return nodes.common_ksampler(
        used(subject, preset), SEED, steps, CFG, "euler", "simple", subject.positive,
        subject.negative, latent or {"samples": subject.latent}, **more)[0]["samples"]


def two_passes(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """KSampler (Advanced): 0 to 2 with leftover noise, then 2 to the end."""
    half = ksampler(subject, preset, start_step=0, last_step=2, force_full_denoise=False)
    return ksampler(subject, preset, latent={"samples": half}, disable_noise=True, start_step=2,
                    last_step=10000, force_full_denoise=True)


def two_experts(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """KSampler (Advanced) twice, the second half by another model, as Wan 2.2 and refiners do."""
    other = replace(subject, model=changed(subject.model))
    half = ksampler(subject, preset, start_step=0, last_step=2, force_full_denoise=False)
    return ksampler(other, preset, latent={"samples": half}, disable_noise=True, start_step=2,
                    last_step=10000, force_full_denoise=True)


def changed(model: Any) -> Any:  # noqa: ANN401
    """The model with one weight patched: another expert."""
    weights = model.model_state_dict()
    key = next(k for k in reversed(list(weights)) if weights[k].ndim == 2)
    generator = torch.Generator().manual_seed(4)
    other = model.clone()
    other.add_patches({key: ("diff", (torch.randn(weights[key].shape, generator=generator),))},
                      0.1)
    return other


def image_to_image(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """KSampler at denoise 0.5, which takes the last steps of a list twice as long."""
    begun = {"samples": picture(subject)}
    return ksampler(subject, preset and euler(subject, 2 * STEPS), latent=begun, denoise=0.5)


def masked(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """KSampler with a noise mask."""
    return ksampler(subject, preset, latent={"samples": picture(subject),
                                             "noise_mask": half_mask(subject)})


def half_mask(subject: Subject) -> Tensor:
    """(1, 1, H, W), or (1, 1, L) for audio: ones in one half."""
    places = subject.latent.shape[2:][-2:]
    mask = torch.zeros(1, 1, *places)
    mask[..., : places[-1] // 2] = 1
    return mask


def batch(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """KSampler, three pictures at once."""
    shape = (3, *subject.latent.shape[1:])
    return ksampler(subject, preset, latent={"samples": torch.zeros(shape)})


def sampler_custom(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """SamplerCustom with both sockets of Solver Sampler."""
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    return SamplerCustom.execute(
        subject.model, True, SEED, CFG, subject.positive, subject.negative, _sampler(preset),
        simple(subject), {"samples": subject.latent}).args[0]["samples"]


def split_sigmas(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """SamplerCustom twice, on the two halves of SplitSigmas."""
    from comfy_extras.nodes_custom_sampler import SamplerCustom, SplitSigmas

    high, low = SplitSigmas.execute(simple(subject), 2).args
    latent = {"samples": subject.latent}
    for sigmas, noise in ((high, True), (low, False)):
        latent = SamplerCustom.execute(subject.model, noise, SEED, CFG, subject.positive,
                                       subject.negative, _sampler(preset), sigmas,
                                       latent).args[0]
    return latent["samples"]


def seen_by_a_search(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
    """What Search Solver works on: model, prompts and patches as a KSampler samples them."""
    import comfy.sample

    if preset is None:
        return ksampler(subject, None)
    session = load("nodes.comfy_bridge.session")
    guider = session.make_guider(subject.model, subject.positive, subject.negative, CFG)
    noise = comfy.sample.prepare_noise(subject.latent, SEED)

    def work(inside: Any) -> Tensor:  # noqa: ANN401
        load("nodes.repeatable").check_memoryless(inside, inside.starts(noise), torch.float32)
        ends = load("solver_search.sample").sample(
            lambda x, sigma: inside.denoise(x, sigma, torch.zeros(1, dtype=torch.long)),
            preset.solver, inside.starts(noise))
        return inside.latent(ends)

    return session.within(guider, subject.latent, work, seed=SEED)


def advanced(guider: Callable[[Subject, Any], Any]) -> Way:
    """SamplerCustomAdvanced with a guider."""
    def run(subject: Subject, preset: Any) -> Tensor:  # noqa: ANN401
        import comfy.sample
        from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

        noise = SimpleNamespace(seed=SEED, generate_noise=lambda image: comfy.sample.prepare_noise(
            image["samples"], SEED))
        return SamplerCustomAdvanced.execute(
            noise, guider(subject, subject.model), _sampler(preset), simple(subject),
            {"samples": subject.latent}).args[0]["samples"]
    return run


def _sampler(preset: Any) -> Any:  # noqa: ANN401
    import comfy.samplers

    if preset is None:
        return comfy.samplers.sampler_object("euler")
    return load("nodes.comfy_bridge.apply").as_sampler(preset)


def picture(subject: Subject) -> Tensor:
    """A latent to begin from."""
    generator = torch.Generator().manual_seed(9)
    return torch.randn(subject.latent.shape, generator=generator) * 0.5


def _cfg_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_custom_sampler import CFGGuider

    return CFGGuider.execute(model, subject.positive, subject.negative, CFG).args[0]


def _basic_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_custom_sampler import BasicGuider

    return BasicGuider.execute(model, subject.positive).args[0]


def _dual_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_custom_sampler import DualCFGGuider

    return DualCFGGuider.execute(model, subject.positive, subject.negative, subject.negative,
                                 CFG, 2.0, "regular").args[0]


def _perp_neg_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_perpneg import PerpNegGuider

    return PerpNegGuider.execute(model, subject.positive, subject.negative, subject.negative,
                                 CFG, 1.0).args[0]


GUIDERS: dict[str, Callable[[Subject, Any], Any]] = {
    "CFGGuider": _cfg_guider, "BasicGuider": _basic_guider, "DualCFGGuider": _dual_guider,
    "PerpNegGuider": _perp_neg_guider,
}
WAYS: dict[str, Way] = {
    "KSampler": ksampler,
    "KSampler Advanced, two passes": two_passes,
    "two experts": two_experts,
    "denoise 0.5": image_to_image,
    "mask": masked,
    "batch of 3": batch,
    "SamplerCustom": sampler_custom,
    "SplitSigmas": split_sigmas,
    "Search Solver": seen_by_a_search,
    **{name: advanced(guider) for name, guider in GUIDERS.items()},
}
