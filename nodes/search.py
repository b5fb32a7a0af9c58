"""The Search Solver node."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io, ui

from ..presets.preset import Preset
from ..presets.store import SUFFIX, check_name
from ..solver_search.config import EFFORTS, METHODS, SearchConfig
from ..solver_search.ranks import ALONE, Ranks
from ..solver_search.search import Event, SearchStopped
from .comfy_bridge.console import say
from .comfy_bridge.folders import own_folder, preset_names, shelf
from .comfy_bridge.latents import empty_latent
from .comfy_bridge.model import facts
from .comfy_bridge.prompts import joined
from .comfy_bridge.screen import Interrupted, Screen, interrupt
from .comfy_bridge.session import Guider, make_guider
from .comfy_bridge.web import presets_changed
from .found import found_again, journal_key, search_key
from .journals import FOLDER, Standing, standing
from .left import names_for
from .live import LIVE
from .pictures import above_each_other, solver_picture, to_tensor
from .preset_nodes import all_presets
from .report import report, report_broken, report_found, report_stopped
from .said import Said, in_words, spoken
from .saving import Saving, reason
from .search_job import Job, Member
from .step_list import read_steps
from .telling import Telling, tables
from .types import CATEGORY, SolverSocket

log = logging.getLogger("solver-search")
MOST_CFG = 1000.0  # that a preset can state
METHOD_HELP = "\n".join(f"{name}: {info.sentence}" for name, info in METHODS.items())
EFFORT_HELP = "\n".join([
    *(f"{name}: up to {e.model_calls:,} model calls (one picture, one step = one call)"
      for name, e in EFFORTS.items()),
    "Each further number of steps adds a third of that.",
    "Methods that learn by gradients (all but fit and gits) take about twice as long for the same "
    "calls, and learn little with quick."])


class SearchSolver(io.ComfyNode):
    """A guider, or a model with its conditioning, -> the best solver for it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode."""
        return io.Schema(
            node_id="SolverSearch_Search",
            display_name="Search Solver",
            category=CATEGORY,
            description="Searches a fast sampler for your model at your CFG and size, and saves "
                        "it as a preset: a few steps that land where a hundred would.",
            search_aliases=["fast", "few steps", "fewer steps", "fast sampler", "speed", "quick",
                            "lightning", "turbo", "accelerate", "schedule", "solver search",
                            "optimise sampler", "optimize"],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            is_input_list=True,  # several prompts come as a list
            inputs=_inputs(),
            outputs=[
                SolverSocket.Output("solver", tooltip="The best solver found. It is saved, too. "
                                    "With several steps: all of them; the steps of your "
                                    "KSampler pick."),
                io.Image.Output("plot", tooltip="Its noise levels, its weights, and the error "
                                "while searching."),
                io.String.Output("report", tooltip="What was measured, in words."),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: Sequence[str | None] = (None,),
                        steps: Sequence[str | int | None] = (None,)) -> bool | str:
        """Refuse a bad name or bad steps before anything runs; None comes through a link."""
        try:
            numbers = [0] if steps[0] is None else read_steps(steps[0])
            for number in numbers:
                check_name(_member_name(name[0] or "solver", number, numbers))
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    @spoken
    def execute(cls, latent: list[dict], steps: list[str | int], method: list[str],
                effort: list[str], seed: list[int], name: Sequence[str] = ("",),
                cfg: Sequence[float] = (4.0,), denoise: Sequence[float] = (1.0,),
                cfg_to: Sequence[float] = (0.0,), model: list[io.Model.Type] | None = None,
                positive: list[list] | None = None, negative: list[list] | None = None,
                guider: list[Guider] | None = None, vae: list | None = None,
                again: Sequence[bool] = (False,)) -> io.NodeOutput:
        """See io.ComfyNode. Every input is a list; only prompts may have more than one entry."""
        chosen = guider[0] if guider else _guider(model, positive, negative, cfg[0])
        numbers = read_steps(steps[0])
        chosen, reach = spread(chosen, cfg_to[0])
        config = SearchConfig(numbers[0], method[0], effort[0], seed[0], denoise[0], reach)
        guidance = checked_cfg(float(getattr(chosen, "cfg", 1.0)))
        size = fitting_latent(chosen.model_patcher, latent[0])
        key = search_key(chosen, size, config, numbers)
        screen = Screen(chosen.model_patcher, cls.hidden.unique_id, vae[0] if vae else None)
        last = standing(own_folder() / FOLDER, journal_key(key, chosen, size))
        wanted = not again[0] and last != Standing.WAITING  # one that was killed goes on
        known = found_again(all_presets().values(), key, numbers) if wanted else None
        if known is not None:
            return _again(cls, known, screen, config)
        saving = Saving(own_folder(), preset_names(), presets_changed)
        saving.ready()
        wished = {n: _member_name(name[0], n, numbers) if name[0] else
                  _name(chosen, replace(config, steps=n), guidance) for n in numbers}
        names = names_for(wished, saving, shelf().entries.values(), key, last)
        telling = Telling(LIVE, screen, names, config.method)
        with Search(telling, saving, own_folder() / FOLDER) as search:
            found, said = search.run(chosen, size, config, guidance, names, key)
        return _output(cls, found[0].preset, [(m.preset, m.run.curve) for m in found], said)


class Search:
    """One search with what it shows and saves, whatever ends it.

    Args:
        telling: what is shown.
        saving: what is written.
        journals: folder of the journals from which searches go on.
        ranks: the processes that share the search, of which this is the first.
    """

    def __init__(self, telling: Telling, saving: Saving, journals: Path,
                 ranks: Ranks = ALONE) -> None:
        self.telling, self.saving, self.journals = telling, saving, journals
        self.ranks = ranks

    def __enter__(self) -> Search:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: object) -> None:
        """A search that hands out nothing says what it has kept."""
        if error is None:
            return
        kept = [f"'{self.saving.name(name)}'" for name in self.saving.ids]
        if isinstance(error, (Interrupted, SearchStopped)):
            state, verdict = "stopped", f"Stopped after {self.telling.spent}."
        else:
            state, verdict = "failed", in_words(error)
        verdict += f" Kept, not finished: {', '.join(kept)}." if kept else " Nothing was saved."
        said = Said(verdict, tuple(self.saving.troubles.values()))
        self.telling.ended(state, said)
        say(said)
        if isinstance(error, SearchStopped):
            interrupt()

    def run(self, guider: Guider, latent: Any, config: SearchConfig,  # noqa: ANN401
            guidance: float, names: dict[int, str], key: str) -> tuple[list[Member], Said]:
        """Search, measure, save; the solvers found, named as on disk, and what is said."""
        telling, saving = self.telling, self.saving
        first, *others = names
        steps, numbers = [first], {asked: number for number, asked in names.items()}

        def listen(event: Event) -> None:
            steps[0] = event.solver.nfe if event.solver is not None else steps[0]
            telling.event(event, steps[0])

        def keep(preset: Preset) -> None:
            saving.keep(preset)
            asked = preset.info.name
            telling.saved(numbers[asked], saving.name(asked), saving.file(asked))

        job = Job(guider, latent, config, guidance, names[first], {n: names[n] for n in others},
                  key, listen, telling.called, telling.counted, telling.estimated, keep,
                  telling.pictures, lambda: LIVE.wanted_stop(telling.screen.node),
                  telling.resumed, self.journals, lambda: not saving.troubles,
                  self.ranks)
        found = [self._pictured(member) for member in job.run()]
        warnings = [*job.warnings, *filter(None, (saving.warning(m.preset) for m in found))]
        if telling.screen.vae_fails:
            warnings.append("The VAE does not fit this model, so pictures have preview colours.")
        named = _family([m._replace(preset=saving.named(m.preset)) for m in found])
        missing = [member.preset.info.name for member, asked in zip(named, found, strict=True)
                   if asked.preset.info.name in saving.troubles]
        if job.stopped:
            said = report_stopped(named, telling.spent, warnings, missing)
        else:
            said = (report_broken if job.broken else report)(named, warnings, missing)
        state = "stopped" if job.stopped else "failed" if job.broken else "done"
        telling.ended(state, said, whole=state == "done")
        say(said)
        return named, said

    def _pictured(self, member: Member) -> Member:
        """The same with its pictures, saved."""
        preset = member.preset
        made = self.telling.texts(member.run.problem.steps)
        if made:
            preset = replace(preset, info=replace(preset.info, **made))
            self.saving.keep(preset)
        return member._replace(preset=preset)


def fitting_latent(model: io.Model.Type, latent: dict) -> Any:  # noqa: ANN401
    """The latent with the channels and dimensions this model wants.

    Raises:
        ValueError: for one that cannot be of this model, in words.
    """
    given = latent["samples"]
    if given.is_nested:
        return given
    if given.ndim not in (3, 4, 5) or not given.numel():
        raise ValueError(f"The latent must hold at least one picture, found the shape "
                         f"{tuple(given.shape)}. Connect an Empty Latent Image of your size.")
    wanted, found = facts(model).latent_channels, given.shape[1]
    if found != wanted and given.any():
        raise ValueError(f"This latent is of another kind of model: it has {found} channels, the "
                         f"connected model has {wanted}. Connect an empty latent, or encode your "
                         "picture with the VAE of this model.")
    return empty_latent(model, latent)


def checked_cfg(cfg: float) -> float:
    """The scale itself.

    Raises:
        ValueError: for one that no preset can state.
    """
    if not 0 <= cfg <= MOST_CFG:
        raise ValueError(f"CFG must lie in 0 to {MOST_CFG:g} for a preset, found {cfg:g}. Set "
                         "the guider's CFG to the one you sample with.")
    return cfg


def _family(found: list[Member]) -> list[Member]:
    """Each with the others as its siblings, under their names on disk."""
    bare = [replace(member.preset, siblings=()) for member in found]
    return [member._replace(preset=replace(own, siblings=tuple(p for p in bare if p is not own)))
            for member, own in zip(found, bare, strict=True)]


def _again(cls: type[io.ComfyNode], preset: Preset, screen: Screen,
           config: SearchConfig) -> io.NodeOutput:
    """A search that was made before, without a model call."""
    every, said = (preset, *preset.siblings), report_found(preset)
    telling = Telling(LIVE, screen, {p.solver.nfe: p.info.name for p in every}, config.method)
    telling.state |= {"solver": tables(preset.solver), "saved": preset.info.name + SUFFIX}
    telling.ended("found", said, whole=True)
    say(said)
    return _output(cls, preset, [(p, ()) for p in every], said)


def _output(cls: type[io.ComfyNode], preset: Preset,
            shown: Sequence[tuple[Preset, Sequence[tuple[int, float]]]],
            said: Said) -> io.NodeOutput:
    plot = to_tensor(above_each_other([solver_picture(p.solver, curve) for p, curve in shown]))
    try:
        preview = ui.PreviewImage(plot, cls=cls).as_dict()
    except OSError as error:  # the disk of ComfyUI's temporary files is full: the outputs are not
        log.warning("The plot cannot be shown on the node: %s", reason(error))
        preview = {}
    return io.NodeOutput(preset, plot, said.text, ui={**preview, **said.ui()})


def _member_name(name: str, steps: int, family: Sequence[int]) -> str:
    """Name of one preset of a family: portrait 6 steps; alone it is the name itself."""
    return f"{name} {steps} steps" if len(family) > 1 else name


def _name(guider: Guider, config: SearchConfig, guidance: float) -> str:
    part = "" if config.denoise >= 1 else f" denoise {config.denoise:g}"
    ends = sorted({guidance - config.reach, guidance + config.reach})
    scale = " to ".join(f"{end:g}" for end in ends)
    return f"{facts(guider.model_patcher).family} {config.steps} steps cfg {scale}{part}"


def _inputs() -> list[io.Input]:
    return [
        io.Latent.Input("latent", tooltip="Its size is the picture size to search for; its batch "
                        "is how many pictures the model works on at once. 4 to 16 is faster if "
                        "memory allows. A compiled model always gets one."),
        io.MultiType.Input(io.String.Input(
            "steps", default="6", tooltip="How many steps the fast sampler shall take: 5 to 10 is "
            "where ordinary samplers blur or break. Several with commas, such as 5, 6, 8, 10, "
            "are searched together, each from its neighbour: four of them cost about twice as "
            "much as one, and the steps of your KSampler pick among them."), [io.Int]),
        io.Combo.Input("method", options=list(METHODS), default="fit", tooltip=METHOD_HELP),
        io.Combo.Input("effort", options=list(EFFORTS), default="standard", tooltip=EFFORT_HELP),
        io.Int.Input("seed", default=0, min=0, max=2**32 - 1, control_after_generate=False,
                     tooltip="Noise to search on. The same seed gives the same solver."),
        io.String.Input("name", default="", tooltip="Name of the preset; empty makes one from "
                        "model, steps and CFG. With several steps each has its own behind it."),
        io.Float.Input("cfg", default=4.0, min=0.0, max=100.0, step=0.1,
                       tooltip="The CFG you will sample with; the solver is made for it. Not "
                               "used when a guider is connected."),
        io.Float.Input("denoise", default=1.0, min=0.05, max=1.0, step=0.01, advanced=True,
                       optional=True,
                       tooltip="Below 1: search for image to image at this denoise. Connect an "
                               "encoded picture as the latent; with an empty one the model "
                               "paints its own."),
        io.Float.Input("cfg_to", default=0.0, min=0.0, max=100.0, step=0.1, advanced=True,
                       optional=True,
                       tooltip="Above cfg: search one solver for every CFG from cfg to this one, "
                               "instead of one for cfg alone. A little worse at each, much better "
                               "at all. 0: only cfg."),
        io.Model.Input("model", optional=True, tooltip="The model to search for, with its LoRAs."),
        io.Conditioning.Input("positive", optional=True,
                              tooltip="A prompt like those you will use, or a list of them: "
                                      "they are spread over the noises. From three on, a "
                                      "quarter is kept back to measure the result on."),
        io.Conditioning.Input("negative", optional=True, tooltip="Your negative prompt."),
        io.Guider.Input("guider", optional=True,
                        tooltip="Instead of model, prompts and CFG: any guider."),
        io.Vae.Input("vae", optional=True,
                     tooltip="For the pictures shown while it searches and kept in the preset. "
                             "Without it they have preview colours."),
        io.Boolean.Input("again", display_name="search again", default=False, advanced=True,
                         optional=True,
                         tooltip="Off: a search that was made before with the same model, LoRAs, "
                                 "CFG, size, steps, method, effort and seed is found again. On: "
                                 "search anew."),
    ]


def _guider(model: list[io.Model.Type] | None, positive: list[list] | None,
            negative: list[list] | None, cfg: float) -> Guider:
    if not model or not positive:
        raise ValueError("Search Solver needs a model with a positive (and a negative) prompt, "
                         "or a guider. Connect either.")
    return make_guider(model[0], joined(positive), joined(negative or positive), cfg)


def spread(guider: Guider, high: float) -> tuple[Guider, float]:
    """The guider in the middle of a CFG range from its own scale, and how far its ends are.

    Raises:
        ValueError: for a range that ends where it begins, or below.
    """
    low = float(getattr(guider, "cfg", 1.0))
    if not high:
        return guider, 0.0
    if high <= low:
        raise ValueError(f"cfg_to must lie above cfg, {low:g}, found {high:g}. Raise it, or set "
                         "it to 0 to search for one CFG.")
    middle = copy.copy(guider)
    middle.set_cfg((low + high) / 2)
    return middle, (high - low) / 2
