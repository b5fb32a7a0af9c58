"""Load and save presets."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from comfy_api.latest import io

from ..presets.fields import PresetError
from ..presets.preset import Preset, PresetInfo
from ..presets.store import check_name, fitting_name, read, save
from ..presets.words import guidance_remark
from .behind import Wish, wish_behind
from .comfy_bridge.console import say
from .comfy_bridge.folders import (
    own_folder,
    preset_files,
    preset_names,
    preset_path,
    preset_stamp,
    shelf,
)
from .comfy_bridge.identity import checkpoint_file, whole_hash
from .comfy_bridge.model import ModelFacts, facts
from .comfy_bridge.web import presets_changed, running_extra, running_prompt
from .echo import above
from .matching import best_or_unsearched, verdict
from .measured import all_figures, here
from .pins import AUTOMATIC, CHOICES, pin_of, write_pin
from .said import Said, harmless, spoken
from .types import CATEGORY, KEPT, SolverSocket, solver_input

PIN = re.compile("[0-9a-f]{16}")
CHOSEN_AGAIN = ("The preset this workflow was pinned to is not there or does not fit any more; "
                "another one was taken. Pictures will differ.")


class LoadSolverPreset(io.ComfyNode):
    """Picker -> SOLVER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode. Called for every list refresh, so new presets show at once."""
        held = shelf()  # the folder is looked through once, however many presets there are
        return io.Schema(
            node_id="SolverSearch_Load",
            display_name="Load Solver Preset",
            category=CATEGORY,
            description="Picks a saved solver. Your own presets come first, newest on top; "
                        "published ones follow.",
            search_aliases=["fast", "few steps", "fast sampler", "speed", "quick", "lightning",
                            "turbo", "accelerate", "schedule", "solver preset"],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[
                io.Combo.Input("preset", options=[AUTOMATIC, *held.entries],
                               tooltip="A preset, or the first entry to take the one that suits "
                                       "the connected model best."),
                io.Int.Input("steps", default=0, min=0, max=64, advanced=True,
                             tooltip="Only for the first entry: how many steps you want. With 0 "
                                     "the steps of your KSampler pick among all presets of the "
                                     "family."),
                io.String.Input("pin", default="", advanced=True, optional=True,
                                tooltip="Filled in by itself when you pick a preset: the id of "
                                        "its numbers. If the file is another one later, the "
                                        "node says so; the first entry stays with these numbers. "
                                        "Empty: no check, and the first entry chooses anew."),
                io.Model.Input("model", optional=True,
                               tooltip="Connect your model to be told how well the preset suits "
                                       "it, and to use the first entry."),
            ],
            outputs=[SolverSocket.Output("solver", tooltip="Connect to Use Solver or Solver "
                                         "Sampler."),
                     io.String.Output("about", tooltip="What the preset is good for.")],
            **KEPT,
        )

    @classmethod
    def validate_inputs(cls, preset: str | None = None) -> bool | str:
        """A preset that a shared workflow names and nobody has here is told by us."""
        names = preset_names()
        if preset is None or preset == AUTOMATIC or preset in names:
            return True
        return _missing(preset, names)

    @classmethod
    def fingerprint_inputs(cls, preset: str | None = None, steps: int = 0, pin: str = "",
                           model: io.Model.Type | None = None) -> str:
        """Load again when the file changed, or what the automatic choice depends on."""
        if preset != AUTOMATIC:
            return preset_stamp(preset or "")
        basis, node = _basis(running_prompt(), cls.hidden.unique_id), cls.hidden.unique_id
        kept = pin_of(pin, node, running_extra())
        return basis if kept in ("", CHOICES.took(str(node), basis)) else f"{basis}|{kept}"

    @classmethod
    @spoken
    def execute(cls, preset: str, steps: int = 0, pin: str = "",
                model: io.Model.Type | None = None) -> io.NodeOutput:
        """See io.ComfyNode."""
        if pin and not PIN.fullmatch(pin):
            raise ValueError("The pin must be empty or 16 digits 0 to 9 and a to f, found "
                             f"{len(pin)} characters that are not such digits. Clear it, or pick "
                             "the preset again.")
        known = None if model is None else facts(model)
        wish = wish_behind(cls.hidden.prompt, cls.hidden.unique_id)
        if preset == AUTOMATIC:
            pin = pin_of(pin, cls.hidden.unique_id, running_extra())
            loaded = best_or_unsearched(list(all_presets().values()), known, steps, wish, pin,
                                        all_figures())
            _remember(cls, pin, loaded)
        else:
            loaded = read(preset_path(preset))
        said = _about(loaded, known, wish, pin, automatic=preset == AUTOMATIC)
        say(said)
        about = "\n".join([harmless(said.text), loaded.info.notes]).strip()
        return io.NodeOutput(loaded, about, ui=said.ui(file=_file_of(loaded, preset),
                                                       id=loaded.id))


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
                io.Boolean.Input("checkpoint_hash", default=False, advanced=True,
                                 tooltip="Also put the hash of the whole checkpoint into the "
                                         "file, so that others can look it up (its first ten "
                                         "digits are AutoV2). Reads the checkpoint once: some "
                                         "seconds a gigabyte."),
            ],
            outputs=[SolverSocket.Output("solver", tooltip="The same solver, with its new name.")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """A name that cannot be is refused before anything runs."""
        try:
            check_name(name if name is not None else "later")
        except PresetError as error:
            possible = fitting_name(name or "")
            return f"{error} Possible: {possible}." if possible else str(error)
        return True

    @classmethod
    @spoken
    def execute(cls, solver: Preset, name: str, author: str = "", notes: str = "",
                overwrite: bool = False, checkpoint_hash: bool = False) -> io.NodeOutput:
        """See io.ComfyNode."""
        info, missing = _hashed(solver.info) if checkpoint_hash else (solver.info, ())
        info = replace(info, name=name, author=author or info.author, notes=notes or info.notes)
        renamed = Preset(solver.solver, info)
        if _is_there(name, renamed):
            said = Said("Nothing to do: this preset is already saved under this name.", missing)
        else:
            path = save(own_folder(), renamed, name=name, overwrite=overwrite)
            presets_changed()
            said = Said(f"Saved as {path.name} in the folder models/{path.parent.name}.", missing,
                        details=("Give this file to others to share it.", f"id {renamed.id}"))
        say(said)
        return io.NodeOutput(renamed, ui=said.ui())


def _basis(prompt: dict | None, node: str | None) -> str:
    """What the automatic choice depends on: the files, the samplers behind, the model before."""
    files = [f"{file.name}:{file.stamp}" for file in preset_files()]
    return "|".join([*files, str(wish_behind(prompt, node)), above(prompt, node)])


def _remember(node: type[io.ComfyNode], pin: str, loaded: Preset) -> None:
    """What was taken, for the next prompt and in the pictures of this one."""
    if not pin:
        name = node.hidden.unique_id
        CHOICES.keep(str(name), _basis(node.hidden.prompt, name), loaded.id)
    write_pin(node.hidden.extra_pnginfo, node.hidden.unique_id, loaded.id)


def _hashed(info: PresetInfo) -> tuple[PresetInfo, tuple[str, ...]]:
    """The same with the hash of the whole checkpoint, or why it has none."""
    path = checkpoint_file(info.model_name, info.model_bytes, info.header_hash)
    if info.model_hash or path:
        return replace(info, model_hash=info.model_hash or whole_hash(path)), ()
    return info, (f"The checkpoint '{info.model_name or 'unknown'}' that it was searched for is "
                  "not here, so its hash is not in the file.",)


def _is_there(name: str, preset: Preset) -> bool:
    path = own_folder() / f"{check_name(name)}.safetensors"
    if not path.is_file():
        return False
    try:
        there = read(path)
    except (PresetError, OSError):
        return False
    return there.id == preset.id and there.info == preset.info


def _about(loaded: Preset, model: ModelFacts | None, wish: Wish, pin: str, *,
           automatic: bool) -> Said:
    """What is worth knowing of a loaded preset."""
    suits = Said(loaded.promise) if model is None else verdict(
        loaded, model, here(loaded, model, wish.cfg, all_figures()))
    first = f"Took '{loaded.info.name}'. {suits.verdict}" if automatic else suits.verdict
    changed = ""
    if pin and pin != loaded.id:
        changed = CHOSEN_AGAIN if automatic else (
            f"This preset has changed since the workflow was made: its id was {pin}, now it is "
            f"{loaded.id}. Pictures will differ. Pick it again to accept it.")
    kept = "Kept because the workflow is pinned to it." if automatic and pin == loaded.id else ""
    # With siblings the KSampler may take another number of steps: it speaks of the CFG itself.
    remark = guidance_remark(loaded.info, wish.cfg)
    named = f"{loaded.info.name} ({_steps(loaded)} steps, id {loaded.id})"
    promise = "" if model is None else loaded.promise
    return Said(first, tuple(filter(None, (changed, *suits.warnings, remark))),
                tuple(filter(None, (promise, *suits.details, kept, named))))


def _file_of(loaded: Preset, preset: str) -> str:
    """File of a preset; "" for one that was made just now."""
    if preset != AUTOMATIC:
        return preset
    return next((name for name, found in all_presets().items() if found.id == loaded.id), "")


def _missing(preset: str, names: list[str]) -> str:
    """Which presets come nearest to one that is not there."""
    wanted = preset.lower()
    near = sorted(names, key=lambda name: -difflib.SequenceMatcher(
        None, wanted, name.lower(), autojunk=False).ratio())[:2]
    offered = " or ".join(f"'{name.removesuffix('.safetensors')}'" for name in near)
    instead = f" Nearest by name here: {offered}." if near else ""
    return (f"The preset '{preset[:100].removesuffix('.safetensors')}' is not in your folder "
            f"models/solver_presets.{instead} Ask whoever made the workflow for the file, or "
            "choose the first entry.")


def _steps(preset: Preset) -> str:
    """Numbers of steps of a preset and its siblings: 5, 6, 8."""
    return ", ".join(map(str, sorted({p.solver.nfe for p in (preset, *preset.siblings)})))


def all_presets() -> dict[str, Preset]:
    """Every sound preset by its file name; the others are named in the log."""
    return shelf().presets
