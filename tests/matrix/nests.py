"""A toy of two media whose numbers lie far apart: 1 +- 1, and -20 +- 20.

Its denoised estimate is known, so that a wrong share of one medium's means cannot hide behind the
other's size, nor behind a network that hardly answers to either.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .families import Subject
from .media import nested

MEDIA = ((1, 8, 3, 4, 4), (1, 4, 6, 2))
SIZES, MEANS = (1.0, 20.0), (1.0, -20.0)


class _Net(nn.Module):
    """Velocity of the estimate mean + 0.7 * size * tanh(x / size + prompt), for media packed in
    one row."""

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor,
                **more: Any) -> Tensor:  # noqa: ANN401
        size, mean = (_spread(values).to(x.device) for values in (SIZES, MEANS))
        prompt = context.mean((1, 2)).view(-1, 1, 1)
        estimate = mean + 0.7 * size * torch.tanh(x / size + prompt)
        return (x - estimate) / timestep.view(-1, 1, 1)


def _spread(values: tuple[float, ...]) -> Tensor:
    """(1, 1, N) one number for each medium, at each place of the row."""
    counts = [torch.zeros(shape).numel() for shape in MEDIA]
    return torch.cat([torch.full((1, 1, n), v) for n, v in zip(counts, values, strict=True)], 2)


def two_media() -> Subject:
    """ComfyUI's model class of LTX-2 around the toy."""
    import comfy.model_base
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    config = comfy.supported_models.LTXAV({"image_model": "ltxav"})
    config.unet_config = {"disable_unet_model_creation": True}
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.FLUX, device="cpu")
    model.diffusion_model = _Net()
    cpu = torch.device("cpu")
    prompts = [[[torch.full((1, 4, 8), level), {}]] for level in (0.2, -0.1)]
    return Subject(ModelPatcher(model, cpu, cpu), *prompts,
                   nested([torch.zeros(shape) for shape in MEDIA]))
