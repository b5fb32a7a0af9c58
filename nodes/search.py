"""The Search Solver node."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from comfy_api.latest import io, ui

from ..presets.preset import Preset, PresetInfo
from ..presets.store import check_name, free_name, save
from ..solver_search.config import EFFORTS, METHODS, SearchConfig
from ..solver_search.search import Event
from .comfy_bridge.console import Console, say
from .comfy_bridge.folders import own_folder
from .comfy_bridge.latents import empty_latent
from .comfy_bridge.model import facts
from .comfy_bridge.prompts import joined
from .comfy_bridge.session import Guider, make_guider
from .pictures import above_each_other, solver_picture, to_tensor
from .search_job import Estimate, Job, Member
from .step_list import read_steps
from .types import CATEGORY, SolverSocket

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
    def execute(cls, latent: list[dict], steps: list[str | int], method: list[str],
                effort: list[str], seed: list[int], name: Sequence[str] = ("",),
                cfg: Sequence[float] = (4.0,), denoise: Sequence[float] = (1.0,),
                cfg_to: Sequence[float] = (0.0,), model: list[io.Model.Type] | None = None,
                positive: list[list] | None = None, negative: list[list] | None = None,
                guider: list[Guider] | None = None) -> io.NodeOutput:
        """See io.ComfyNode. Every input is a list; only prompts may have more than one entry."""
        chosen = guider[0] if guider else _guider(model, positive, negative, cfg[0])
        numbers = read_steps(steps[0])
        chosen, reach = _spread(chosen, cfg_to[0])
        config = SearchConfig(numbers[0], method[0], effort[0], seed[0], denoise[0], reach)
        guidance = float(getattr(chosen, "cfg", 1.0))
        saved = Saved()
        names = {n: free_name(own_folder(), _member_name(name[0], n, numbers) if name[0] else
                              _name(chosen, replace(config, steps=n), guidance)) for n in numbers}
        console = Console(chosen.model_patcher, cls.hidden.unique_id, 1)
        job = Job(chosen, empty_latent(chosen.model_patcher, latent[0]), config, guidance,
                  names.pop(numbers[0]), names, on_call=console.progress, on_improved=saved.keep,
                  on_event=lambda event: _show(console, event),
                  on_estimate=lambda estimate: _announce(console, estimate))
        found = job.run()
        report = _report(found)
        say(report)
        plot = to_tensor(above_each_other(
            [solver_picture(preset.solver, run.curve) for preset, run in found]))
        shown_ui = {**ui.PreviewImage(plot, cls=cls).as_dict(), "text": (report,)}
        return io.NodeOutput(found[0].preset, plot, report, ui=shown_ui)


def _member_name(name: str, steps: int, family: Sequence[int]) -> str:
    """Name of one preset of a family: portrait 6 steps; alone it is the name itself."""
    return f"{name} {steps} steps" if len(family) > 1 else name


def _name(guider: Guider, config: SearchConfig, guidance: float) -> str:
    part = "" if config.denoise >= 1 else f" denoise {config.denoise:g}"
    ends = sorted({guidance - config.reach, guidance + config.reach})
    scale = " to ".join(f"{end:g}" for end in ends)
    return f"{facts(guider.model_patcher).family} {config.steps} steps cfg {scale}{part}"


@dataclass
class Saved:
    """The files a search writes after every improvement, each under its preset's name."""

    written: set[str] = field(default_factory=set)

    def keep(self, preset: Preset) -> None:
        """Write, replacing only our own earlier version."""
        name = preset.info.name
        save(own_folder(), preset, name=name, overwrite=name in self.written)
        self.written.add(name)


def _inputs() -> list[io.Input]:
    return [
        io.Latent.Input("latent", tooltip="Its size is the picture size to search for; its batch "
                        "is how many pictures the model works on at once. 4 to 16 is faster if "
                        "memory allows."),
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
    ]


def _guider(model: list[io.Model.Type] | None, positive: list[list] | None,
            negative: list[list] | None, cfg: float) -> Guider:
    if not model or not positive:
        raise ValueError("Search Solver needs a model with a positive (and a negative) prompt, "
                         "or a guider. Connect either.")
    return make_guider(model[0], joined(positive), joined(negative or positive), cfg)


def _spread(guider: Guider, high: float) -> tuple[Guider, float]:
    """The guider in the middle of a CFG range from its own scale, and how far its ends are."""
    low = float(getattr(guider, "cfg", 1.0))
    if not high:
        return guider, 0.0
    if high <= low:
        raise ValueError(f"cfg_to must lie above cfg, {low:g}, found {high:g}. Raise it, or set "
                         "it to 0 to search for one CFG.")
    middle = copy.copy(guider)
    middle.set_cfg((low + high) / 2)
    return middle, (high - low) / 2


def _announce(console: Console, estimate: Estimate) -> None:
    console.expect(estimate.calls)
    say(f"Searching: {estimate.text}")


def _show(console: Console, event: Event) -> None:
    best = "" if event.best is None else f", best error {event.best:.4f}"
    say(f"{event.phase}{best}")
    if event.improved and event.picture is not None:
        console.progress(event.model_calls, event.picture.detach())


def _side_by_side(info: PresetInfo) -> list[str]:
    """Mean, median and share of other pictures of ours and the opponent, where measured."""
    rows = (("saved", info.error, info.error_median, info.error_elsewhere),
            ("best built-in", info.baseline_error, info.baseline_median,
             info.baseline_elsewhere))
    return [f"{name}: mean {mean:.4f}, median {median:.4f}, {elsewhere:.0%} other pictures"
            for name, mean, median, elsewhere in rows
            if mean is not None and median is not None and elsewhere is not None]


def _report(found: Sequence[Member]) -> str:
    lines = [line for member in found for line in _lines(member)]
    return "\n".join([*lines, f"torch {torch.__version__}"])


def _lines(member: Member) -> list[str]:
    preset, run = member
    return [
        f"Saved as '{preset.info.name}': {preset.solver.nfe} steps, {preset.info.method}, "
        f"id {preset.id}.",
        preset.promise,
        *_side_by_side(preset.info),
        f"Found by: {run.best_label}; the search {run.ended_by} after {run.model_calls} model "
        f"calls and {run.seconds:.0f} s.",
    ]
