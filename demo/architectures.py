"""The networks to train: ComfyUI's own classes, as small as its loaders still recognise.

ComfyUI's layers leave their weights uninitialised (they expect a checkpoint), so `initialise`
does it: fan-in Gaussian weights, zero biases, unit norms, and zeros in the layers that end a
residual branch or a network, as usual for diffusion models.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from .comfyui import load_comfy

FLOW_WIDTH = 128
FLOW_CONTEXT = 64
FLOW_POOLED = 64
FLOW_GRID = 16
FLOW_CHANNELS = 16
EPS_CONTEXT = 768
EPS_CHANNELS = 4
ZERO_AT_START = re.compile(
    r"(adaLN_modulation\.1|final_layer\.linear|out_layers\.3|^out\.2|proj_out)\.weight$"
)


def build_flow() -> nn.Module:
    """Stable Diffusion 3's MMDiT at depth 2 (ComfyUI ties width to 64 * depth), 16 channels.

    Both blocks carry the second self-attention of SD3.5 medium; qk RMS norm; patch 2.
    """
    mmdit = load_comfy("comfy.ldm.modules.diffusionmodules.mmdit")
    operations = load_comfy("comfy.ops").disable_weight_init
    model = mmdit.OpenAISignatureMMDITWrapper(
        input_size=None, patch_size=2, in_channels=FLOW_CHANNELS, out_channels=FLOW_CHANNELS,
        depth=FLOW_WIDTH // 64, adm_in_channels=FLOW_POOLED, num_patches=FLOW_GRID**2,
        context_embedder_config={
            "target": "torch.nn.Linear",
            "params": {"in_features": FLOW_CONTEXT, "out_features": FLOW_WIDTH},
        },
        pos_embed_max_size=FLOW_GRID, qk_norm="rms", x_block_self_attn_layers=[0, 1],
        dtype=torch.float32, operations=operations,
    )  # fmt: skip
    initialise(model)
    positions = mmdit.get_2d_sincos_pos_embed(FLOW_WIDTH, FLOW_GRID, offset=FLOW_GRID / 2 - 0.5)
    model.pos_embed.copy_(torch.from_numpy(positions).float()[None])
    return model


def build_eps() -> nn.Module:
    """Stable Diffusion 1.5's UNet with one level, one block and one transformer, 4 channels."""
    unet = load_comfy("comfy.ldm.modules.diffusionmodules.openaimodel")
    operations = load_comfy("comfy.ops").disable_weight_init
    model = unet.UNetModel(
        image_size=32, in_channels=EPS_CHANNELS, out_channels=EPS_CHANNELS, model_channels=320,
        num_res_blocks=[1], channel_mult=[1], transformer_depth=[1],
        transformer_depth_output=[0, 0], transformer_depth_middle=-2, context_dim=EPS_CONTEXT,
        num_heads=8, num_head_channels=-1, use_spatial_transformer=True,
        use_linear_in_transformer=False, legacy=False, dtype=torch.float32, operations=operations,
    )  # fmt: skip
    initialise(model)
    return model


def build_vae(channels: int) -> nn.Module:
    """A TAESD autoencoder (8 times smaller) with this many latent channels."""
    model = load_comfy("comfy.taesd.taesd").TAESD(latent_channels=channels)
    initialise(model, gain=2**0.5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("conv.4.weight"):  # ends a residual branch: start near identity
                parameter.mul_(0.1)
    return model


@torch.no_grad()
def initialise(model: nn.Module, *, gain: float = 1.0, zeros: bool = True) -> None:
    """Give every parameter of a fresh ComfyUI module its starting value.

    Args:
        model: changed in place; buffers are left alone.
        gain: factor on all weights.
        zeros: start the layers of `ZERO_AT_START` at zero.
    """
    for name, parameter in model.named_parameters():
        if name in ("vae_scale", "vae_shift"):
            continue
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="linear").mul_(gain)
        else:
            parameter.fill_(float(name.endswith("weight")))
        if zeros and ZERO_AT_START.search(name):
            parameter.zero_()
