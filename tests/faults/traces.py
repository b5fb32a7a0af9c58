"""What a search, however it ends, leaves as it was: model, process, folders."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
         "_state_dict_hooks", "_load_state_dict_pre_hooks", "_forward_hooks_with_kwargs")
PATCHES = ("patches", "object_patches", "wrappers", "callbacks", "attachments", "hook_patches",
           "additional_models", "injections", "model_options", "weight_wrapper_patches")
Traces = dict[str, Any]


def traces(model: Any) -> Traces:  # noqa: ANN401
    """Everything looked at, in comparable form.

    Args:
        model: ComfyUI's ModelPatcher.
    """
    return {**_of_weights(model.model), **_of_patcher(model), **_of_lists(), **_of_process(),
            **_of_management(model)}


def differences(before: Traces, after: Traces) -> list[str]:
    """What is not as before, in words."""
    return [f"{key}: {_short(before.get(key))} became {_short(after.get(key))}"
            for key in sorted({*before, *after}) if before.get(key) != after.get(key)]


def tensors_alive() -> int:
    """Tensors that Python holds, once cycles are gone."""
    gc.collect()
    return sum(1 for thing in gc.get_objects() if issubclass(type(thing), Tensor))


def open_files() -> int:
    """Handles of this process; 0 where the system does not tell."""
    place = Path("/proc/self/fd")
    return len(os.listdir(place)) - 1 if place.is_dir() else 0


def contents(folder: Path) -> dict[str, str]:
    """Path below the folder -> what lies there; links are not followed."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "other"
        found[path.relative_to(folder).as_posix()] = (
            hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            if path.is_file() and not path.is_symlink() else kind)
    return found


def of_random() -> Traces:
    """Python's own random numbers."""
    return {"random numbers of Python": hash(random.getstate())}


def _of_weights(network: nn.Module) -> Traces:
    found: Traces = {}
    for name, module in network.named_modules():
        found[f"hooks of {name}"] = [len(getattr(module, kind, ())) for kind in HOOKS]
        found[f"mode of {name}"] = module.training, "forward" in vars(module)
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        found[f"weight {name}"] = (
            _bytes_of(value), value.dtype, value.device, value.requires_grad,
            value.is_inference(), value.grad is None)
    return found


def _of_patcher(model: Any) -> Traces:  # noqa: ANN401
    found = {f"patcher's {name}": _plain(getattr(model, name, None)) for name in PATCHES}
    network = model.model
    named = ("model_sampling", "latent_format", "diffusion_model", "memory_usage_factor")
    return {**found, **{f"model's {name}": id(getattr(network, name, None)) for name in named}}


def _of_lists() -> Traces:
    import comfy.samplers as samplers

    return {name: list(getattr(samplers, name)) for name in (
        "SAMPLER_NAMES", "KSAMPLER_NAMES", "SCHEDULER_NAMES", "SCHEDULER_HANDLERS")}


def _of_process() -> Traces:
    return {
        "random numbers of torch": _bytes_of(torch.get_rng_state()),
        **of_random(),
        "random numbers of numpy": str(np.random.get_state()[1:3]),
        "inference mode": torch.is_inference_mode_enabled(),
        "gradients": torch.is_grad_enabled(),
        "anomaly detection": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default type": torch.get_default_dtype(),
        "threads of torch": torch.get_num_threads(),
        "threads": sorted(t.name for t in threading.enumerate() if not t.daemon),
        "files open": open_files(),
        "working folder": os.getcwd(),
        "environment": dict(os.environ),
        "signals": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
    }


def _of_management(model: Any) -> Traces:  # noqa: ANN401
    import comfy.model_management as management

    gc.collect()
    loaded = [entry for entry in management.current_loaded_models
              if entry.real_model is not None and entry.real_model() is model.model]
    return {
        "in training": management.in_training,
        "interrupted": management.processing_interrupted(),
        "loaded": len(loaded),
        "loaded by nobody": [entry.model is None for entry in loaded].count(True),
        "memory of the loaded": [entry.model_loaded_memory() for entry in loaded
                                 if entry.model is not None],
    }


def _bytes_of(value: Tensor) -> str:
    plain = value.detach().cpu().contiguous().clone()
    return hashlib.sha256(plain.view(torch.uint8).numpy().tobytes()
                          if plain.ndim else str(plain.item()).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (int, float, str, type(None))) else id(value)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]} ..."
