"""Networks at their true size, without a weight: ComfyUI takes each for what it is."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks import true_networks
from benchmarks.true_networks import NETWORKS, shapes, write_random

# Class that ComfyUI finds, and millions of parameters of the published files.
KNOWN = {"sd15": ("SD15", 859.52), "sdxl": ("SDXL", 2567.46), "sd35_medium": ("SD3", 2469.66),
         "flux_dev": ("Flux", 11901.41), "wan_1_3b": ("WAN21_T2V", 1419.00)}


@pytest.mark.parametrize("name", NETWORKS)
def test_comfyui_takes_each_for_what_it_is(comfy: ModuleType, name: str) -> None:
    detection = importlib.import_module("comfy.model_detection")
    kind, millions = KNOWN[name]
    known = shapes(name)
    empty = {key: torch.empty(shape, device="meta", dtype=torch.float16)
             for key, shape in known.items()}
    prefix = detection.unet_prefix_from_state_dict(empty)
    assert type(detection.model_config_from_unet(empty, prefix)).__name__ == kind
    assert sum(map(math.prod, known.values())) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_of_random_weights_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              dtype: torch.dtype) -> None:
    from safetensors.torch import load_file

    small = {"model.diffusion_model.out.2.weight": (4, 3, 2, 2), "a.norm.weight": (5,),
             "a.norm.bias": (5,), "a.weight": (400, 300)}
    monkeypatch.setattr(true_networks, "shapes", lambda name: small)
    write_random("sd15", tmp_path / "file.safetensors", dtype)
    found = load_file(tmp_path / "file.safetensors")
    assert {key: (tuple(t.shape), t.dtype) for key, t in found.items()} == {
        key: (shape, dtype) for key, shape in small.items()}
    assert found["a.norm.weight"].eq(1).all() and found["a.norm.bias"].eq(0).all()
    spread = float(found["a.weight"].float().std())
    assert spread == pytest.approx(300 ** -0.5, rel=0.02)  # of 120,000 numbers
