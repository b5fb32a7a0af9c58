"""What a preset is good for, in sentences for artists; all of it is the author's word."""

from __future__ import annotations

import math

from .info import PresetInfo

SAME_GUIDANCE = 1e-6  # relative: widgets and files hand on decimals


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
    if info.baseline_error is None:
        return (f"Error {info.error:.3g}{at}, measured{seeds} by the author; not compared with "
                "built-in samplers.")
    named = f" ({info.baseline})" if info.baseline else ""
    return (f"Error {info.error:.3g} against {info.baseline_error:.3g} for the best built-in"
            f"{named}{at}, measured{seeds} by the author{_verdict(info)}.")


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


def _verdict(info: PresetInfo) -> str:
    gain = (info.baseline_error or 0.0) - (info.error or 0.0)
    if abs(gain) < (info.error_interval or 0.0) + (info.baseline_interval or 0.0):
        return "; the two are too close to call"
    return "; the built-in is better" if gain < 0 else ""
