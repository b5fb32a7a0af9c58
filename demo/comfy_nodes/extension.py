"""The list of demo nodes, as ComfyUI asks for it."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .prompt_node import DemoPrompt


class DemoExtension(ComfyExtension):
    """The demo nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [DemoPrompt]
