"""Gradients through model calls with one call's activations alive at a time.

The forward pass keeps only x and sigma; the backward pass runs the call again under grad. Unlike
torch.utils.checkpoint this stays right when the network adds to its own activations in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from .sample import Denoise


class _Saved:
    """A tensor that the backward pass needs as it is now."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _CopyBeforeEdit(TorchDispatchMode):
    """Copies what is saved of a storage before an operation writes to it.

    A storage that is listed is kept alive by what is saved of it, so no other can have its
    address; after a copy it is listed no more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.saved: dict[int, WeakSet[_Saved]] = {}

    def pack(self, tensor: Tensor) -> _Saved:
        """What autograd keeps in a tensor's place; the same for each operation that saves it."""
        listed = self.saved.setdefault(_storage(tensor), WeakSet())
        saved = next((known for known in listed if known.tensor is tensor), None) or _Saved(tensor)
        listed.add(saved)
        return saved

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        named = kwargs or {}
        for i, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self._before_edit(args[i] if i < len(args) else named.get(argument.name))
        return func(*args, **named)

    def _before_edit(self, written: Any) -> None:  # noqa: ANN401
        for tensor in written if isinstance(written, (list, tuple)) else (written,):
            if isinstance(tensor, Tensor):
                for saved in self.saved.pop(_storage(tensor), ()):
                    saved.tensor = saved.tensor.clone()


def _storage(tensor: Tensor) -> int:
    """Alike for all views; quantised tensors have one without an address of data."""
    return tensor.untyped_storage()._cdata


@contextlib.contextmanager
def edits_allowed() -> Iterator[None]:
    """Let a network edit its own activations in place, as Flux, HunyuanVideo and LTX do, and
    have the gradient of what they were. Forward and backward pass must both be inside.

    torch.autograd.graph.allow_mutation_on_saved_tensors of torch 2.11 is not used: it knows a
    tensor by its id, address and version, and gives a new tensor in the place of one that was
    edited and freed the old one's copy; nor does it see an edit through a view that begins
    elsewhere in the same storage.
    """
    mode = _CopyBeforeEdit()
    with saved_tensors_hooks(mode.pack, lambda saved: saved.tensor), mode:
        yield


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, denoise: Denoise, x: Tensor, sigma: Tensor) -> Tensor:  # noqa: ANN401
        ctx.denoise = denoise
        ctx.save_for_backward(x, sigma)
        return denoise(x, sigma)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, sigma = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        with torch.enable_grad(), edits_allowed():
            denoised = ctx.denoise(x, sigma)
            grads = torch.autograd.grad(denoised, (x, sigma), gradients, allow_unused=True)
        zeros = (torch.zeros_like(t) if g is None else g
                 for t, g in zip((x, sigma), grads, strict=True))
        return None, *zeros


def recomputed(denoise: Denoise) -> Denoise:
    """The same denoiser, differentiable in x and sigma, with one call's activations at a time."""
    return lambda x, sigma: _Recomputed.apply(denoise, x, sigma)
