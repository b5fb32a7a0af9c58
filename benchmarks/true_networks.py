"""Checkpoints of well-known networks at their true size, with random weights.

They paint nothing. Names, shapes and dtypes are those of the published files, so that ComfyUI's
own loader takes them for what they are; time and memory of a model call are the real ones.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from demo.comfyui import load_comfy
from demo.files import MODEL_PREFIX

LAST = re.compile(r"(^out\.2|final_layer\.linear|head\.head)\.weight$")
LAST_SCALE = 0.3  # so that the answer of a random network stays of the latents' size
NAMES = {torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True)
class Network:
    """A published network.

    Args:
        build: makes it.
        channels: of its latents.
        context: width and number of its prompt's tokens.
        pooled: width of its pooled prompt; 0: none.
        size: side of the latents it was trained at.
        frames: of the latents it was trained at; 0: pictures.
    """

    build: Callable[[], nn.Module]
    channels: int
    context: tuple[int, int]
    pooled: int
    size: int
    frames: int = 0

    def latent(self, side: int, batch: int) -> Tensor:
        """Zeros of a picture size."""
        middle = (self.frames,) if self.frames else ()
        return torch.zeros(batch, self.channels, *middle, side, side)

    def prompt(self, seed: int) -> list[list[Any]]:
        """CONDITIONING of random numbers."""
        generator = torch.Generator().manual_seed(seed)
        width, tokens = self.context
        more = {"pooled_output": torch.randn(1, self.pooled, generator=generator)}
        return [[torch.randn(1, tokens, width, generator=generator), more if self.pooled else {}]]


def _unet(**config: Any) -> nn.Module:  # noqa: ANN401
    module = load_comfy("comfy.ldm.modules.diffusionmodules.openaimodel")
    return module.UNetModel(
        image_size=32, in_channels=4, out_channels=4, model_channels=320, legacy=False,
        use_spatial_transformer=True, **config, **_layers())


def _sd15() -> nn.Module:
    return _unet(
        num_res_blocks=[2] * 4, channel_mult=[1, 2, 4, 4], transformer_depth=[1] * 6 + [0] * 2,
        transformer_depth_output=[1] * 9 + [0] * 3, transformer_depth_middle=1,
        use_linear_in_transformer=False, context_dim=768, num_heads=8)


def _sdxl() -> nn.Module:
    return _unet(
        num_res_blocks=[2] * 3, channel_mult=[1, 2, 4], transformer_depth=[0, 0, 2, 2, 10, 10],
        transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10], transformer_depth_middle=10,
        use_linear_in_transformer=True, context_dim=2048, num_head_channels=64,
        num_classes="sequential", adm_in_channels=2816)


def _sd35_medium() -> nn.Module:
    module = load_comfy("comfy.ldm.modules.diffusionmodules.mmdit")
    context = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}}
    return module.OpenAISignatureMMDITWrapper(
        input_size=None, patch_size=2, in_channels=16, out_channels=16, depth=24, qk_norm="rms",
        adm_in_channels=2048, num_patches=384 ** 2, pos_embed_max_size=384,
        context_embedder_config=context, x_block_self_attn_layers=list(range(13)), **_layers())


def _flux_dev() -> nn.Module:
    return load_comfy("comfy.ldm.flux.model").Flux(
        in_channels=16, out_channels=16, vec_in_dim=768, context_in_dim=4096, hidden_size=3072,
        mlp_ratio=4.0, num_heads=24, depth=19, depth_single_blocks=38, axes_dim=[16, 56, 56],
        theta=10000, patch_size=2, qkv_bias=True, guidance_embed=True, txt_ids_dims=[],
        **_layers())


def _wan() -> nn.Module:
    return load_comfy("comfy.ldm.wan.model").WanModel(
        model_type="t2v", in_dim=16, out_dim=16, dim=1536, ffn_dim=8960, num_heads=12,
        num_layers=30, text_dim=4096, freq_dim=256, **_layers())


def _layers() -> dict[str, Any]:
    return {"dtype": torch.float16, "operations": load_comfy("comfy.ops").disable_weight_init}


NETWORKS = {
    "sd15": Network(_sd15, 4, (768, 77), 0, 64),
    "sdxl": Network(_sdxl, 4, (2048, 77), 1280, 128),
    "sd35_medium": Network(_sd35_medium, 16, (4096, 154), 2048, 128),
    "flux_dev": Network(_flux_dev, 16, (4096, 256), 768, 128),
    "wan_1_3b": Network(_wan, 16, (4096, 512), 0, 60, 21),  # 81 frames of 480 x 480
}


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """A network's tensors under their names in a checkpoint."""
    with torch.device("meta"):
        model = NETWORKS[name].build()
    return {MODEL_PREFIX + key: tuple(value.shape) for key, value in model.state_dict().items()}


def write_random(name: str, path: Path, dtype: torch.dtype = torch.float16, seed: int = 0) -> None:
    """Write a checkpoint, one tensor at a time: as much memory as its largest one takes.

    Args:
        name: a key of NETWORKS.
        path: of the file; its folder is there.
        dtype: of all tensors, 16 bits.
        seed: of the weights.
    """
    known, place, header = shapes(name), 0, {}
    for key, shape in known.items():
        size = 2 * math.prod(shape)
        end = place + size
        header[key] = {"dtype": NAMES[dtype], "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    generator = torch.Generator().manual_seed(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key, shape in known.items():
            _write(file, _weight(key, shape, generator).to(dtype))


def _weight(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if len(shape) < 2:
        return torch.full(shape, float(key.endswith(("weight", "scale"))))
    scale = LAST_SCALE if LAST.search(key.removeprefix(MODEL_PREFIX)) else 1.0
    return torch.randn(shape, generator=generator) * scale / math.prod(shape[1:]) ** 0.5


def _write(file: BinaryIO, tensor: Tensor) -> None:
    file.write(tensor.view(torch.int16).numpy().data)
