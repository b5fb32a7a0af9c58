"""Weights that move to a device while a search prepares its model: as on every GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from .pack import load
from .world import FLOW, World, latent, prompt


def moving(original: Callable[..., Any]) -> Callable[..., Any]:
    """ComfyUI's load_models_gpu that moves weights as Module.to does between devices."""
    def load_models(models: list, *rest: object, **named: object) -> Any:  # noqa: ANN401
        found = original(models, *rest, **named)
        for patcher in models:
            for weight in patcher.model.parameters():
                weight.data = weight.detach().clone()
        return found
    return load_models


def answer(model: Any) -> Tensor:  # noqa: ANN401
    session = load("nodes.comfy_bridge.session")
    guider = session.make_guider(model, prompt(FLOW, "cat, night"), prompt(FLOW), 3.0)
    noise = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    return session.within(guider, latent(FLOW, 2)["samples"],
                          lambda inside: inside.denoise(noise, torch.tensor(0.5),
                                                        torch.zeros(2, dtype=torch.long)), seed=0)


def test_inference_tensors_moved_outside_inference_mode_fail() -> None:
    """What happens without care; if torch learns to do it, the care can go."""
    with torch.inference_mode():
        layer = torch.nn.Linear(2, 2)
    for weight in layer.parameters():
        weight.data = weight.detach().clone()
    with torch.no_grad(), pytest.raises(RuntimeError, match="do not track version counter"):
        layer(torch.zeros(1, 2))


def test_a_search_moves_weights_as_nodes_do(world: World, models: dict,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    before = answer(models[FLOW])
    monkeypatch.setattr(management, "load_models_gpu", moving(management.load_models_gpu))
    assert torch.equal(answer(models[FLOW]), before)
