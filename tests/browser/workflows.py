"""Small workflows on the demo model, and preset files, made for a test.

A workflow is told as {name: (class, widgets, {input: "name.output"})}; the page builds it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from launch.places import ROOT
from tests.pack import load

Nodes = dict[str, tuple[str, dict[str, Any], dict[str, str]]]
CHECKPOINT = "demo_flow.safetensors"
DEMO_PRESET = "Demo flow 6 steps.safetensors"
WRONG_KIND = "DSS DiT VP 6.safetensors"  # for eps and v models; the demo model is a flow model
MODEL: Nodes = {
    "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINT}, {}),
    "positive": ("SolverSearchDemo_Prompt", {"text": "cat, plain"}, {"model": "checkpoint.0"}),
    "negative": ("SolverSearchDemo_Prompt", {"text": ""}, {"model": "checkpoint.0"}),
    "size": ("EmptySD3LatentImage", {"width": 64, "height": 64, "batch_size": 1}, {}),
}
# So many pictures in one call of the model cost it little more than one: what takes hundreds of
# calls is done in a third of the time.
AT_ONCE = 16
MANY: Nodes = {**MODEL, "size": ("EmptySD3LatentImage", {"width": 64, "height": 64,
                                                         "batch_size": AT_ONCE}, {})}


def sampled(model: str = "checkpoint.0", *, cfg: float = 2.5, seed: int = 7) -> Nodes:
    """Model, prompts, KSampler and a saved picture."""
    return {
        **MODEL,
        "sampler": ("KSampler", {"seed": seed, "control_after_generate": "fixed", "steps": 6,
                                 "cfg": cfg, "sampler_name": "euler",
                                 "scheduler": "simple", "denoise": 1.0},
                    {"model": model, "positive": "positive.0", "negative": "negative.0",
                     "latent_image": "size.0"}),
        "decode": ("VAEDecode", {}, {"samples": "sampler.0", "vae": "checkpoint.2"}),
        "save": ("PreviewImage", {}, {"images": "decode.0"}),
    }


def guided(*, cfg: float = 2.5) -> Nodes:
    """The same through a guider, as ComfyUI's templates of Flux and its kin do."""
    return {
        **MODEL,
        "noise": ("RandomNoise", {"noise_seed": 7}, {}),
        "guider": ("CFGGuider", {"cfg": cfg}, {"model": "checkpoint.0", "positive": "positive.0",
                                               "negative": "negative.0"}),
        "select": ("KSamplerSelect", {"sampler_name": "euler"}, {}),
        "levels": ("BasicScheduler", {"scheduler": "simple", "steps": 6, "denoise": 1.0},
                   {"model": "checkpoint.0"}),
        "sampler": ("SamplerCustomAdvanced", {},
                    {"noise": "noise.0", "guider": "guider.0", "sampler": "select.0",
                     "sigmas": "levels.0", "latent_image": "size.0"}),
        "decode": ("VAEDecode", {}, {"samples": "sampler.0", "vae": "checkpoint.2"}),
        "save": ("PreviewImage", {}, {"images": "decode.0"}),
    }


def with_preset(preset: str = DEMO_PRESET, *, cfg: float = 2.5, pin: str = "",
                seed: int = 7) -> Nodes:
    """A KSampler behind Load Solver Preset and Use Solver."""
    return {
        "load": ("SolverSearch_Load", {"preset": preset, "pin": pin}, {"model": "checkpoint.0"}),
        "use": ("SolverSearch_Use", {}, {"model": "checkpoint.0", "solver": "load.0"}),
        **sampled("use.0", cfg=cfg, seed=seed),
    }


def searching(name: str, *, effort: str = "quick", steps: str = "2", cfg: float = 1.0) -> Nodes:
    """A search as small as one can be: two steps, no guidance."""
    return {
        **MANY,
        "search": ("SolverSearch_Search", {"steps": steps, "method": "fit", "effort": effort,
                                           "seed": 0, "name": name, "cfg": cfg},
                   {"model": "checkpoint.0", "positive": "positive.0", "negative": "negative.0",
                    "latent": "size.0", "vae": "checkpoint.2"}),
    }


def comparing(preset: str = DEMO_PRESET, *, seeds: int = 4, cfg: float = 2.5) -> Nodes:
    """A preset against a few built-in samplers on few seeds."""
    return {
        **MANY,
        "load": ("SolverSearch_Load", {"preset": preset}, {"model": "checkpoint.0"}),
        "compare": ("SolverSearch_Compare", {"cfg": cfg, "seeds": seeds},
                    {"model": "checkpoint.0", "positive": "positive.0", "negative": "negative.0",
                     "latent": "size.0", "vae": "checkpoint.2", "solver": "load.0"}),
    }


def preset_bytes(*, bent: float = 0.0, **info: Any) -> bytes:  # noqa: ANN401
    """The demo's preset with other facts, and noise levels `bent` by this share, as a file."""
    preset = load("presets.store").read(ROOT / "demo" / "presets" / DEMO_PRESET)
    sigmas = preset.solver.sigmas.clone()
    sigmas[1:-1] *= 1 - bent
    other = dataclasses.replace(preset, info=dataclasses.replace(preset.info, **info),
                                solver=dataclasses.replace(preset.solver, sigmas=sigmas))
    return load("presets.file").dump(other)


def library_bytes(name: str) -> bytes:
    """A preset of the shipped library, as a file."""
    return Path(ROOT / "presets" / "library" / f"{name}.safetensors").read_bytes()
