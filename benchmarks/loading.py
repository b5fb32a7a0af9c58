"""The pack and the demo checkpoints in this process, on the real ComfyUI."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import torch

from demo.comfyui import load_comfy

ROOT = Path(__file__).resolve().parents[1]
PACK = "solver_search_pack"
CHECKPOINTS = ROOT / "demo" / "checkpoints"
LATENTS = {"demo_flow": (16, 8, 8), "demo_eps": (4, 8, 8)}


def pack(module: str) -> types.ModuleType:
    """A module of the extension, loaded as ComfyUI does: inside a package of its own."""
    load_comfy("nodes")
    if PACK not in sys.modules:
        package = types.ModuleType(PACK)
        package.__path__ = [str(ROOT)]
        sys.modules[PACK] = package
    return importlib.import_module(f"{PACK}.{module}")


def load_model(name: str) -> Any:  # noqa: ANN401  comfy's own type
    """MODEL of a demo checkpoint, by the loader that CheckpointLoaderSimple uses."""
    with torch.inference_mode():
        return load_comfy("comfy.sd").load_checkpoint_guess_config(
            str(CHECKPOINTS / f"{name}.safetensors"), output_vae=False, output_clip=False)[0]


def load_vae(name: str) -> Any:  # noqa: ANN401  comfy's own type
    """VAE of a demo checkpoint."""
    with torch.inference_mode():
        return load_comfy("comfy.sd").load_checkpoint_guess_config(
            str(CHECKPOINTS / f"{name}.safetensors"), output_model=False, output_clip=False)[2]


def prompts(model: Any, lines: tuple[str, ...]) -> list:  # noqa: ANN401
    """CONDITIONING with one row per line."""
    from demo.comfy_nodes.prompt_node import encode_lines

    return encode_lines("\n".join(lines), model.model.model_config.unet_config)
