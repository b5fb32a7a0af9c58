"""What is worth knowing of a run, in an artist's words."""

from __future__ import annotations

from dataclasses import replace

from ...presets.preset import Preset
from ...presets.words import guidance_remark
from ...solver_search.part import FALLBACK, Part
from ..said import Said
from .samplers import Place

LOW_SHARE = 0.4  # below it a search for the part won in every cell of benchmarks/results/parts.md
LOW_HINT = " At so low a denoise a preset searched for it does better: Search Solver's denoise."
NO_MEANS = ("This latent holds several media, and the model does not say where each lies: the "
            "solver's weights for mean colours are left out.")
# Largest entry of a state that may still be a picture. Pictures of demo_flow (CFG 1 to 7) end at
# most at 1.7, of demo_eps (CFG 1) at 1.5; ComfyUI's own samplers of 3 to 12 steps at CFG 15, which
# break up, at 27. Solvers with random weights that passed 30 at CFG 1 to 7 had errors of 22 and
# more; below 30 the size alone does not tell good from bad.
LARGE = 30.0
TOO_LARGE = ("The result is far larger than a picture can be, so it will look broken: this preset "
             "does not fit this model, CFG or size. Take another preset, or a built-in sampler.")
HIDDEN_GUIDANCE = ("This guider does not show what guidance adds to a picture, which the solver "
                   f"was searched to weigh: a plain rule ({FALLBACK}) samples at its noise levels "
                   "instead. Search with this guider connected.")


def remarks(preset: Preset, part: Part, asked: int, *, cfg: float | None, shift: float | None,
            place: Place | None = None) -> Said | None:
    """What a sampler says: what samples here, a warning where the CFG or the steps are not those
    of the preset, then the part that is sampled and the model's shift; None: nothing to say.

    Args:
        asked: steps asked for.
        cfg: the guider's, None if it has none.
        shift: the model's, None for eps and v models.
        place: where Use Solver stands; None: a sampler of its own.
    """
    first = place_in_words(place, preset) if place else ""
    way = _part_in_words(part, preset, asked)
    spoilt = part.kind == "placed"
    warnings = filter(None, (guidance_remark(preset.info, cfg), way if spoilt else ""))
    details = filter(None, ("" if spoilt else way, _shift_in_words(preset, shift)))
    said = Said(first, tuple(warnings), tuple(details))
    if not said.text:
        return None
    return said if first else replace(said, verdict=f"'{preset.info.name}' samples.")


def place_in_words(place: Place, preset: Preset) -> str:
    """What Use Solver did with the sampler it met, in one line."""
    if place.why_not:
        return f"Use Solver does nothing here: {place.why_not}."
    noise = f" ({place.name} adds noise, the solver adds none)" if place.noisy else ""
    inside = f" inside {place.inside}" if place.inside else ""
    return f"'{preset.info.name}' samples{inside} instead of {place.name}{noise}."


def _part_in_words(part: Part, preset: Preset, asked: int) -> str:
    own, calls, n = preset.solver.steps, preset.solver.nfe, part.solver.nfe
    first, last = float(part.solver.sigmas[0]), float(part.solver.sigmas[-1])
    way = f"sigma {first:.4g} to {last:.4g}"
    if part.kind == "whole":
        return (f"This solver takes its own {calls} steps; the {asked} asked for are not used."
                if asked not in (own, calls) else "")
    return {
        "piece": f"Steps {part.first + 1} to {part.last} of the solver's {own}.",
        "moved piece": f"Steps {part.first + 1} to {part.last} of the solver's {own}, moved to "
                       f"{way}.",
        "stretched": f"All {own} steps of the solver are laid into {way}."
                     + (LOW_HINT if part.share < LOW_SHARE else ""),
        "placed": f"{n} steps from {way}, placed like the solver's {own}. Its searched weights "
                  f"are for {own} steps, so a plain rule ({FALLBACK}) is used instead. Pick or "
                  f"search a preset with {n} steps.",
    }[part.kind]


def _shift_in_words(preset: Preset, found: float | None) -> str:
    own = preset.info.shift
    if not own or not found or abs(own - found) <= 1e-3 * own:
        return ""
    return (f"The model's shift is set to {found:.4g}. This solver brings its own noise levels, "
            f"searched at shift {own:.4g}: the setting changes only where a denoise below 1 "
            "begins.")
