"""The one socket type of ours, and the category of every node."""

from __future__ import annotations

from comfy_api.latest import io

from ..presets.preset import Preset

CATEGORY = "model/sampling/solver search"
# What a node said is shown again when it did not need to run; older ComfyUIs cannot.
KEPT = {name: True for name in ("has_intermediate_output",)
        if name in io.Schema.__dataclass_fields__}


@io.comfytype(io_type="SOLVER")
class SolverSocket(io.ComfyTypeIO):
    """A solver with what is known about it."""

    Type = Preset


def solver_input(**extra: object) -> io.Input:
    """The usual SOLVER input."""
    return SolverSocket.Input("solver", tooltip="A solver from Search Solver or Load Solver "
                              "Preset.", **extra)
