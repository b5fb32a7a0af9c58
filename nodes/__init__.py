"""The nodes: each reads widgets, calls one function of the engine, and wraps the result."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .comfy_bridge.console import tell_echoes
from .comfy_bridge.folders import register_folders
from .comfy_bridge.web import on_prompt, register_routes
from .compare import CompareSolvers
from .dropdown import register as register_dropdown
from .measure import MeasureSolver
from .pins import set_aside
from .preset_nodes import LoadSolverPreset, SaveSolverPreset
from .routes import ROUTES
from .search import SearchSolver
from .use import SolverSampler, UseSolver

NODES: list[type[io.ComfyNode]] = [
    SearchSolver, LoadSolverPreset, SolverSampler, UseSolver, SaveSolverPreset, CompareSolvers,
    MeasureSolver,
]


class SolverSearchExtension(ComfyExtension):
    """Registers the nodes and the preset folders."""

    async def on_load(self) -> None:
        """Tell ComfyUI where presets live, answer browsers, add menu names if they are wanted."""
        register_folders()
        register_routes(ROUTES)
        on_prompt(set_aside)
        on_prompt(tell_echoes)
        register_dropdown()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes."""
        return NODES
