"""torch.compile is seen, however it came around the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.matrix.families import FAMILIES

from .pack import load
from .world import World


def in_place(model: Any) -> None:  # noqa: ANN401
    model.model.diffusion_model.compile(backend="eager")


def by_a_patch(model: Any) -> None:  # noqa: ANN401
    """As packs do that compile block by block."""
    compiled = torch.compile(nn.Linear(2, 2), backend="eager")
    model.add_object_patch("diffusion_model.out", compiled)


def by_a_function(model: Any) -> None:  # noqa: ANN401
    model.add_object_patch("diffusion_model.forward", torch.compile(lambda x: x, backend="eager"))


@pytest.mark.parametrize("compile_it", [in_place, by_a_patch, by_a_function])
def test_it_is_seen_however_it_was_compiled(
        world: World, compile_it: Callable[[Any], None]) -> None:  # noqa: ANN401
    is_compiled = load("nodes.comfy_bridge.model").is_compiled
    model = FAMILIES["SD1.5"].build().model
    assert not is_compiled(model)
    compile_it(model)
    assert is_compiled(model) and is_compiled(model.clone())
