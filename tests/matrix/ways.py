"""Ways of sampling in ComfyUI. Each is run by ComfyUI's own euler, by a preset, by the formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch

from tests.pack import load

from .families import Subject, other_words
from .media import Latent, each, media, nested, packed, side_by_side
from .searched import CFG, SEED, STEPS, euler, searched
from .who import Ours, Own, Plain, Who, comfy_euler

Run = Callable[[Subject, Who], Latent]


@dataclass(frozen=True)
class Pair:
    """Two who must give the same picture.

    Args:
        name: of the preset, in words.
        expected: samples it without our code.
        found: samples it with our code.
    """

    name: str
    expected: Who
    found: Who


EULER = Pair("Euler", Own(), Ours(euler))
SEARCHED = Pair("a searched preset", Plain(searched), Ours(searched))


@dataclass(frozen=True)
class Way:
    """One way of sampling.

    Args:
        run: gives the finished latent, by whomever.
        pairs: who is compared.
        mask: of ways that keep a picture outside a mask: 0 there.
        on: families it is tried on, where it is not tried on all.
    """

    run: Run
    pairs: tuple[Pair, ...] = (EULER, SEARCHED)
    mask: Callable[[Subject], Latent] | None = None
    on: tuple[str, ...] = ()


def ksampler(subject: Subject, who: Who | None = None, *, steps: int = STEPS,
             denoise: float = 1.0, latent: dict | None = None, scheduler: str = "simple",
             seed: int = SEED, **more: Any) -> Latent:  # noqa: ANN401
    """KSampler and KSampler (Advanced); by None the model is sampled as it is."""
    import nodes

    return nodes.common_ksampler(
        (who or Own()).model(subject, steps, denoise), seed, steps, CFG, "euler", scheduler,
        subject.positive, subject.negative, latent or {"samples": subject.latent},
        denoise=denoise, **more)[0]["samples"]


def two_passes(subject: Subject, who: Who, second: Subject | None = None,
               **latent: Any) -> Latent:  # noqa: ANN401
    """KSampler (Advanced): 0 to 2 with leftover noise, then 2 to the end."""
    latent = {"samples": subject.latent, **latent}
    half = ksampler(subject, who, latent=latent, start_step=0, last_step=2,
                    force_full_denoise=False)
    return ksampler(second or subject, who, latent={**latent, "samples": half},
                    disable_noise=True, start_step=2, last_step=10000, force_full_denoise=True)


def two_experts(subject: Subject, who: Who) -> Latent:
    """The second half by another model, as Wan 2.2 and refiners do."""
    return two_passes(subject, who, replace(subject, model=changed(subject.model)))


def changed(model: Any) -> Any:  # noqa: ANN401
    """The model with one weight patched: another expert."""
    weights = model.model_state_dict()
    key = next(k for k in reversed(list(weights)) if weights[k].ndim == 2)
    generator = torch.Generator().manual_seed(4)
    other = model.clone()
    other.add_patches({key: ("diff", (torch.randn(weights[key].shape, generator=generator),))},
                      0.1)
    return other


def image_to_image(subject: Subject, who: Who) -> Latent:
    """KSampler at denoise 0.5, which takes the last steps of a list twice as long."""
    return ksampler(subject, who, latent={"samples": picture(subject)}, denoise=0.5)


def masked(subject: Subject, who: Who) -> Latent:
    """KSampler with a noise mask."""
    return ksampler(subject, who, latent={"samples": picture(subject),
                                          "noise_mask": half_mask(subject)})


def half_mask(subject: Subject) -> Latent:
    """(1, 1, H, W), or (1, 1, L) for audio: ones in one half."""
    def half(latent: torch.Tensor) -> torch.Tensor:
        places = latent.shape[2:][-2:]
        mask = torch.zeros(1, 1, *places)
        mask[..., : places[-1] // 2] = 1
        return mask

    return each(subject.latent, half)


def batch(subject: Subject, who: Who) -> Latent:
    """KSampler, three pictures at once."""
    return ksampler(subject, who, latent={"samples": side_by_side([subject.latent] * 3)})


def sampler_custom(subject: Subject, who: Who) -> Latent:
    """SamplerCustom with both sockets of Solver Sampler."""
    return custom(subject.model, subject, who.sampler(subject), who.sigmas(subject))["samples"]


def custom(model: Any, subject: Subject, sampler: Any, sigmas: torch.Tensor,  # noqa: ANN401
           latent: dict | None = None, *, noise: bool = True) -> dict:
    """SamplerCustom; gives its LATENT."""
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    return SamplerCustom.execute(model, noise, SEED, CFG, subject.positive, subject.negative,
                                 sampler, sigmas, latent or {"samples": subject.latent}).args[0]


def split_sigmas(subject: Subject, who: Who) -> Latent:
    """SamplerCustom twice, on the two halves of SplitSigmas."""
    return in_turn(subject, who, split(who.sigmas(subject), 2))


def split(sigmas: torch.Tensor, *steps: int) -> list[torch.Tensor]:
    """SplitSigmas, its lower list split again; steps are counted from the top."""
    from comfy_extras.nodes_custom_sampler import SplitSigmas

    lists, done = [], 0
    for step in steps:
        high, sigmas = SplitSigmas.execute(sigmas, step - done).args
        lists, done = [*lists, high], step
    return [*lists, sigmas]


def in_turn(subject: Subject, who: Who, lists: list[torch.Tensor], *,
            patched: bool = False) -> Latent:
    """SamplerCustom once for each list, noise added in the first.

    Args:
        patched: whether the preset comes by Use Solver; else by Solver Sampler.
    """
    model, sampler = ((who.model(subject), comfy_euler()) if patched
                      else (subject.model, who.sampler(subject)))
    latent = None
    for place, sigmas in enumerate(lists):
        latent = custom(model, subject, sampler, sigmas, latent, noise=place == 0)
    return latent["samples"]


def seen_by_a_search(subject: Subject, who: Who) -> Latent:
    """What Search Solver works on: model, prompts and patches as a KSampler samples them.

    Of several media it shows the first; all of them are sampled to get there.
    """
    import comfy.sample

    if not isinstance(who, Ours):
        return media(ksampler(subject, who))[0]
    session = load("nodes.comfy_bridge.session")
    solver = who.make(subject, STEPS, 1.0).solver
    guider = session.make_guider(subject.model, subject.positive, subject.negative, CFG)
    noise = packed(comfy.sample.prepare_noise(subject.latent, SEED))

    def work(inside: Any) -> Latent:  # noqa: ANN401
        load("nodes.repeatable").check_memoryless(inside, inside.starts(noise), torch.float32)
        ends = load("solver_search.sample").sample(
            lambda x, sigma: inside.denoise(x, sigma, torch.zeros(1, dtype=torch.long)),
            solver, inside.starts(noise), canvas=inside.canvas, guidance=lambda _: inside.added)
        return inside.latent(ends)

    return session.within(guider, subject.latent, work, seed=SEED)


def advanced(guider: Callable[[Subject, Any], Any], outputs: int = 1) -> Run:
    """SamplerCustomAdvanced with a guider; of its outputs (picture, denoised) the first ones."""
    def run(subject: Subject, who: Who) -> Latent:
        import comfy.sample
        from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

        noise = SimpleNamespace(seed=SEED, generate_noise=lambda image: comfy.sample.prepare_noise(
            image["samples"], SEED))
        out = SamplerCustomAdvanced.execute(
            noise, guider(subject, subject.model), who.sampler(subject), who.sigmas(subject),
            {"samples": subject.latent}).args
        return nested([part for latent in out[:outputs] for part in media(latent["samples"])])
    return run


def picture(subject: Subject) -> Latent:
    """A latent to begin from."""
    generator = torch.Generator().manual_seed(9)
    return each(subject.latent,
                lambda latent: torch.randn(latent.shape, generator=generator) * 0.5)


def cfg_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_custom_sampler import CFGGuider

    return CFGGuider.execute(model, subject.positive, subject.negative, CFG).args[0]


def _basic_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_custom_sampler import BasicGuider

    return BasicGuider.execute(model, subject.positive).args[0]


def dual_guider(style: str) -> Callable[[Subject, Any], Any]:
    def guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
        from comfy_extras.nodes_custom_sampler import DualCFGGuider

        return DualCFGGuider.execute(model, subject.positive, other_words(subject),
                                     subject.negative, CFG, 2.0, style).args[0]
    return guider


def two_models_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    """The negative prompt by another model."""
    from comfy_extras.nodes_custom_sampler import DualModelGuider

    return DualModelGuider.execute(model, subject.positive, CFG, changed(subject.model),
                                   subject.negative).args[0]


def _perp_neg_guider(subject: Subject, model: Any) -> Any:  # noqa: ANN401
    from comfy_extras.nodes_perpneg import PerpNegGuider

    return PerpNegGuider.execute(model, subject.positive, subject.negative, other_words(subject),
                                 CFG, 1.0).args[0]


GUIDERS: dict[str, Callable[[Subject, Any], Any]] = {
    "CFGGuider": cfg_guider, "BasicGuider": _basic_guider, "DualCFGGuider": dual_guider("regular"),
    "PerpNegGuider": _perp_neg_guider,
}
KSAMPLER, MASKED = Way(ksampler), Way(masked, mask=half_mask)
WAYS: dict[str, Way] = {
    "KSampler": KSAMPLER,
    "KSampler Advanced, two passes": Way(two_passes),
    "two experts": Way(two_experts),
    "denoise 0.5": Way(image_to_image),
    "mask": MASKED,
    "batch of 3": Way(batch),
    "SamplerCustom": Way(sampler_custom),
    "SplitSigmas": Way(split_sigmas),
    "Search Solver": Way(seen_by_a_search),
    **{name: Way(advanced(guider)) for name, guider in GUIDERS.items()},
}
