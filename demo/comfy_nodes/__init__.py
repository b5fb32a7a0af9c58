"""Nodes for the demo models only: a text box in place of the text encoder they do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI calls; the import waits until then, so the words work without ComfyUI."""
    from .extension import DemoExtension

    return DemoExtension()
