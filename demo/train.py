"""Train the demo models anew: `python -m demo.train`, about an hour on two CPU cores.

Two chains run side by side, one thread each: autoencoder, latents, diffusion model,
the decoder once more, checkpoint.
Their state lies in `demo/.training`; a run that was stopped goes on from there when started
again, and `--fresh` begins anew.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .architectures import build_eps, build_flow, build_vae
from .autoencoder import autoencoder_loss, decoder_loss, standardise
from .comfyui import load_comfy
from .curves import draw_curves
from .diffusion import eps_loss, flow_loss
from .files import write_checkpoint
from .loop import Loss, Plan, train

STATE = Path(__file__).parent / ".training"
CHECKPOINTS = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class Chain:
    """One checkpoint's way from pictures to file.

    Attributes:
        channels: of the latents.
        latent_format: ComfyUI's class whose scale and shift the loader will apply.
        build: makes the untrained diffusion network.
        loss: (latents, batch) -> its loss.
        batch: latents per step.
        vae_plan, plan, decoder_plan: lengths and rates.
    """

    channels: int
    latent_format: str
    build: Callable[[], nn.Module]
    loss: Callable[[torch.Tensor, int], Loss]
    batch: int
    vae_plan: Plan
    plan: Plan
    decoder_plan: Plan


CHAINS = {
    "flow": Chain(
        16, "SD3", build_flow, flow_loss, 128,
        Plan("vae16", 1300, 1e-3, average=0.995), Plan("flow", 7000, 1.5e-3),
        Plan("decoder16", 2500, 1e-3, fall=0.5),
    ),
    "eps": Chain(
        4, "SD15", build_eps, eps_loss, 32,
        Plan("vae4", 1200, 1e-3, average=0.995), Plan("eps", 2400, 5e-4),
        Plan("decoder4", 2500, 1e-3, fall=0.5),
    ),
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Parse and run one chain, or both in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chain", choices=CHAINS, help="only this checkpoint, in this process")
    parser.add_argument("--fresh", action="store_true", help="forget earlier training")
    parser.add_argument("--export", action="store_true", help="write what there is, and stop")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.fresh:
        shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(exist_ok=True)
    if options.chain:
        run_chain(options.chain, only_export=options.export)
        return 0
    return run_all(["--export"] if options.export else [])


def run_all(extra: list[str]) -> int:
    """Both chains at once; the first failure's exit code, else 0."""
    command = [sys.executable, "-m", __spec__.name, *extra, "--chain"]
    running = [subprocess.Popen([*command, name]) for name in CHAINS]
    codes = [process.wait() for process in running]
    if not any(codes):
        draw_curves()
    return next((code for code in codes if code), 0)


def run_chain(name: str, *, only_export: bool = False) -> None:
    """Train one chain to its end (or not at all) and write its checkpoint."""
    torch.set_num_threads(1)
    chain = CHAINS[name]
    torch.manual_seed(chain.channels)
    vae = build_vae(chain.channels).to(memory_format=torch.channels_last)
    model = chain.build().to(memory_format=torch.channels_last)
    vae = _trained(vae, autoencoder_loss(), chain.vae_plan, only_export=only_export)
    latents = _latents(vae, chain, keep=not only_export)
    model = _trained(model, chain.loss(latents, chain.batch), chain.plan, only_export=only_export)
    vae.taesd_decoder.requires_grad_(True)  # averaged weights come without
    vae = _trained(vae, decoder_loss(), chain.decoder_plan, only_export=only_export)
    write_checkpoint(CHECKPOINTS / f"demo_{name}.safetensors", model, vae)


def _latents(vae: nn.Module, chain: Chain, *, keep: bool) -> torch.Tensor:
    """The training latents; made once, when the autoencoder is finished."""
    path = STATE / f"latents{chain.channels}.pt"
    if path.exists():
        state = torch.load(path, weights_only=True)
        vae.load_state_dict(state["vae"])
        return state["latents"]
    latent_format = getattr(load_comfy("comfy.latent_formats"), chain.latent_format)()
    shift = getattr(latent_format, "shift_factor", 0.0)
    latents = standardise(vae, latent_format.scale_factor, shift).half()
    if keep:
        torch.save({"vae": vae.state_dict(), "latents": latents}, path)
    return latents


def _trained(model: nn.Module, loss: Loss, plan: Plan, *, only_export: bool) -> nn.Module:
    if not only_export:
        return train(model, loss, plan, STATE)
    path = STATE / f"{plan.name}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True)["averaged"])
    return model


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
