"""Things people put into a graph beside a sampler: patches, conditioning, precisions.

A feature changes a subject through ComfyUI's own node or function. It is tried where its own code
is exercised: on a UNet (SD1.5), an image transformer (SD3) or a video transformer (Wan).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from .families import FAMILIES, GAIN, UNET, Subject, initialise, other_words, sd15
from .masks import RAMP, painted
from .ways import KSAMPLER, MASKED, Way, half_mask, ksampler, picture

Change = Callable[[Subject], Subject]
UNET_ONLY, TRANSFORMER, EVERY = ("SD1.5",), ("SD3",), ("SD1.5", "SD3", "Wan 2.1")


@dataclass(frozen=True)
class Feature:
    """One row of the table.

    Args:
        change: puts it into a subject.
        on: families it is tried on.
        way: how it is sampled.
        seen: whether it must change the picture (else the trial would prove nothing).
    """

    change: Change
    on: tuple[str, ...] = EVERY
    way: Way = KSAMPLER
    seen: bool = True


def lora_weights(subject: Subject) -> dict[str, torch.Tensor]:
    """A LoRA of rank 2 on one layer, in the keys people's files have."""
    import comfy.lora

    keys = comfy.lora.model_lora_keys_unet(subject.model.model, {})
    shapes = {name: value.shape for name, value in subject.model.model_state_dict().items()}
    name, place = next((k, v) for k, v in keys.items()
                       if isinstance(v, str) and len(shapes.get(v, ())) == 2)
    out, into = shapes[place]
    generator = torch.Generator().manual_seed(6)
    return {f"{name}.lora_up.weight": torch.randn(out, 2, generator=generator),
            f"{name}.lora_down.weight": torch.randn(2, into, generator=generator),
            f"{name}.alpha": torch.tensor(1.0)}


def lora(subject: Subject) -> Subject:
    import comfy.sd

    model, _ = comfy.sd.load_lora_for_models(subject.model, None, lora_weights(subject), 1.0, 0)
    return replace(subject, model=model)


def lora_hook(subject: Subject) -> Subject:
    """A LoRA that only the positive prompt has, by ComfyUI's hooks."""
    import comfy.hooks

    group = comfy.hooks.create_hook_lora(lora_weights(subject), 1.0, 0.0)
    positive = comfy.hooks.set_hooks_for_conditioning(subject.positive, group)
    return replace(subject, positive=positive)


def scheduled(subject: Subject) -> Subject:
    import nodes

    ranged = nodes.ConditioningSetTimestepRange().set_range
    both = (ranged(subject.positive, 0.0, 0.5)[0] + ranged(other_words(subject), 0.5, 1.0)[0])
    return replace(subject, positive=both)


def regional(subject: Subject) -> Subject:
    import nodes

    mask = torch.zeros(1, 64, 64)
    mask[..., :32] = 1
    left = nodes.ConditioningSetMask().append(other_words(subject), mask, "default", 1.0)[0]
    return replace(subject, positive=subject.positive + left)


def area(subject: Subject) -> Subject:
    import nodes

    left = nodes.ConditioningSetArea().append(other_words(subject), 32, 64, 0, 0, 1.0)[0]
    return replace(subject, positive=subject.positive + left)


def controlnet(subject: Subject) -> Subject:
    import comfy.cldm.cldm
    import comfy.ops
    from comfy.controlnet import ControlNet

    import nodes

    config = {k: v for k, v in UNET.items() if k not in ("out_channels",
                                                         "transformer_depth_output")}
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        network = comfy.cldm.cldm.ControlNet(hint_channels=3, operations=comfy.ops.manual_cast,
                                             **config)
        initialise(network, GAIN)
    control = ControlNet(network, load_device=torch.device("cpu"))
    hint = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(2))
    positive, negative = nodes.ControlNetApplyAdvanced().apply_controlnet(
        subject.positive, subject.negative, control, hint, 0.8, 0.0, 0.9)
    return replace(subject, positive=positive, negative=negative)


def attention_patch(subject: Subject) -> Subject:
    """What IP-Adapter nodes do: cross attention changed by a patch."""
    model = subject.model.clone()
    model.set_model_attn2_patch(lambda q, k, v, extra: (q, k, v * 1.3))
    return replace(subject, model=model)


def block_patch(subject: Subject) -> Subject:
    """What adapters for transformers do: a block replaced by one that changes its output."""
    def mixed(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        out = extra["original_block"](args)
        return {**out, "img": out["img"] + out["img"].roll(1, dims=1) / 2}

    model = subject.model.clone()
    model.set_model_patch_replace(mixed, "dit", "double_block", 0)
    return replace(subject, model=model)


def node(module: str, name: str, *values: Any, **named: Any) -> Change:  # noqa: ANN401
    """A node of comfy_extras that takes a MODEL and gives one."""
    def change(subject: Subject) -> Subject:
        import importlib

        found = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
        if hasattr(found, "execute"):
            made = found.execute(subject.model, *values, **named)
            return replace(subject, model=(made if isinstance(made, tuple) else made.args)[0])
        run = getattr(found(), found.FUNCTION)
        return replace(subject, model=run(subject.model, *values, **named)[0])
    return change


def step_patch(subject: Subject) -> Subject:
    """What context windows and step caches do: look the current level up among all."""
    def looked_up(apply: Callable, call: dict[str, Any]) -> torch.Tensor:
        levels = call["c"]["transformer_options"]
        place = (levels["sample_sigmas"] == levels["sigmas"][0]).nonzero()
        out = apply(call["input"], call["timestep"], **call["c"])
        return out * 0.9 ** int(place[0] + 1) if len(place) else out

    model = subject.model.clone()
    model.set_model_unet_function_wrapper(looked_up)
    return replace(subject, model=model)


def compiled(subject: Subject) -> Subject:
    """torch.compile around the network; "eager" needs no compiler on the machine."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    model = subject.model.clone()
    set_torch_compile_wrapper(model=model, backend="eager")
    return replace(subject, model=model)


def cfg_on_the_way(subject: Subject) -> Subject:
    """A CFG that falls to 1 with the noise: two of ComfyUI's CFGOverride."""
    middle = node("nodes_custom_sampler", "CFGOverride", 2.0, 0.2, 0.6)
    return node("nodes_custom_sampler", "CFGOverride", 1.0, 0.6, 1.0)(middle(subject))


def inpaint_model(subject: Subject) -> Subject:
    """A UNet that also sees the picture and the mask: nine channels."""
    own = sd15(channels=9)
    about = {"concat_latent_image": picture(own), "concat_mask": half_mask(own)}
    add = [[[tensor, {**more, **about}] for tensor, more in side]
           for side in (own.positive, own.negative)]
    return replace(own, positive=add[0], negative=add[1])


def stored_as(dtype: torch.dtype) -> Change:
    """Weights in another precision, as checkpoints and loaders have them."""
    return lambda subject: sd15(dtype=dtype)


def several_prompts(subject: Subject) -> Subject:
    """Two prompts combined by ConditioningCombine."""
    return replace(subject, positive=subject.positive + other_words(subject))


def long_prompt(subject: Subject) -> Subject:
    """A negative prompt of another length than the positive one."""
    tensor, about = subject.negative[0]
    return replace(subject, negative=[[torch.cat([tensor, tensor.flip(-1)], 1), dict(about)]])


def frames(subject: Subject) -> Subject:
    """Six latent frames, for context windows."""
    shape = list(subject.latent.shape)
    shape[2] = 6
    return replace(subject, latent=torch.zeros(shape))


def windows(subject: Subject) -> Subject:
    long = frames(subject)
    change = node("nodes_context_windows", "ContextWindowsManualNode", 3, 1, "standard_static", 1,
                  False, "pyramid", 2, False)
    return change(long)


FEATURES: dict[str, Feature] = {
    "LoRA": Feature(lora),
    "LoRA on one prompt (hooks)": Feature(lora_hook),
    "scheduled prompts": Feature(scheduled),
    "regional prompts (mask)": Feature(regional, ("SD1.5", "SD3")),
    "regional prompts (area)": Feature(area, ("SD1.5", "SD3")),
    "combined prompts": Feature(several_prompts),
    "prompts of different length": Feature(long_prompt),
    "ControlNet": Feature(controlnet, UNET_ONLY),
    "attention patch (IP-Adapter)": Feature(attention_patch, UNET_ONLY),
    "block patch (adapters of transformers)": Feature(block_patch, TRANSFORMER),
    "patch that looks up its step": Feature(step_patch, way=Way(ksampler)),
    "RescaleCFG": Feature(node("nodes_model_advanced", "RescaleCFG", 0.7)),
    "APG": Feature(node("nodes_apg", "APG", 0.5, 1.0, -0.5)),
    "APG without momentum": Feature(node("nodes_apg", "APG", 0.5, 1.0, 0.0)),
    "CFG-Zero*": Feature(node("nodes_cfg", "CFGZeroStar")),
    "CFG that changes on the way (CFGOverride)": Feature(cfg_on_the_way),
    "RenormCFG": Feature(node("nodes_lumina2", "RenormCFG", 100.0, 1.0), TRANSFORMER),
    "TCFG": Feature(node("nodes_tcfg", "TCFG")),
    "NAG": Feature(node("nodes_nag", "NAGuidance", 3.0, 0.5, 1.5), UNET_ONLY),
    "CFGNorm": Feature(node("nodes_cfg", "CFGNorm", 0.5)),
    "CFGNorm before CFG": Feature(node("nodes_cfg", "CFGNorm", 0.5, True)),
    "Perturbed attention": Feature(node("nodes_pag", "PerturbedAttentionGuidance", 2.0),
                                   UNET_ONLY),
    "Skip layer guidance": Feature(node("nodes_slg", "SkipLayerGuidanceDiT", 3.0, 0.0, 1.0, "0",
                                        "0", 0.0), TRANSFORMER),
    "FreeU": Feature(node("nodes_freelunch", "FreeU_V2", 1.3, 1.4, 0.9, 0.2), UNET_ONLY),
    "HyperTile": Feature(node("nodes_hypertile", "HyperTile", 256, 2, 0, False), UNET_ONLY,
                         seen=False),
    "EasyCache": Feature(node("nodes_easycache", "EasyCacheNode", 9.0, 0.0, 1.0, False),
                         ("SD1.5", "Wan 2.1")),
    "LazyCache": Feature(node("nodes_easycache", "LazyCacheNode", 9.0, 0.0, 1.0, False)),
    "torch.compile": Feature(compiled, ("SD1.5", "SD3"), seen=False),
    "differential diffusion": Feature(node("nodes_differential_diffusion",
                                           "DifferentialDiffusion", 1.0),
                                      way=Way(painted(RAMP), mask=RAMP)),
    "inpaint model": Feature(inpaint_model, UNET_ONLY, MASKED),
    "context windows": Feature(windows, ("Wan 2.1",)),
    "weights in bf16": Feature(stored_as(torch.bfloat16), UNET_ONLY),
    "weights in fp16": Feature(stored_as(torch.float16), UNET_ONLY),
    "weights in fp8": Feature(stored_as(torch.float8_e4m3fn), UNET_ONLY),
    "ModelSamplingSD3": Feature(node("nodes_model_advanced", "ModelSamplingSD3", 5.0),
                                ("SD3", "Wan 2.1")),
    "ModelSamplingFlux": Feature(node("nodes_model_advanced", "ModelSamplingFlux", 1.15, 0.5,
                                      1024, 1024), ("SD3",)),
    "ModelSamplingAuraFlow": Feature(node("nodes_model_advanced", "ModelSamplingAuraFlow", 1.73),
                                     ("SD3",)),
    "ModelSamplingDiscrete v, zsnr": Feature(node("nodes_model_advanced", "ModelSamplingDiscrete",
                                                  "v_prediction", True), UNET_ONLY),
    "ModelSamplingContinuousEDM": Feature(node("nodes_model_advanced",
                                               "ModelSamplingContinuousEDM", "edm", 120.0, 0.002),
                                          UNET_ONLY),
    "ModelSamplingContinuousV": Feature(node("nodes_model_advanced", "ModelSamplingContinuousV",
                                             "v_prediction", 500.0, 0.03), UNET_ONLY),
}


def subject_with(feature: Feature, family: str) -> Callable[[], Subject]:
    """Makes fresh subjects that share one loaded model."""
    base = FAMILIES[family].build()
    return lambda: feature.change(copy.copy(base))


def plain(family: str) -> Subject:
    """The family without any feature."""
    return FAMILIES[family].build()
