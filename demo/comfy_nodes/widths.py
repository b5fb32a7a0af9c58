"""How wide a loaded model wants its conditioning, read from the config ComfyUI detected."""

from __future__ import annotations

from typing import Any

CONTEXT_KEYS = ("context_dim", "context_in_dim", "text_dim", "text_embed_dim")
POOLED_KEYS = ("adm_in_channels", "vec_in_dim")


def conditioning_widths(config: dict[str, Any]) -> tuple[int, int | None]:
    """Widths of tokens and of the pooled vector.

    Args:
        config: `model.model.model_config.unet_config` of a loaded MODEL.

    Returns:
        Context width, and pooled width or None where the model takes no pooled vector.

    Raises:
        ValueError: the config names no context width.
    """
    embedder = config.get("context_embedder_config") or {}
    context = embedder.get("params", {}).get("in_features") or _first(config, CONTEXT_KEYS)
    if context is None:
        raise ValueError(
            "Demo Prompt cannot tell how wide this model's text conditioning is. It is made for "
            "the demo checkpoints; use this model's own text encoder instead."
        )
    return context, _first(config, POOLED_KEYS)


def _first(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    values = [config[key] for key in keys if isinstance(config.get(key), int)]
    return values[0] if values else None
