"""A real ComfyUI with the pack in it, tiny real models, and searches that take about a second.

Nothing is a mock: a search runs ComfyUI's guider, loading and sampling on a network of a family
that people use, made small. What is cut is how much a search does.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ..matrix.families import FAMILIES, UNET, WIDTH, Subject, made, words
from ..world import World

FLOW, EPS = "SD3", "SD1.5"
BATCH, CFG, NODE = 2, 4.0, "1"
BYSTANDER = "bystander.safetensors"  # somebody's, there before
NAME, PRESET = "hurt", "hurt.safetensors"  # of what a fault's search saves
SAMPLERS, SCHEDULES = ("euler", "dpmpp_2m"), ("simple", "karras", "beta")
SMALL = {"model_channels": 32, "num_res_blocks": [1], "channel_mult": [1],
         "transformer_depth": [1], "transformer_depth_output": [1, 1],
         "num_head_channels": 32}


@dataclass(frozen=True)
class Stage:
    """Where faults happen.

    Args:
        world: ComfyUI with the pack, presets in a folder of its own.
        subjects: models with their prompts and latents, by family.
    """

    world: World
    subjects: dict[str, Subject]

    @property
    def folder(self) -> Path:
        """People's own presets."""
        return self.world.folder

    @property
    def moved(self) -> Path:
        """Where a fault puts the folder, if it takes it away."""
        return self.folder.with_name("moved")

    def module(self, name: str) -> Any:  # noqa: ANN401
        """A module of the pack that ComfyUI loaded."""
        return self.world.module(name)

    def library(self) -> Path:
        """One of the presets that come with the pack."""
        return min(self.module("presets.store").LIBRARY.glob("*.safetensors"))

    def around_folder(self) -> set[str]:
        """What lies beside the folder of presets."""
        return {path.name for path in self.folder.parent.iterdir()}

    def latent(self, family: str = FLOW, batch: int = BATCH) -> Tensor:
        """An empty one."""
        return self.subjects[family].latent.repeat(batch, 1, 1, 1)

    def search(self, name: str, model: Any = None, family: str = FLOW,  # noqa: ANN401
               method: str = "fit", **more: Any) -> Any:  # noqa: ANN401
        """What the node Search Solver gives for a preset of this name."""
        subject = self.subjects[family]
        given = {"latent": {"samples": self.latent(family)}, "steps": "3", "method": method,
                 "effort": "quick", "seed": 3, "name": name, "cfg": CFG, "again": True,
                 "model": model or subject.model, "positive": subject.positive,
                 "negative": subject.negative, **more}
        node = self.world.of("Search")
        node.hidden = SimpleNamespace(unique_id=NODE, prompt=None, extra_pnginfo=None)
        with torch.inference_mode():
            return node.execute(**{key: [value] for key, value in given.items()})

    def picture(self, family: str = FLOW, model: Any = None) -> Tensor:  # noqa: ANN401
        """What a plain KSampler paints."""
        subject = self.subjects[family]
        with torch.inference_mode():
            return self.world.nodes.common_ksampler(
                model or subject.model, 5, 3, CFG, "dpmpp_2m", "simple", subject.positive,
                subject.negative, {"samples": self.latent(family)})[0]["samples"]


@contextlib.contextmanager
def staged(world: World) -> Iterator[Stage]:
    """The stage, with searches cut short while it is used."""
    with pytest.MonkeyPatch.context() as patch:
        _cut(world, patch)
        yield Stage(world, {FLOW: FAMILIES[FLOW].build(), EPS: _sd15()})


def _sd15() -> Subject:
    """An eps model that takes a few milliseconds a call."""
    return Subject(made("SD15", {**UNET, **SMALL}), words(WIDTH, 1), words(WIDTH, 2),
                   torch.zeros(1, 4, 8, 8))


def emptied(stage: Stage, *, bystander: bool = False) -> None:
    """The folder as at the beginning: empty, or with one preset of somebody's."""
    for folder in (stage.folder, stage.moved):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)
    stage.folder.mkdir(parents=True)
    if bystander:
        (stage.folder / BYSTANDER).write_bytes(stage.library().read_bytes())
    stage.module("nodes.comfy_bridge.folders").shelf()


def _cut(world: World, patch: pytest.MonkeyPatch) -> None:
    config = world.module("solver_search.config")
    patch.setitem(config.EFFORTS, "quick", config.Effort(2, 1, 150, 8, 1, 2, 1, 1, 2))
    less_evidence(world.module, patch)


def less_evidence(module: Callable[[str], Any], patch: pytest.MonkeyPatch) -> None:
    """Quick searches are measured against few settings, and at one more CFG scale.

    Args:
        module: a module of the pack by its name.
        patch: puts all back.
    """
    extent, evidence, guidance, ordinary = (module(name) for name in (
        "nodes.extent", "nodes.evidence", "nodes.guidance", "nodes.comfy_bridge.ordinary"))
    rounds = evidence.Rounds(((1, 2), (1, 2), (2, 2)), 1)
    patch.setitem(extent.EXTENTS, "quick", extent.Extent(rounds, 8))
    patch.setitem(guidance.RANGES, "quick", replace(
        guidance.RANGES["quick"], around=(1.5,), above_one=(2.0,), calls=8, seeds=2,
        rounds=evidence.Rounds(((1, 2), (2, 1)))))
    for name in ("nodes.evidence", "nodes.proof"):
        patch.setattr(module(name), "POPULAR_SAMPLERS", SAMPLERS)
    whole = ordinary.fitted
    patch.setattr(ordinary, "SHIFTS", ())
    patch.setattr(ordinary, "fitted", lambda found, *more: whole(
        {name: s for name, s in found.items() if name.partition("@")[0] in SCHEDULES}, *more))
