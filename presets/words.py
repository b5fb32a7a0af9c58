"""What a preset is good for, in sentences for artists; all of it is the author's word."""

from __future__ import annotations

import math

from .info import PresetInfo

SAME_GUIDANCE = 1e-6  # relative: widgets and files hand on decimals
OTHER_TAIL = 0.03  # difference in shares of other pictures from which on means hide it


def promise(info: PresetInfo, *, calls: int = 0) -> str:
    """One honest sentence for artists.

    Args:
        info: what the author says.
        calls: model calls of the solver; 0 leaves them out.
    """
    if info.error is None:
        return "Not measured on this model."
    at = f" at {calls} model call{'s' if calls > 1 else ''}" if calls else ""
    seeds = f" on {info.held_out_seeds} unseen seeds" if info.held_out_seeds else ""
    prompts = f"{info.held_out_prompts} unseen prompt{'s' if info.held_out_prompts > 1 else ''}"
    seeds += f" and {prompts}" if info.held_out_prompts else ""
    measured = f"{at}, measured{seeds} by the author"
    if info.builtin:
        return (f"The search found nothing better than {info.builtin}; that is what is saved. "
                f"Error {info.error:.3g}{measured}.")
    if info.baseline_error is None:
        return f"Error {info.error:.3g}{measured}; not compared with built-in samplers."
    named = f" ({info.baseline})" if info.baseline else ""
    said = (f"Error {info.error:.3g} against {info.baseline_error:.3g} for the best built-in"
            f"{named}{measured}{_verdict(info)}.", _typical(info), _tail(info))
    return " ".join(filter(None, said))


def guidance_range(info: PresetInfo) -> str:
    """Where a preset is known to be good, in one sentence; "" where nothing is said of CFG."""
    if info.guidance is None:
        return ""
    if info.guidance_low is not None and info.guidance_high is not None:
        between = (f"from CFG {info.guidance_low:g} to {info.guidance_high:g}"
                   if info.guidance_low < info.guidance_high else f"at CFG {info.guidance:g} only")
        return f"Better than the built-in samplers {between}, as measured."
    if info.guidance_measured:
        return "Not better than the built-in samplers at any CFG that was measured."
    return f"Unknown away from CFG {info.guidance:g}."


def guidance_remark(info: PresetInfo, cfg: float | None) -> str:
    """A sentence when a preset is used at a CFG at which it is not known to be good, else ""."""
    if cfg is None or info.guidance is None:
        return ""
    own = math.isclose(cfg, info.guidance, rel_tol=SAME_GUIDANCE)
    low, high = info.guidance_low, info.guidance_high
    known = low is not None and high is not None
    if known and low * (1 - SAME_GUIDANCE) <= cfg <= high * (1 + SAME_GUIDANCE):
        return ""
    if own and not info.guidance_measured:
        return ""
    return (f"{guidance_range(info)} This is CFG {cfg:g}, where a built-in sampler may be better: "
            "compare, or search at your CFG.")


def difference_is_clear(info: PresetInfo) -> bool:
    """Whether more than chance is between the error and that of the best built-in."""
    gain = (info.baseline_error or 0.0) - (info.error or 0.0)
    apart = (info.error_interval or 0.0) + (info.baseline_interval or 0.0)
    return abs(gain) >= (apart if info.difference_interval is None else info.difference_interval)


def _verdict(info: PresetInfo) -> str:
    if not difference_is_clear(info):
        return "; the two are too close to call"
    return "; the built-in is better" if (info.baseline_error or 0) < (info.error or 0) else ""


def _typical(info: PresetInfo) -> str:
    """Where medians say another thing than means."""
    ours, other = info.error_median, info.baseline_median
    if ours is None or other is None or info.error is None or info.baseline_error is None:
        return ""
    if (ours < other) == (info.error < info.baseline_error):
        return ""
    nearer = "nearer" if ours < other else "further away"
    return f"A typical picture is {nearer} (median {ours:.3g} against {other:.3g})."


def _tail(info: PresetInfo) -> str:
    """Where it differs how many pictures are other ones."""
    ours, other = info.error_elsewhere, info.baseline_elsewhere
    if ours is None or other is None or abs(ours - other) < OTHER_TAIL:
        return ""
    return f"{ours:.0%} of its pictures become other pictures, {other:.0%} of the built-in's."
