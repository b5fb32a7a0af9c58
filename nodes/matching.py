"""How well a preset suits a model, in words, and which suits best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..presets.info import PresetInfo
from ..presets.preset import Preset
from ..presets.words import SAME_GUIDANCE
from .behind import Wish
from .comfy_bridge.model import ModelFacts
from .said import Said
from .unsearched import METHOD, unsearched, worth

RANGE_TOLERANCE = 0.01  # published tables round sigma_max
FAR = 1e3  # worse than any distance of CFG scales or sizes
PIXEL = 64  # pixels in an entry of a latent; only distances between sizes count
UNFINISHED = ("This preset is unfinished: its search was stopped before anything was measured. "
              "Search again, or compare it.")


class NoPresetError(ValueError):
    """There is no preset to take; the message says what to do."""


def level(preset: Preset, model: ModelFacts) -> int:
    """3: made for this checkpoint; 2: same family; 1: same kind of noise; 0: cannot be used."""
    info = preset.info
    if preset.solver.flow != model.flow:
        return 0
    if not math.isclose(preset.top, model.sigma_max, rel_tol=RANGE_TOLERANCE):
        return 0
    if info.family != model.family:
        return 1
    return 3 if _same_checkpoint(info, model) else 2


def _same_checkpoint(info: PresetInfo, model: ModelFacts) -> bool:
    if info.architecture and model.architecture and info.architecture != model.architecture:
        return False
    if info.header_hash and model.header_hash:
        return info.header_hash == model.header_hash
    return bool(info.model_name) and info.model_name == model.file_name


def verdict(preset: Preset, model: ModelFacts) -> Said:
    """How far the preset's numbers hold for this model."""
    info, suits = preset.info, level(preset, model)
    said = {
        3: "Made for this checkpoint.",
        2: f"Made for the same family ({model.family}), not measured on this checkpoint.",
        1: f"Made for another family ({info.family or 'unknown'}); it may be no better than a "
           "built-in sampler here. Compare before you rely on it.",
        0: "Not usable with this model: its noise schedule is another one.",
    }[suits]
    if info.method == METHOD and suits >= 2:
        said = f"Nobody has searched for this model. {worth(model.flow)}"
    if preset.partial:
        said += f" For image to image at denoise {info.denoise:g} and below."
    shifted = ""
    if info.shift and model.shift and not math.isclose(info.shift, model.shift, rel_tol=1e-3):
        shifted = (f"It was searched at shift {info.shift:.4g}, this model has {model.shift:.4g};"
                   " the solver brings its own steps, so that is no harm.")
    return Said(said, (UNFINISHED,) if info.state else (), (shifted,) if shifted else ())


def judge(preset: Preset, model: ModelFacts) -> str:
    """The verdict in one line."""
    return verdict(preset, model).text.replace("\n", " ")


def best_match(presets: Sequence[Preset], model: ModelFacts | None, steps: int,
               wish: Wish | None = None, pin: str = "") -> Preset:
    """The preset that suits a model best.

    Finished ones come before unfinished ones, then in this order: made for this checkpoint,
    measured, its CFG range holds the CFG wished or comes near, as many steps as wished, of
    nearest size, the first in `presets`.

    Args:
        presets: in the order of preference.
        model: what is to be sampled.
        steps: only presets with so many; 0 takes any, and gives the preset its siblings: those
            that suit the model as well and were searched at the same CFG.
        wish: what the samplers behind will ask for.
        pin: id of the preset to take if it is still there and can be used.

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
    pinned = [p for p in whole if p.id == pin] if pin else []
    best = max(pinned or whole, key=lambda preset: _rank(preset, model, wish or Wish()))
    return replace(best, siblings=tuple(p for p in fitting if _kin(p, best, model)))


def _rank(preset: Preset, model: ModelFacts, wish: Wish) -> tuple:
    info = preset.info
    return (not info.state, level(preset, model), info.error is not None,
            -_guidance_distance(info, wish.cfg), preset.solver.nfe == wish.steps,
            -_size_distance(info, wish.pixels))


def _guidance_distance(info: PresetInfo, cfg: float | None) -> float:
    if cfg is None or info.guidance is None:
        return 0.0 if cfg is None else FAR
    low, high = info.guidance_low, info.guidance_high
    if low is None or high is None:
        lost = 1e-3 if info.guidance_measured else 0.0  # measured, and better at no CFG
        low = high = info.guidance
    else:
        lost = 0.0
    return lost + max(low * (1 - SAME_GUIDANCE) - cfg, cfg - high * (1 + SAME_GUIDANCE), 0.0)


def _size_distance(info: PresetInfo, pixels: float | None) -> float:
    if not pixels or not info.width or not info.height:
        return FAR if pixels else 0.0
    return abs(math.log(info.width * info.height * PIXEL / pixels))


def best_or_unsearched(presets: Sequence[Preset], model: ModelFacts | None, steps: int,
                       wish: Wish | None = None, pin: str = "") -> Preset:
    """As best_match; where nothing can be used, a table that needs no search.

    Raises:
        NoPresetError: without a model.
    """
    try:
        return best_match(presets, model, steps, wish, pin)
    except NoPresetError:
        if model is None:
            raise
        return unsearched(model, steps)


def _kin(preset: Preset, best: Preset, model: ModelFacts) -> bool:
    same = preset.info.guidance == best.info.guidance and level(preset, model) == level(best,
                                                                                       model)
    return same and preset is not best
