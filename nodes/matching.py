"""How well a preset suits a model, in words, and which suits best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..presets.preset import Preset
from .comfy_bridge.model import ModelFacts
from .unsearched import METHOD, WORTH, unsearched

RANGE_TOLERANCE = 0.01  # published tables round sigma_max


class NoPresetError(ValueError):
    """There is no preset to take; the message says what to do."""


def level(preset: Preset, model: ModelFacts) -> int:
    """3: made for this file; 2: same family; 1: same kind of noise; 0: cannot be used."""
    info = preset.info
    if preset.solver.flow != model.flow:
        return 0
    if not math.isclose(preset.top, model.sigma_max, rel_tol=RANGE_TOLERANCE):
        return 0
    if info.family != model.family:
        return 1
    return 3 if info.model_name and info.model_name == model.file_name else 2


def judge(preset: Preset, model: ModelFacts) -> str:
    """One sentence on how far the preset's numbers hold for this model."""
    info = preset.info
    sentences = {
        3: "Made for this checkpoint.",
        2: f"Made for the same family ({model.family}), not measured on this checkpoint.",
        1: f"Made for another family ({info.family or 'unknown'}); it may be no better than a "
           "built-in sampler here. Compare before you rely on it.",
        0: "Not usable with this model: its noise schedule is another one.",
    }
    said = sentences[level(preset, model)]
    if info.method == METHOD and level(preset, model) >= 2:
        said = f"Nobody has searched for this model. {WORTH}"
    if preset.partial:
        said += f" For image to image at denoise {info.denoise:g} and below."
    if info.shift and model.shift and not math.isclose(info.shift, model.shift, rel_tol=1e-3):
        said += (f" It was searched at shift {info.shift:.4g}, this model has {model.shift:.4g}; "
                 "the solver brings its own steps, so that is no harm.")
    return said


def best_match(presets: Sequence[Preset], model: ModelFacts | None, steps: int) -> Preset:
    """The preset that suits a model best; among equals the first, that is the newest own one.

    Args:
        presets: in the order of preference.
        model: what is to be sampled.
        steps: only presets with so many; 0 takes any, and gives the preset its siblings: those
            that suit the model as well and were searched at the same CFG.

    Raises:
        NoPresetError: without a model, or when none can be used.
    """
    if model is None:
        raise NoPresetError("Connect a model to let the node choose a preset, or pick one by "
                            "name.")
    fitting = [p for p in presets if level(p, model) >= 2 and steps in (0, p.solver.nfe)]
    whole = [p for p in fitting if not p.partial]
    if not whole:
        at = f" with {steps} steps" if steps else ""
        raise NoPresetError(f"There is no preset{at} made for this kind of model "
                            f"({model.family}). Make one with the Search Solver node, or pick "
                            "one by name and compare.")
    best = max(whole, key=lambda preset: level(preset, model))
    return replace(best, siblings=tuple(p for p in fitting if _kin(p, best, model)))


def best_or_unsearched(presets: Sequence[Preset], model: ModelFacts | None,
                       steps: int) -> Preset:
    """As best_match; where nothing can be used an eps or v model gets a table without a search.

    Raises:
        NoPresetError: without a model, or for flow models when none can be used.
    """
    try:
        return best_match(presets, model, steps)
    except NoPresetError:
        if model is None or model.flow:
            raise
        return unsearched(model, steps)


def _kin(preset: Preset, best: Preset, model: ModelFacts) -> bool:
    same = preset.info.guidance == best.info.guidance and level(preset, model) == level(best,
                                                                                       model)
    return same and preset is not best
