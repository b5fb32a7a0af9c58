"""How well a preset suits a model, in words, and which suits best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..presets.info import PresetInfo
from ..presets.preset import Preset
from ..presets.words import SAME_GUIDANCE, difference_is_clear
from .behind import Wish
from .comfy_bridge.model import ModelFacts
from .measured import NOTHING, Known, here
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


def verdict(preset: Preset, model: ModelFacts, own: PresetInfo | None = None) -> Said:
    """How far the preset's numbers hold for this model; `own`: what was measured here of it."""
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
    if own is not None and suits < 3:
        said = f"Measured on this checkpoint, on this machine: {_figures(own)}"
    if preset.partial:
        said += f" For image to image at denoise {info.denoise:g} and below."
    shifted = ""
    if info.shift and model.shift and not math.isclose(info.shift, model.shift, rel_tol=1e-3):
        shifted = (f"It was searched at shift {info.shift:.4g}, this model has {model.shift:.4g};"
                   " the solver brings its own steps, so that is no harm.")
    return Said(said, (UNFINISHED,) if info.state else (), (shifted,) if shifted else ())


def _figures(own: PresetInfo) -> str:
    gain = _gain(own)
    if not gain:
        return "as near as the best built-in sampler."
    share = abs(gain) / (own.baseline_error or 1.0)
    return (f"error {share:.0%} lower than the best built-in sampler." if gain > 0 else
            f"the best built-in sampler is better, by {share:.0%}. Take that instead.")


def judge(preset: Preset, model: ModelFacts) -> str:
    """The verdict in one line."""
    return verdict(preset, model).text.replace("\n", " ")


def best_match(presets: Sequence[Preset], model: ModelFacts | None, steps: int,
               wish: Wish | None = None, pin: str = "", measured: Known = NOTHING) -> Preset:
    """The preset that suits a model best.

    Finished ones come before unfinished ones, then in this order: made for this checkpoint, or
    found better than the built-in samplers on it here; not found worse here; measured; its CFG
    range holds the CFG wished or comes near, as many steps as wished, of
    nearest size, the first in `presets`.

    Args:
        presets: in the order of preference.
        model: what is to be sampled.
        steps: only presets with so many; 0 takes any, and gives the preset its siblings: those
            that suit the model as well and were searched at the same CFG.
        wish: what the samplers behind will ask for.
        pin: id of the preset to take if it is still there and can be used.
        measured: preset id -> what was measured on this machine.

    Raises:
        NoPresetError: without a model, or when none can be used.
    """
    if model is None:
        raise NoPresetError("Connect a model to let the node choose a preset, or pick one by "
                            "name.")
    cfg = wish.cfg if wish else None
    fitting = [p for p in presets if steps in (0, p.steps) and (
        level(p, model) >= 2 or level(p, model) and better_here(here(p, model, cfg, measured)))]
    whole = [p for p in fitting if not p.partial]
    if not whole:
        at = f" with {steps} steps" if steps else ""
        raise NoPresetError(f"There is no preset{at} made for this kind of model "
                            f"({model.family}). Make one with the Search Solver node, or pick "
                            "one by name and compare.")
    pinned = [p for p in whole if p.id == pin] if pin else []
    best = max(pinned or whole, key=lambda p: _rank(p, model, wish or Wish(), measured))
    reached = level(best, model)
    return replace(best, siblings=tuple(
        p for p in fitting if p is not best and p.info.guidance == best.info.guidance
        and level(p, model) == reached))


def _rank(preset: Preset, model: ModelFacts, wish: Wish, measured: Known) -> tuple:
    own, info = here(preset, model, wish.cfg, measured), preset.info
    good, bad = better_here(own), worse_here(own)
    if own is not None and (own.guidance == wish.cfg or info.error is None):
        info = replace(info, error=own.error, guidance=own.guidance, guidance_low=None,
                       guidance_high=None, guidance_measured="")
    return (not preset.info.state, 3 if good else level(preset, model), not bad,
            info.error is not None, -_guidance_distance(info, wish.cfg),
            preset.steps == wish.steps, -_size_distance(info, wish.pixels))


def better_here(own: PresetInfo | None) -> bool:
    """Whether own figures say that it is better than the best built-in sampler."""
    return _gain(own) > 0


def worse_here(own: PresetInfo | None) -> bool:
    """Whether own figures say that the best built-in sampler is better."""
    return _gain(own) < 0


def _gain(own: PresetInfo | None) -> float:
    """How much smaller the error is than the best built-in's; 0 where that may be chance."""
    if own is None or own.error is None or own.baseline_error is None:
        return 0.0
    return own.baseline_error - own.error if difference_is_clear(own) else 0.0


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
                       wish: Wish | None = None, pin: str = "",
                       measured: Known = NOTHING) -> Preset:
    """As best_match; where nothing can be used, a table that needs no search.

    Raises:
        NoPresetError: without a model.
    """
    try:
        return best_match(presets, model, steps, wish, pin, measured)
    except NoPresetError:
        if model is None:
            raise
        return unsearched(model, steps)
