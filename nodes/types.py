"""The one socket type of ours, and the category of every node."""

from __future__ import annotations

from comfy_api.latest import io

from ..presets.preset import Preset

CATEGORY = "model/sampling/solver search"


@io.comfytype(io_type="SOLVER")
class SolverSocket(io.ComfyTypeIO):
    """A solver with what is known about it."""

    Type = Preset


def solver_input(**extra: object) -> io.Input:
    """The usual SOLVER input."""
    return SolverSocket.Input("solver", tooltip="A solver from Search Solver or Load Solver "
                              "Preset.", **extra)
