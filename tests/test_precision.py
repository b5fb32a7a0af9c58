"""Precision: which numbers may reach an accelerator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from solver_search.sample import sample
from solver_search.tableaus import TABLEAUS


class _NoDoubles(TorchDispatchMode):
    """Refuses float64 tensors on the device "meta", which stands for an accelerator."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (),  # noqa: ANN401
                           kwargs: Any = None) -> Any:  # noqa: ANN401
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, out)):
            if isinstance(value, Tensor) and value.device.type == "meta":
                assert value.dtype != torch.float64, f"{func} with float64 on the device"
        return out


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "deis", "uni_pc", "heun"])
def test_no_float64_reaches_the_device(name: str) -> None:
    """Macs have none: tables are cast before they leave the CPU."""
    solver = TABLEAUS[name](torch.linspace(1, 0, 5, dtype=torch.float64), flow=True)
    x = torch.empty(2, 4, device="meta", dtype=torch.float16)
    with _NoDoubles():
        end = sample(lambda state, sigma: state * (1 - sigma), solver, x)
    assert (end.device.type, end.dtype) == ("meta", torch.float16)
