"""Load and save presets."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace

from comfy_api.latest import io, ui

from ..presets.preset import Preset
from ..presets.store import read, save
from .comfy_bridge.console import say
from .comfy_bridge.folders import own_folder, preset_names, preset_path
from .comfy_bridge.model import facts
from .matching import best_or_unsearched, judge
from .types import CATEGORY, SolverSocket, solver_input

log = logging.getLogger("solver-search")
AUTOMATIC = "(best for the connected model)"


class LoadSolverPreset(io.ComfyNode):
    """Picker -> SOLVER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode. Called for every list refresh, so new presets show at once."""
        return io.Schema(
            node_id="SolverSearch_Load",
            display_name="Load Solver Preset",
            category=CATEGORY,
            description="Picks a saved solver. Your own presets come first, newest on top; "
                        "published ones follow.",
            search_aliases=["fast", "few steps", "fast sampler", "speed", "quick", "lightning",
                            "turbo", "accelerate", "schedule", "solver preset"],
            inputs=[
                io.Combo.Input("preset", options=[AUTOMATIC, *preset_names()],
                               extra_dict={"solver_presets": _about_all()},
                               tooltip="A preset, or the first entry to take the one that suits "
                                       "the connected model best."),
                io.Int.Input("steps", default=0, min=0, max=64, advanced=True,
                             tooltip="Only for the first entry: how many steps you want. With 0 "
                                     "the steps of your KSampler pick among all presets of the "
                                     "family."),
                io.String.Input("pin", default="", advanced=True, optional=True,
                                tooltip="Filled in by itself when you pick a preset: the id of "
                                        "its numbers. If the file is another one later, the "
                                        "node says so. Empty: no check."),
                io.Model.Input("model", optional=True,
                               tooltip="Connect your model to be told how well the preset suits "
                                       "it, and to use the first entry."),
            ],
            outputs=[SolverSocket.Output("solver", tooltip="Connect to Use Solver or Solver "
                                         "Sampler."),
                     io.String.Output("about", tooltip="What the preset is good for.")],
        )

    @classmethod
    def fingerprint_inputs(cls, preset: str, steps: int = 0, pin: str = "",
                           model: io.Model.Type | None = None) -> str:
        """Load again when the file changed."""
        if preset == AUTOMATIC:
            return "|".join(f"{name}:{_stamp(name)}" for name in preset_names())
        return _stamp(preset)

    @classmethod
    def execute(cls, preset: str, steps: int = 0, pin: str = "",
                model: io.Model.Type | None = None) -> io.NodeOutput:
        """See io.ComfyNode."""
        known = None if model is None else facts(model)
        if preset == AUTOMATIC:
            loaded = best_or_unsearched(list(all_presets().values()), known, steps)
        else:
            loaded = read(preset_path(preset))
        lines = [f"{loaded.info.name} ({_steps(loaded)} steps, id {loaded.id})", loaded.promise]
        if preset != AUTOMATIC and pin and pin != loaded.id:
            lines.insert(0, f"This preset has changed since the workflow was made: its id was "
                            f"{pin}, now it is {loaded.id}. Pictures will differ. Pick it again "
                            "to accept it.")
        if known is not None:
            lines.append(judge(loaded, known))
        say("\n".join(lines))
        about = "\n".join([*lines, loaded.info.notes]).strip()
        return io.NodeOutput(loaded, about, ui=ui.PreviewText(about))


class SaveSolverPreset(io.ComfyNode):
    """SOLVER -> file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode."""
        return io.Schema(
            node_id="SolverSearch_Save",
            display_name="Save Solver Preset",
            category=CATEGORY,
            description="Saves a solver under a name of your choice in models/solver_presets, "
                        "ready to share. Search Solver already saves by itself; use this to "
                        "rename, sign or comment a preset.",
            search_aliases=["share solver", "export solver"],
            is_output_node=True,
            inputs=[
                solver_input(),
                io.String.Input("name", default="my solver",
                                tooltip="Letters, digits, space and . _ - only."),
                io.String.Input("author", default="", advanced=True,
                                tooltip="Your name, if you want it in the file."),
                io.String.Input("notes", default="", multiline=True, advanced=True,
                                tooltip="What it is good for, for people you share it with."),
                io.Boolean.Input("overwrite", default=False,
                                 tooltip="Replace a preset of the same name."),
            ],
            outputs=[SolverSocket.Output("solver", tooltip="The same solver, with its new name.")],
        )

    @classmethod
    def execute(cls, solver: Preset, name: str, author: str = "", notes: str = "",
                overwrite: bool = False) -> io.NodeOutput:
        """See io.ComfyNode."""
        info = replace(solver.info, name=name, author=author or solver.info.author,
                       notes=notes or solver.info.notes)
        renamed = Preset(solver.solver, info)
        path = save(own_folder(), renamed, name=name, overwrite=overwrite)
        return io.NodeOutput(renamed, ui=ui.PreviewText(f"Saved as {path.name}"))


def _steps(preset: Preset) -> str:
    """Numbers of steps of a preset and its siblings: 5, 6, 8."""
    return ", ".join(map(str, sorted({p.solver.nfe for p in (preset, *preset.siblings)})))


def all_presets() -> dict[str, Preset]:
    """Every sound preset by its file name; the others are named in the log."""
    found = {}
    for name in preset_names():
        try:
            found[name] = _read_cached(name, _stamp(name))
        except (ValueError, OSError) as error:
            log.warning("A preset is left out: %s", error)
    return found


def _about_all() -> dict[str, dict[str, str]]:
    """For the front end, which puts presets of the connected checkpoint first."""
    return {name: {"model": preset.info.model_name, "family": preset.info.family, "id": preset.id}
            for name, preset in all_presets().items()}


@functools.lru_cache(maxsize=1024)
def _read_cached(name: str, stamp: str) -> Preset:
    return read(preset_path(name))


def _stamp(name: str) -> str:
    stat = preset_path(name).stat()
    return f"{stat.st_mtime_ns}:{stat.st_size}"
