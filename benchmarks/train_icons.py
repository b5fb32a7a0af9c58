"""Train the icons model: `python -m benchmarks.train_icons`, four minutes on a fast GPU.

Needs only output/training/icons.npz (benchmarks/icon_data.py). An autoencoder (TAESD, 4 channels)
is trained on the icons over random backgrounds, then the UNet (benchmarks/icons.py) on latents of
32 random placements of every icon. v-prediction: with alpha = 1 / sqrt(1 + sigma^2),

    input alpha (x0 + sigma n), target alpha (n - sigma x0), sigma of a uniform time in 0 ... 999

A stage ends after its steps or its seconds, whichever comes first; the learning rate falls with
the part of either that is gone. On a CPU give it hours (`--device cpu --seconds 9000 40000`).
"""

from __future__ import annotations

import argparse
import copy
import io
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from demo.architectures import build_vae
from demo.comfy_nodes.words import EMPTY
from demo.comfyui import load_comfy
from demo.curves import append_row
from demo.files import write_checkpoint
from demo.loop import Plan

from .icon_data import FILE
from .icons import (
    BACKGROUNDS,
    CHANNELS,
    CHECKPOINT,
    CONTEXT,
    WORDS,
    build_unet,
    encode,
    icon_prompts,
    icons_decoder,
    icons_model,
    token_rows,
)

SCALES, SHOWN = (1.0, 3.0, 7.0), 32
DROPPED, NO_BACKGROUND = 0.12, 0.1
LATENT_NOISE = 0.06
VAE_PLAN = Plan("icons_vae", 6000, 1e-3, average=0.998, every=200)
UNET_PLAN = Plan("icons", 14000, 8e-4, average=0.9995, warm_up=400, every=200)
BATCHES = {"cuda": (192, 768), "cpu": (16, 64)}  # autoencoder, UNet
log = logging.getLogger("benchmarks")
Loss = Callable[[nn.Module, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class Icons:
    """The data on the training device.

    Args:
        pictures: (S, 4, 64, 64) uint8, colour and opacity.
        tokens: (S, WORDS - 1, CONTEXT) of set and name, background left out.
        backgrounds: (8, 3) colours in [0, 1] and (8, CONTEXT) their words.
    """

    pictures: Tensor
    tokens: Tensor
    backgrounds: tuple[Tensor, Tensor]

    @property
    def device(self) -> torch.device:
        return self.pictures.device


def load_icons(device: str, path: Path = FILE) -> Icons:
    """Read the file of benchmarks/icon_data.py.

    Raises:
        FileNotFoundError: it is not there.
    """
    if not path.exists():
        raise FileNotFoundError(f"No {path}; `python -m benchmarks.icon_data` makes it.")
    with np.load(path) as data:
        content, ends, names = data["bytes"].tobytes(), data["offsets"], list(data["names"])
    pictures = np.stack([np.asarray(Image.open(io.BytesIO(content[a:b])).convert("RGBA"))
                         for a, b in zip(ends, ends[1:], strict=False)])
    colours = torch.tensor(list(BACKGROUNDS.values())) / 255
    words = token_rows(list(BACKGROUNDS))[:, 0]
    return Icons(torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().to(device),
                 token_rows(names)[:, : WORDS - 1].to(device),
                 (colours.to(device), words.to(device)))


def place(icons: Icons, chosen: Tensor, ground: Tensor, generator: torch.Generator) -> Tensor:
    """Icons over backgrounds: 0.7 to 1 times as large, moved, a little turned, graded in light.

    Args:
        icons: all of them.
        chosen, ground: (B,) which icon, which background.
        generator: of the icons' device.

    Returns:
        (B, 3, 64, 64) in [0, 1].
    """
    device, count = icons.device, len(chosen)
    draws = torch.rand((5, count), generator=generator, device=device) * 2 - 1
    size, angle = 0.85 + 0.15 * draws[0], 0.15 * draws[1]
    free = 1 / size - 1
    cos, sin = angle.cos() / size, angle.sin() / size
    theta = torch.stack([cos, -sin, free * draws[2], sin, cos, free * draws[3]], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [count, 4, 64, 64], align_corners=False)
    flat = icons.pictures[chosen].float() / 255
    flat[:, :3] *= flat[:, 3:]
    moved = F.grid_sample(flat, grid, align_corners=False)
    slope = torch.linspace(-0.06, 0.06, 64, device=device) * draws[4][:, None]
    colour = icons.backgrounds[0][ground][:, :, None, None] + slope[:, None, :, None]
    return (moved[:, :3] + (1 - moved[:, 3:]) * colour).clamp(0, 1)


def autoencoder_loss(icons: Icons, batch: int) -> Loss:
    """Reconstruction (absolute, squared, edges) and a pull of each latent channel to N(0, 1)."""

    def loss(vae: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        pictures = place(icons, *draw(icons, batch, generator), generator)
        pictures = pictures.to(memory_format=torch.channels_last)
        with torch.autocast(icons.device.type, dtype=torch.bfloat16):
            latents = vae.taesd_encoder(pictures)
            noise = torch.randn(latents.shape, generator=generator, device=icons.device)
            outputs = vae.taesd_decoder(latents + LATENT_NOISE * noise).float()
        squared = F.mse_loss(outputs, pictures)
        edges = sum(F.l1_loss(outputs.diff(dim=axis), pictures.diff(dim=axis)) for axis in (2, 3))
        latents = latents.float()
        prior = (latents.mean((0, 2, 3)).square() + (latents.var((0, 2, 3)) - 1).square()).mean()
        prior = prior + 0.1 * F.relu(latents.abs() - 3).mean()  # TAESD bends what is beyond 3
        total = F.l1_loss(outputs, pictures) + 4 * squared + 0.5 * edges + 0.01 * prior
        return {"loss": total, "psnr": -10 * squared.log10(), "prior": prior}

    return loss


def draw(icons: Icons, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B,) icons and (B,) backgrounds."""
    return (torch.randint(len(icons.pictures), (batch,), generator=generator, device=icons.device),
            torch.randint(len(BACKGROUNDS), (batch,), generator=generator, device=icons.device))


@torch.no_grad()
def standardised_latents(vae: nn.Module, icons: Icons, count: int) -> tuple[Tensor, Tensor]:
    """Latents (count, S, 4, 8, 8) half of random placements, and their grounds (count, S).

    Sets `vae_scale` and `vae_shift` so that a model of the SD15 latent format sees mean 0 and
    variance 1.
    """
    generator = torch.Generator(icons.device).manual_seed(7)
    every = torch.arange(len(icons.pictures), device=icons.device)
    copies, grounds = [], []
    for _ in range(count):
        ground = draw(icons, len(every), generator)[1]
        parts = zip(every.split(512), ground.split(512), strict=True)
        copies.append(torch.cat([vae.taesd_encoder(place(icons, a, b, generator)).half()
                                 for a, b in parts]))
        grounds.append(ground)
    latents = torch.stack(copies)
    mean, std = latents.float().mean(), latents.float().std()
    vae.vae_scale.fill_(std * load_comfy("comfy.latent_formats").SD15().scale_factor)
    vae.vae_shift.fill_(-mean / vae.vae_scale)
    return ((latents - mean) / std).half(), torch.stack(grounds)


def velocity_loss(icons: Icons, latents: Tensor, grounds: Tensor, batch: int) -> Loss:
    """Mean squared error of v; the words are left out now and then."""
    device = icons.device
    sampling = load_comfy("comfy.model_sampling").ModelSamplingDiscrete().to(device)
    empty = token_rows([EMPTY])[0].to(device)

    def loss(model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        copy_of = torch.randint(len(latents), (batch,), generator=generator, device=device)
        chosen, _ = draw(icons, batch, generator)
        clean, ground = latents[copy_of, chosen].float(), grounds[copy_of, chosen]
        noise = torch.randn(clean.shape, generator=generator, device=device)
        time_now = 999 * torch.rand(batch, generator=generator, device=device)
        sigma = sampling.sigma(time_now)[:, None, None, None]
        alpha = (1 + sigma**2).rsqrt()
        tokens = _texts(icons, chosen, ground, empty, generator)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            found = model(alpha * (clean + sigma * noise), time_now, context=tokens).float()
        return {"loss": (found - alpha * (noise - sigma * clean)).square().mean()}

    return loss


def _texts(icons: Icons, chosen: Tensor, ground: Tensor, empty: Tensor,
           generator: torch.Generator) -> Tensor:
    """(B, WORDS, CONTEXT): set, background, name, as in "noto, mint, crescent moon"."""
    fate = torch.rand(len(chosen), 1, 1, generator=generator, device=icons.device)
    rest, colour = icons.tokens[chosen], icons.backgrounds[1][ground][:, None]
    short = torch.cat([rest, empty[:1].expand(len(chosen), 1, CONTEXT)], 1)
    full = torch.cat([rest[:, :1], colour, rest[:, 1:]], 1)
    tokens = torch.where(fate < DROPPED + NO_BACKGROUND, short, full)
    return torch.where(fate < DROPPED, empty, tokens)


def train(model: nn.Module, loss: Loss, plan: Plan, seconds: float) -> nn.Module:
    """AdamW until the plan's steps or the seconds are over; returns the averaged weights."""
    device = next(model.parameters()).device
    averaged = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01,
                                  fused=device.type == "cuda")
    generator = torch.Generator(device).manual_seed(1)
    begun, step, gone = time.monotonic(), 0, 0.0
    while gone < 1:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(max(int(gone * plan.steps), min(step, plan.warm_up)))
        terms = loss(model, generator)
        optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        optimiser.step()
        step += 1
        _average(averaged, model, min(plan.average, step / (10 + step)))
        passed = time.monotonic() - begun
        gone = max(step / plan.steps, passed / seconds)
        if step % plan.every == 0 or gone >= 1:
            _report(plan.name, step, passed, terms)
    return averaged


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)


def _report(name: str, step: int, seconds: float, terms: dict[str, Tensor]) -> None:
    row = {key: float(term.detach()) for key, term in terms.items()}
    if not np.isfinite(row["loss"]):
        raise FloatingPointError(f"{name}: the loss of step {step} is {row['loss']}")
    append_row(name, {"step": step, "seconds": round(seconds, 1), **row})
    log.warning("%s %d %.0f s %s", name, step, seconds, row)


def write(model: nn.Module, vae: nn.Module, path: Path) -> None:
    """The checkpoint: the UNet and the autoencoder's decoder (the encoder is dropped)."""
    del vae.taesd_encoder
    write_checkpoint(path, model.cpu(), vae.cpu())


def draw_sheet(checkpoint: Path, path: Path) -> None:
    """Samples of the first held-out prompts, one band per CFG scale, by ComfyUI's own sampler."""
    model, decode = icons_model(checkpoint), icons_decoder(checkpoint)
    lines = icon_prompts("held_out")[:SHOWN]
    noise = torch.randn((SHOWN, CHANNELS, 8, 8), generator=torch.Generator().manual_seed(20))
    bands = []
    for cfg in SCALES:
        with torch.inference_mode():
            states = load_comfy("comfy.sample").sample(
                model, noise, 30, cfg, "dpmpp_2m", "simple", encode(lines),
                encode(()), torch.zeros_like(noise), disable_pbar=True, seed=1)
        bands += list(decode(model.model.process_latent_in(states)).split(SHOWN // 2))
    rows = [torch.cat(list(band), dim=2) for band in bands]
    pixels = (255 * torch.cat(rows, dim=1)).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path, optimize=True)


def main() -> None:
    """Train both networks and write the checkpoint and the sheet of samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu",
                        choices=BATCHES)
    parser.add_argument("--seconds", nargs=2, type=float, default=[65.0, 140.0],
                        help="for the autoencoder and for the UNet")
    parser.add_argument("--copies", type=int, default=32, help="placements of each icon")
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.manual_seed(9)
    # ComfyUI's choice for a CPU asks for the free memory in every call
    load_comfy("comfy.cli_args").args.use_pytorch_cross_attention = True
    load_comfy("comfy.model_management").in_training = True  # kernels that have a gradient
    icons = load_icons(chosen.device)
    batches = BATCHES[chosen.device]
    vae = build_vae(CHANNELS).to(chosen.device, memory_format=torch.channels_last)
    vae = train(vae, autoencoder_loss(icons, batches[0]), VAE_PLAN, chosen.seconds[0])
    latents, grounds = standardised_latents(vae, icons, chosen.copies)
    unet = build_unet().to(chosen.device)
    unet = train(unet, velocity_loss(icons, latents, grounds, batches[1]), UNET_PLAN,
                 chosen.seconds[1])
    write(unet, vae, chosen.out)
    load_comfy("comfy.model_management").in_training = False
    draw_sheet(chosen.out, Path(__file__).with_name("samples_icons.png"))


if __name__ == "__main__":
    main()
