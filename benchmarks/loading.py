"""The pack and the benchmarks' models in this process, on the real ComfyUI."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demo.comfyui import load_comfy
from demo.prompts import HELD_OUT_PROMPTS, SEARCH_PROMPTS

from .icons import encode, icon_prompts, icons_decoder, icons_model
from .mixture import mixture_model

ROOT = Path(__file__).resolve().parents[1]
PACK = "solver_search_pack"
CHECKPOINTS = {
    "demo_flow": ROOT / "demo" / "checkpoints" / "demo_flow.safetensors",
    "demo_eps": ROOT / "demo" / "checkpoints" / "demo_eps.safetensors",
    "bench_wan": ROOT / "benchmarks" / "checkpoints" / "bench_wan.safetensors",
}
LATENTS = {"demo_flow": (16, 8, 8), "demo_eps": (4, 8, 8), "bench_wan": (16, 1, 8, 8),
           "bench_icons": (4, 8, 8), "mixture_flow": (16, 8, 8), "mixture_eps": (4, 8, 8)}
TRAINED = ("demo_flow", "demo_eps", "bench_wan", "bench_icons")
DECODERS = {"demo_flow": ("demo_flow", "SD3"), "demo_eps": ("demo_eps", "SD15"),
            "bench_wan": ("demo_flow", "SD3")}


def pack(module: str) -> types.ModuleType:
    """A module of the extension, loaded as ComfyUI does: inside a package of its own."""
    load_comfy("nodes")
    if PACK not in sys.modules:
        package = types.ModuleType(PACK)
        package.__path__ = [str(ROOT)]
        sys.modules[PACK] = package
    return importlib.import_module(f"{PACK}.{module}")


def load_model(name: str) -> Any:  # noqa: ANN401  comfy's own type
    """MODEL of a name in LATENTS; checkpoints by the loader CheckpointLoaderSimple uses."""
    torch.backends.cudnn.allow_tf32 = False  # ten bits would be larger than some errors measured
    if name == "bench_icons":
        return icons_model()
    if name not in CHECKPOINTS:
        return mixture_model(name.removeprefix("mixture_"))
    with torch.inference_mode():
        return load_comfy("comfy.sd").load_checkpoint_guess_config(
            str(CHECKPOINTS[name]), output_vae=False, output_clip=False)[0]


def load_decoder(name: str) -> Callable[[Tensor], Tensor] | None:
    """Pictures (B, 3, 64, 64) from a model's finished states; None for the mixtures."""
    if name == "bench_icons":
        return icons_decoder()
    if name not in DECODERS:
        return None
    checkpoint, family = DECODERS[name]
    latents = getattr(load_comfy("comfy.latent_formats"), family)()
    with torch.inference_mode():
        vae = load_comfy("comfy.sd").load_checkpoint_guess_config(
            str(CHECKPOINTS[checkpoint]), output_model=False, output_clip=False)[2]

    def decode(states: Tensor) -> Tensor:
        flat = states.reshape(len(states), -1, *states.shape[-2:])
        return vae.decode(latents.process_out(flat)).movedim(-1, 1)

    return decode


def held_out_prompts(name: str) -> tuple[str, ...]:
    """What a model is measured on."""
    return icon_prompts("held_out") if name == "bench_icons" else HELD_OUT_PROMPTS


def search_prompts(name: str) -> tuple[str, ...]:
    """What a search of a model may see."""
    return icon_prompts("search") if name == "bench_icons" else SEARCH_PROMPTS


def prompts(model: Any, lines: tuple[str, ...]) -> list:  # noqa: ANN401
    """CONDITIONING with one row per line; the mixtures know no words."""
    if type(model.model.model_config).__name__ == "SD20":
        return encode(lines)
    from demo.comfy_nodes.prompt_node import encode_lines

    config = model.model.model_config.unet_config
    if config.get("disable_unet_model_creation"):
        return [[torch.zeros(1, 1, config["context_dim"]), {}]]
    return encode_lines("\n".join(lines), config)
