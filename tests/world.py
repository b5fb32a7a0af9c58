"""ComfyUI in this process with the pack loaded, and the demo models: what tests of nodes need."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from demo.comfy_nodes.words import pooled_rows, token_rows

ROOT = Path(__file__).resolve().parents[1]
FLOW, EPS = "demo_flow", "demo_eps"
CHANNELS = {FLOW: 16, EPS: 4}
ROUNDING = 2e-6  # float32 sums in another order, over 6 steps of states of size 1


@dataclass(frozen=True)
class World:
    """ComfyUI with the pack loaded as it loads packs; presets go to a folder of the test run."""

    nodes: ModuleType
    folder: Path

    def of(self, kind: str) -> Any:  # noqa: ANN401
        node = self.nodes.NODE_CLASS_MAPPINGS[f"SolverSearch_{kind}"]
        node.hidden = SimpleNamespace(unique_id="1", prompt=None, extra_pnginfo=None)
        return node

    def module(self, name: str) -> ModuleType:
        """A module of the loaded pack."""
        ending = f".{name}"
        return next(m for key, m in sys.modules.items()
                    if key.endswith(ending) and "solver-search" in key)


@pytest.fixture(scope="session")
def world(comfy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("world")) as found:
        yield found


@contextlib.contextmanager
def opened(place: Path) -> Iterator[World]:
    """The pack loaded by ComfyUI, with models and temporary files in an empty folder."""
    import folder_paths

    nodes = importlib.import_module("nodes")
    before = folder_paths.models_dir
    folder_paths.models_dir = str(place / "models")
    folder_paths.set_temp_directory(str(place / "temp"))
    packs = place / "custom_nodes"
    packs.mkdir()
    (packs / "solver-search").symlink_to(ROOT, target_is_directory=True)
    loaded = asyncio.run(nodes.load_custom_node(str(packs / "solver-search"),
                                                module_parent="custom_nodes"))
    assert loaded
    yield World(nodes, place / "models" / "solver_presets")
    folder_paths.models_dir = before


@pytest.fixture(scope="session")
def models(world: World) -> dict[str, Any]:
    sd = importlib.import_module("comfy.sd")
    with torch.inference_mode():
        return {name: sd.load_checkpoint_guess_config(
            str(ROOT / "demo" / "checkpoints" / f"{name}.safetensors"), output_vae=False,
            output_clip=False)[0] for name in (FLOW, EPS)}


def prompt(name: str, *lines: str) -> list:
    width, pooled = (64, 64) if name == FLOW else (768, 0)
    rows = list(lines) or [""]
    extra = {"pooled_output": pooled_rows(rows, pooled)} if pooled else {}
    return [[token_rows(rows, width), extra]]


def latent(name: str, batch: int = 8) -> dict[str, Tensor]:
    return {"samples": torch.zeros(batch, CHANNELS[name], 8, 8)}


def ksampler(world: World, model: Any, name: str, sampler: str = "euler",  # noqa: ANN401
             scheduler: str = "simple", **more: Any) -> Tensor:  # noqa: ANN401
    with torch.inference_mode():
        return world.nodes.common_ksampler(
            model, 5, 6, 4.0, sampler, scheduler, prompt(name, "cat, night"), prompt(name),
            latent(name, 2), **more)[0]["samples"]
