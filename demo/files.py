"""Writing checkpoints that ComfyUI's own loader recognises: model and VAE in one fp16 file."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

MODEL_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."


def write_checkpoint(
    path: Path,
    model: nn.Module,
    vae: nn.Module | None = None,
    dtype: torch.dtype = torch.float16,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write one file atomically.

    Args:
        path: of the `.safetensors` file.
        model: the diffusion network.
        vae: the autoencoder that shall come with it, or None.
        dtype: of all tensors.
        metadata: more lines for the file's header.

    Raises:
        ValueError: a weight does not fit into `dtype`.
    """
    tensors = _prefixed(MODEL_PREFIX, model, dtype)
    if vae is not None:
        tensors |= _prefixed(VAE_PREFIX, vae, dtype)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"{path.name}: not finite as {dtype}: {', '.join(broken)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"format": "pt", **(metadata or {})})
    partial.chmod(0o644)  # safetensors creates files that only their owner may read
    os.replace(partial, path)


def _prefixed(prefix: str, module: nn.Module, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    state = module.state_dict()
    return {prefix + name: tensor.to(dtype).contiguous() for name, tensor in state.items()}
