"""What guidance adds to a picture in each model call, seen through ComfyUI's own hook.

G = D - C, where D is what the guider makes of a call (whatever changes it: RescaleCFG, APG, a CFG
that follows the noise) and C the output for the positive prompt alone. With plain CFG it is
(CFG - 1)(C - U), so it is 0 where there is no guidance, and grows and shrinks with CFG. It costs
no model call: `disable_cfg1_optimization` is never set.
"""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
from torch import Tensor


class HiddenGuidanceError(RuntimeError):
    """A guider that does not call the hook."""


class Guiding:
    """A hook that remembers what guidance added in the newest model call.

    Args:
        needed: raise HiddenGuidanceError if the first call does not show it.
    """

    def __init__(self, *, needed: bool = False) -> None:
        self.newest: Tensor | None = None
        self.needed = needed

    def added(self, denoised: Tensor) -> Tensor | None:
        """(B, C, ...) what guidance added to the call that gave `denoised`, and forgets it; None:
        the guider did not say."""
        found = self.newest if self._fits(denoised) else None
        self.newest = None
        return found

    def checked(self, denoised: Tensor) -> Tensor:
        """What a call gave, before anyone is told of it.

        Raises:
            HiddenGuidanceError: see the class.
        """
        if self.needed and not self._fits(denoised):
            raise HiddenGuidanceError
        self.needed = False
        return denoised

    def patched(self, model_options: dict[str, Any]) -> dict[str, Any]:
        """A copy of `model_options` with the hook behind all others."""
        return comfy.model_patcher.set_model_options_post_cfg_function(
            dict(model_options), self._keep)

    def _fits(self, denoised: Tensor) -> bool:
        return self.newest is not None and self.newest.shape == denoised.shape

    def _keep(self, args: dict[str, Any]) -> Tensor:
        denoised, positive = args["denoised"], args.get("cond_denoised")
        same = isinstance(positive, Tensor) and positive.shape == denoised.shape
        self.newest = denoised - positive if same else None
        return denoised
