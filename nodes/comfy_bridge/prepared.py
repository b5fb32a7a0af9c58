"""What a loaded model needs so that it can be searched: ordinary tensors, a smooth time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import comfy.model_management as management
import comfy.model_patcher
import comfy.utils
import torch
from torch import Tensor

from .latents import is_nest
from .model import MODEL_SAMPLING, is_discrete, smooth_time


@contextlib.contextmanager
def smoothed(model: comfy.model_patcher.ModelPatcher, *, wanted: bool) -> Iterator[Any]:
    """The model's own sampling, which it has again afterwards, however that ends: ComfyUI leaves
    a loaded model with its patches until another copy of it is loaded."""
    own = model.get_model_object(MODEL_SAMPLING)
    if not (wanted and is_discrete(own)):
        yield own
        return
    smooth = smooth_time(own)
    model.add_object_patch(MODEL_SAMPLING, smooth)
    try:
        yield own
    finally:
        model.add_object_patch(MODEL_SAMPLING, own)
        if getattr(model.model, MODEL_SAMPLING) is smooth:
            comfy.utils.set_attr(model.model, MODEL_SAMPLING, own)


@contextlib.contextmanager
def trainable(model: torch.nn.Module) -> Iterator[None]:
    """Weights that a backward pass may use, and ComfyUI's switch for differentiable kernels.

    Loaders run in inference mode, and inference tensors cannot be saved for backward. Each is
    replaced, one at a time, by an equal ordinary tensor: values, dtype and flags stay.
    """
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, value in table.items():
                if value is not None and value.is_inference():
                    table[name] = _weight(value)
    before = management.in_training
    management.in_training = True
    try:
        yield
    finally:
        management.in_training = before


def _weight(value: Tensor) -> Tensor:
    copied = value.clone()
    if isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(copied, requires_grad=value.requires_grad)
    return copied


def ordinary(value: Any) -> Any:  # noqa: ANN401
    """The same nest with inference tensors cloned to ordinary ones."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if isinstance(value, dict):
        return {k: ordinary(v) for k, v in value.items()}
    if is_nest(value):
        return type(value)([ordinary(v) for v in value.unbind()])
    if isinstance(value, (list, tuple)):
        return type(value)(ordinary(v) for v in value)
    return value
