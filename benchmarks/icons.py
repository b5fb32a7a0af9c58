"""The icons model: Stable Diffusion 2's UNet in small, v-prediction, and the words it knows.

ComfyUI's loader knows Stable Diffusion 2 by 320 channels, 80 times too many here, so the model is
made from the loader's own parts: family `SD20`, `UNetModel`, `ModelType.V_PREDICTION`.

A prompt is a picture set, a background and a name, `noto, mint, crescent moon`. Every word is the
fixed Gaussian vector that its spelling decides (demo/comfy_nodes/words.py), so the language has no
list of words; unused places hold the vector of the empty word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from demo.architectures import build_vae, initialise
from demo.comfy_nodes.words import EMPTY, word_vector
from demo.comfyui import load_comfy
from demo.files import MODEL_PREFIX, VAE_PREFIX

CHECKPOINT = Path(__file__).parent / "checkpoints" / "bench_icons.safetensors"
PROMPTS = Path(__file__).with_name("icon_prompts.json")
CONTEXT, CHANNELS, WORDS = 128, 4, 8
BACKGROUNDS = {"white": (250, 250, 250), "slate": (62, 74, 92), "mint": (170, 226, 200),
               "rose": (240, 178, 190), "sand": (236, 214, 170), "sky": (150, 200, 240),
               "plum": (110, 70, 120), "night": (20, 22, 40)}
SHAPE: dict[str, Any] = {
    "image_size": 32, "in_channels": CHANNELS, "out_channels": CHANNELS, "model_channels": 96,
    "num_res_blocks": [2, 1], "channel_mult": [1, 1], "transformer_depth": [1, 1, 1],
    "transformer_depth_output": [1, 1, 1, 1, 1], "transformer_depth_middle": -1,
    "context_dim": CONTEXT, "num_heads": -1, "num_head_channels": 32,
    "use_spatial_transformer": True, "use_linear_in_transformer": True, "legacy": False,
}


def icon_prompts(part: str) -> tuple[str, ...]:
    """Prompts of a search or of a measurement: no name is in both.

    Args:
        part: "search" or "held_out".
    """
    return tuple(json.loads(PROMPTS.read_text())[part])


def split_words(prompt: str) -> list[str]:
    """The words of one prompt, in order.

    Raises:
        ValueError: more than `WORDS`.
    """
    words = [word for word in re.split(r"[\s,]+", prompt.lower()) if word]
    if len(words) > WORDS:
        raise ValueError(f"An icon prompt has at most {WORDS} words; {prompt!r} has {len(words)}. "
                         "Leave some out.")
    return words


@cache
def _vector(word: str) -> Tensor:
    return word_vector(word, CONTEXT)


def token_rows(prompts: list[str]) -> Tensor:
    """Prompts as cross-attention tokens (K, WORDS, CONTEXT) float32."""
    padded = [split_words(p) for p in prompts]
    return torch.stack([torch.stack([_vector(w) for w in words + [EMPTY] * (WORDS - len(words))])
                        for words in padded])


def encode(lines: tuple[str, ...]) -> list[list[Any]]:
    """CONDITIONING, one row per line; no line is the empty prompt."""
    return [[token_rows(list(lines) or [EMPTY]), {}]]


def build_unet() -> nn.Module:
    """The untrained network: two levels of 128 channels, 4.7 million parameters."""
    module = load_comfy("comfy.ldm.modules.diffusionmodules.openaimodel")
    model = module.UNetModel(**SHAPE, dtype=torch.float32,
                             operations=load_comfy("comfy.ops").disable_weight_init)
    initialise(model)
    return model


def icons_model(path: Path = CHECKPOINT) -> Any:  # noqa: ANN401  comfy's own type
    """MODEL of the checkpoint, float32, on ComfyUI's device.

    Raises:
        FileNotFoundError: it has not been trained yet.
    """
    if not path.exists():
        raise FileNotFoundError(f"No {path.name} in {path.parent}; `python -m "
                                "benchmarks.icon_data` and `python -m benchmarks.train_icons` "
                                "make it.")
    base, management = load_comfy("comfy.model_base"), load_comfy("comfy.model_management")
    config = load_comfy("comfy.supported_models").SD20(dict(SHAPE))
    config.unet_config.update(SHAPE)  # the family has heads of 64
    config.set_inference_dtype(torch.float32, None)
    model = base.BaseModel(config, base.ModelType.V_PREDICTION,
                           device=management.unet_offload_device())
    model.diffusion_model.load_state_dict(_part(path, MODEL_PREFIX))
    return load_comfy("comfy.model_patcher").ModelPatcher(
        model.eval(), management.get_torch_device(), management.unet_offload_device())


def icons_decoder(path: Path = CHECKPOINT) -> Callable[[Tensor], Tensor]:
    """Pictures (B, 3, 64, 64) in [0, 1] from finished states (B, 4, 8, 8)."""
    vae = build_vae(CHANNELS)
    vae.load_state_dict(_part(path, VAE_PREFIX), strict=False)  # the file has no encoder
    scale = load_comfy("comfy.latent_formats").SD15()

    def decode(states: Tensor) -> Tensor:
        with torch.inference_mode():
            pictures = vae.decode(scale.process_out(states.float().cpu())) / 2 + 0.5
        return pictures.clamp(0, 1)

    return decode


def _part(path: Path, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor.float() for name, tensor in load_file(path).items()
            if name.startswith(prefix)}
