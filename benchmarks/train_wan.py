"""Train the benchmarks' third model: `python -m benchmarks.train_wan`, a quarter of an hour.

Wan 2.1's video transformer, tiny, on one-frame videos: 3-D latents and a shift of 8, another
family than the demo models. Pictures, texts and autoencoder are those of the flow demo model.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from torch import nn

from demo.architectures import build_vae, initialise
from demo.autoencoder import standardise
from demo.comfy_nodes.words import token_rows
from demo.comfyui import load_comfy
from demo.diffusion import condition_texts, draw
from demo.files import VAE_PREFIX, write_checkpoint
from demo.loop import Loss, Plan, train

FOLDER = Path(__file__).parent / "checkpoints"
STATE = Path(__file__).parents[1] / "output" / "training"
FLOW = Path(__file__).parents[1] / "demo" / "checkpoints" / "demo_flow.safetensors"
CONTEXT, CHANNELS, BATCH = 64, 16, 96
SIZES = {"text_dim": CONTEXT, "freq_dim": 64}
PLAN = Plan("wan", 5000, 1.5e-3)


def build_wan() -> nn.Module:
    """Wan 2.1 text to video with one head of 128 and three layers."""
    operations = load_comfy("comfy.ops").disable_weight_init
    model = load_comfy("comfy.ldm.wan.model").WanModel(
        model_type="t2v", in_dim=CHANNELS, out_dim=CHANNELS, dim=128, ffn_dim=384, num_heads=1,
        num_layers=3, dtype=torch.float32, operations=operations, **SIZES,
    )  # fmt: skip
    initialise(model)
    with torch.no_grad():
        model.head.head.weight.zero_()
    return model


def wan_loss(latents: torch.Tensor) -> Loss:
    """Mean squared velocity error; the network sees 1000 sigma, half of it shifted by 3."""
    tokens = token_rows(condition_texts(), CONTEXT)

    def loss(model: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        clean, texts = draw(latents, BATCH, generator)
        noise = torch.randn(clean.shape, generator=generator)
        sigma = (torch.randn(BATCH, generator=generator) + 0.4).sigmoid()
        sigma[::4] = torch.rand(len(sigma[::4]), generator=generator)
        level = sigma[:, None, None, None]
        noisy = (1 - level) * clean + level * noise
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(noisy[:, :, None], 1000 * sigma, context=tokens[texts])[:, :, 0]
        return {"loss": (found.float() - (noise - clean)).square().mean()}

    return loss


def training_latents() -> torch.Tensor:
    """(subjects, styles, crops, C, h, w) standardised latents of the flow model's autoencoder."""
    path = STATE / "latents_wan.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    flow = load_comfy("comfy.utils").load_torch_file(str(FLOW))
    vae = build_vae(CHANNELS)
    vae.load_state_dict({k.removeprefix(VAE_PREFIX): v.float() for k, v in flow.items()
                         if k.startswith(VAE_PREFIX)})
    latents = standardise(vae.to(memory_format=torch.channels_last), 1.0, 0.0).half()
    STATE.mkdir(parents=True, exist_ok=True)
    torch.save(latents, path)
    return latents


def main() -> None:
    """Train (or go on) and write the checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(5)
    load_comfy("comfy.model_management").in_training = True  # kernels that have a gradient
    model = train(build_wan(), wan_loss(training_latents()), PLAN, STATE)
    write_checkpoint(FOLDER / "bench_wan.safetensors", model,
                     metadata={"config": json.dumps({"transformer": SIZES})})


if __name__ == "__main__":
    main()
