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
    replaced, one at a time, by an equal ordinary tensor: values, dtype and flags stay. Afterwards
    they are inference tensors again.
    """
    before, changed = management.in_training, []
    try:
        for table, name in _weights(model):
            if table[name].is_inference():
                changed.append((table, name))
                table[name] = _weight(table[name])
        management.in_training = True
        yield
    finally:
        management.in_training = before
        with torch.inference_mode():
            for table, name in changed:
                table[name] = _weight(table[name])


def _weights(model: torch.nn.Module) -> Iterator[tuple[dict[str, Any], str]]:
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            yield from ((table, name) for name, value in list(table.items()) if value is not None)


def _weight(value: Tensor) -> Tensor:
    """A copy that is an inference tensor or not, as the mode is."""
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
