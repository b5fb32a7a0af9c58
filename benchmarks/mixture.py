r"""A model whose answer is known exactly: a mixture of Gaussians, as a real ComfyUI model.

For data sum_k N(c_k, s^2 I) / K and x = a x0 + sigma n (a = 1, or 1 - sigma for flow)

    D(x) = sum_k p_k (c_k + a s^2 / (a^2 s^2 + sigma^2) (x - a c_k)),
    p_k proportional to exp(-|x - a c_k|^2 / (2 (a^2 s^2 + sigma^2)))

It is handed to ComfyUI as a network that predicts noise (eps) or velocity (flow), so that every
built-in sampler and every search runs on it unchanged.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demo.comfyui import load_comfy

CENTRES, SPREAD = 200, 0.25
CHANNELS = {"eps": 4, "flow": 16}
FAMILY = {"eps": "SD15", "flow": "SD3"}


class MixtureNetwork(nn.Module):
    """What ComfyUI calls instead of a UNet.

    Args:
        prediction: eps or flow.
        sampling: the model's noise levels: maps the time it is told back to sigma.
    """

    dtype = torch.float32

    def __init__(self, prediction: str, sampling: nn.Module) -> None:
        super().__init__()
        self.flow = prediction == "flow"
        self.sampling = [sampling]  # in a list: not a part of this module
        self.register_buffer("centres", centres(CHANNELS[prediction]))

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor | None = None,
                **conditioning: Any) -> Tensor:  # noqa: ANN401
        """Predicted noise or velocity (B, C, h, w)."""
        if self.flow:
            sigma = (timestep / 1000).reshape(-1, 1, 1, 1)
            return (x - self.denoised(x, sigma)) / sigma
        sigma = self.sampling[0].sigma(timestep).reshape(-1, 1, 1, 1)
        state = x * (sigma ** 2 + 1).sqrt()
        return (state - self.denoised(state, sigma)) / sigma

    def denoised(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Posterior mean of x0; x (B, C, h, w), sigma (B, 1, 1, 1)."""
        share = 1 - sigma if self.flow else torch.ones_like(sigma)
        variance = (share ** 2 * SPREAD ** 2 + sigma ** 2).flatten(1)
        means = self.centres.flatten(1)
        flat, a = x.flatten(1), share.flatten(1)
        cross = flat @ means.T
        squares = (flat ** 2).sum(1, keepdim=True) - 2 * a * cross + a ** 2 * (means ** 2).sum(1)
        mean = torch.softmax(-squares / (2 * variance), dim=1) @ means
        pulled = mean + a * SPREAD ** 2 / variance * (flat - a * mean)
        return pulled.reshape(x.shape)


def centres(channels: int) -> Tensor:
    """(200, C, 8, 8) smooth random fields of unit variance, always the same."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.randn(CENTRES, channels, 3, 3, generator=generator)
    fields = F.interpolate(coarse, size=8, mode="bicubic", align_corners=True)
    return fields / fields.std()


def mixture_model(prediction: str) -> Any:  # noqa: ANN401  comfy's own type
    """MODEL of the mixture.

    Args:
        prediction: "eps" (Stable Diffusion 1.5's noise levels) or "flow" (Stable Diffusion 3's).
    """
    base, device = load_comfy("comfy.model_base"), torch.device("cpu")
    config = getattr(load_comfy("comfy.supported_models"), FAMILY[prediction])(
        {"disable_unet_model_creation": True, "context_dim": 8})
    kind = base.ModelType.FLOW if prediction == "flow" else base.ModelType.EPS
    model = base.BaseModel(config, kind, device=device)
    model.diffusion_model = MixtureNetwork(prediction, model.model_sampling)
    return load_comfy("comfy.model_patcher").ModelPatcher(model, device, device)
