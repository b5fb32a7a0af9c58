"""Features of a model while it samples, through ComfyUI's own patch points.

A solver with a designer network (DLMS) reads what the middle of the network thinks of a picture:
the mean over places of the middle block's output. Nothing of the model is re-implemented and
nothing is patched beyond the call at hand: the patches lie in a copy of this sampling's options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

BLOCK_LISTS = ("joint_blocks", "double_blocks", "blocks")  # SD3, Flux and its kin, Wan


class FeatureError(ValueError):
    """A model without a patch point; the message says so."""


class Probe:
    """Patches that remember the features of the newest model call.

    Args:
        network: the diffusion model.

    Raises:
        FeatureError: if ComfyUI offers no patch point in this family.
    """

    def __init__(self, network: nn.Module) -> None:
        self.newest: dict[int, Tensor] = {}
        self.block = _middle(network)

    def feature(self) -> Tensor:
        """(B, F) features of the prompt's half of the newest call.

        Raises:
            FeatureError: if the patch was not called.
        """
        if not self.newest:
            raise FeatureError("the model gave no features: something replaced its blocks.")
        return self.newest.get(0, next(iter(self.newest.values())))

    def patched(self, model_options: dict[str, Any]) -> dict[str, Any]:
        """A copy of `model_options` with the probe in it."""
        options = dict(model_options.get("transformer_options", {}))
        if self.block is None:
            patches = dict(options.get("patches", {}))
            name = "middle_block_after_patch"
            patches[name] = [*patches.get(name, []), self._after_middle]
            options["patches"] = patches
        else:
            replace = dict(options.get("patches_replace", {}))
            blocks = dict(replace.get("dit", {}))
            key = ("double_block", self.block)
            blocks[key] = self._around(blocks.get(key))
            options["patches_replace"] = {**replace, "dit": blocks}
        return {**model_options, "transformer_options": options}

    def _after_middle(self, args: dict[str, Any]) -> dict[str, Any]:
        self._keep(args["h"].flatten(2).mean(2), args["transformer_options"])
        return {"h": args["h"]}

    def _around(self, other: Callable | None) -> Callable:
        """A block replacement that runs the block, or another pack's replacement of it."""
        def run(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
            out = extra["original_block"](args) if other is None else other(args, extra)
            self._keep(out["img"].mean(1), args["transformer_options"])
            return out
        return run

    def _keep(self, features: Tensor, options: dict[str, Any]) -> None:
        """Remember each half of a call; 0 is the prompt, 1 the negative."""
        kinds = options.get("cond_or_uncond") or [0]
        for kind, part in zip(kinds, features.detach().chunk(len(kinds)), strict=False):
            self.newest[kind] = part


def _middle(network: nn.Module) -> int | None:
    """Number of the middle block of a transformer; None for a UNet."""
    if hasattr(network, "output_blocks") and hasattr(network, "input_blocks"):
        return None
    for name in BLOCK_LISTS:
        blocks = getattr(network, name, None)
        if isinstance(blocks, nn.ModuleList) and len(blocks):
            return len(blocks) // 2
    raise FeatureError(f"ComfyUI has no patch point in {type(network).__name__} that shows its "
                       "middle: a solver with a designer network cannot be used here. Choose a "
                       "preset without one.")
