"""Checkpoints with random weights, each below 5 MB, that ComfyUI loads as the real families.

They paint nothing; they let a test send every family's plumbing (2-D and 3-D latents, pooled
vectors, guidance, flow and v-prediction) through the real loader and sampler in milliseconds.
`python -m demo.tiny FOLDER` writes all of them. The last layer is scaled by 0.3, so that the
denoised estimate of a random network stays of the latents' size.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .architectures import initialise
from .comfyui import load_comfy
from .files import write_checkpoint

CONTEXT, POOLED, CHANNELS = 32, 16, 16
LAST_LAYER_SCALE = 0.3
Build = tuple[nn.Module, str, dict[str, str]]  # network, its last layer, file metadata


def build_sd3() -> Build:
    """Stable Diffusion 3's MMDiT: flow, shift 3; depth 1, width 64."""
    module = load_comfy("comfy.ldm.modules.diffusionmodules.mmdit")
    model = module.OpenAISignatureMMDITWrapper(
        input_size=None, patch_size=2, in_channels=CHANNELS, out_channels=CHANNELS, depth=1,
        adm_in_channels=POOLED, num_patches=256, pos_embed_max_size=16, qk_norm="rms",
        context_embedder_config={
            "target": "torch.nn.Linear", "params": {"in_features": CONTEXT, "out_features": 64},
        }, **_layers(),
    )  # fmt: skip
    model.pos_embed.copy_(torch.from_numpy(module.get_2d_sincos_pos_embed(64, 16))[None])
    return model, "final_layer.linear", {}


def build_flux_dev() -> Build:
    """Flux dev: flow, shift 1.15, embedded guidance; one double and one single block."""
    return _flux(guidance=True)


def build_flux_schnell() -> Build:
    """Flux schnell: flow, shift 1, timestep multiplier 1, no guidance input."""
    return _flux(guidance=False)


def _flux(*, guidance: bool) -> Build:
    model = load_comfy("comfy.ldm.flux.model").Flux(
        in_channels=CHANNELS, out_channels=CHANNELS, vec_in_dim=POOLED, context_in_dim=CONTEXT,
        hidden_size=128, mlp_ratio=4.0, num_heads=1, depth=1, depth_single_blocks=1,
        axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True, guidance_embed=guidance,
        txt_ids_dims=[], **_layers(),
    )  # fmt: skip
    return model, "final_layer.linear", {}


def build_wan() -> Build:
    """Wan 2.1 text to video: flow, shift 8, 3-D latents; one layer of width 128."""
    sizes = {"text_dim": CONTEXT, "freq_dim": 32}
    model = load_comfy("comfy.ldm.wan.model").WanModel(
        model_type="t2v", in_dim=CHANNELS, out_dim=CHANNELS, dim=128, ffn_dim=128, num_heads=1,
        num_layers=1, **sizes, **_layers(),
    )  # fmt: skip
    return model, "head.head", {"config": json.dumps({"transformer": sizes})}


def build_cogvideox() -> Build:
    """CogVideoX text to video: v-prediction with zero terminal SNR, 3-D latents; one layer."""
    model = load_comfy("comfy.ldm.cogvideo.model").CogVideoXTransformer3DModel(
        num_attention_heads=1, in_channels=CHANNELS, out_channels=CHANNELS, time_embed_dim=32,
        text_embed_dim=CONTEXT, num_layers=1, use_rotary_positional_embeddings=True, **_layers(),
    )  # fmt: skip
    return model, "proj_out", {}


def _layers() -> dict[str, Any]:
    return {"dtype": torch.float32, "operations": load_comfy("comfy.ops").disable_weight_init}


BUILDERS: dict[str, Callable[[], Build]] = {
    "sd3": build_sd3,
    "flux_dev": build_flux_dev,
    "flux_schnell": build_flux_schnell,
    "wan": build_wan,
    "cogvideox": build_cogvideox,
}


def write_tiny(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one checkpoint.

    Args:
        name: a key of `BUILDERS`.
        folder: created if missing.
        seed: of the weights.

    Returns:
        The file, `tiny_<name>.safetensors`, float32.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model, last, metadata = BUILDERS[name]()
        initialise(model, zeros=False)
        model.get_submodule(last).weight.mul_(LAST_LAYER_SCALE)
    path = folder / f"tiny_{name}.safetensors"
    write_checkpoint(path, model, dtype=torch.float32, metadata=metadata)
    return path


def main(arguments: list[str]) -> int:
    """Write every tiny checkpoint into the folder named."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m demo.tiny FOLDER\n")
        return 2
    for name in BUILDERS:
        path = write_tiny(name, Path(arguments[0]))
        sys.stdout.write(f"{path}  {path.stat().st_size / 1e6:.2f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
