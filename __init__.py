"""Solver Search: fast samplers searched for the checkpoint you have loaded."""

from .nodes import SolverSearchExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> SolverSearchExtension:
    """ComfyUI's entry point."""
    return SolverSearchExtension()
