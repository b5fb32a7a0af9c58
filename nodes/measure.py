"""The Measure Solver node: a solver on people's own model, kept as figures of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import torch
from comfy_api.latest import io
from torch import Tensor

from ..presets.preset import Preset
from ..presets.words import difference_is_clear
from ..solver_search.teacher import TEACHER
from .comfy_bridge.console import say
from .comfy_bridge.latents import first_medium
from .comfy_bridge.levels import check_model
from .comfy_bridge.model import ModelFacts, facts
from .comfy_bridge.ordinary import POPULAR_SAMPLERS, settings
from .comfy_bridge.screen import Screen
from .comfy_bridge.session import Guider, Session, make_guider, within
from .contenders import CallCount
from .evidence import Rounds, make_trial, runs_of_contest
from .measured import keep
from .proof import told
from .said import Said, spoken
from .saving import plain
from .search import fitting_latent
from .types import CATEGORY, solver_input

REFERENCE = 64  # model calls
ROUNDS = Rounds(((1, 10), (3, 5), (8, 3)), 6)  # of the contest of the built-in settings
FIRST_SEED = 5_000_011  # far from those that people type; searches draw others from theirs


class MeasureSolver(io.ComfyNode):
    """SOLVER on a model -> figures kept on this machine."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode."""
        return io.Schema(
            node_id="SolverSearch_Measure",
            display_name="Measure Solver",
            category=CATEGORY,
            description="Measures a solver on your model, at your CFG and size: how near it "
                        "lands to a long run, against the best built-in sampler at as many "
                        "model calls. The figures stay on this machine and show on the "
                        "preset's card.",
            search_aliases=["measure sampler", "benchmark solver"],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            inputs=_inputs(),
            outputs=[io.String.Output("figures", tooltip="What was measured, as text.")],
        )

    @classmethod
    @spoken
    def execute(cls, solver: Preset, latent: dict, cfg: float = 4.0, seeds: int = 8,
                model: io.Model.Type | None = None, positive: list | None = None,
                negative: list | None = None, guider: Guider | None = None) -> io.NodeOutput:
        """See io.ComfyNode."""
        if guider is None:
            guider = _guider(model, positive, negative, cfg)
        screen = Screen(guider.model_patcher, cls.hidden.unique_id)
        size = fitting_latent(guider.model_patcher, latent)
        plan = Measuring(solver, seeds, len(first_medium(size)), screen.progress)
        found = within(guider, size, plan.run, seed=FIRST_SEED)
        known = on_model(found, facts(guider.model_patcher), first_medium(size),
                         float(getattr(guider, "cfg", 1.0)))
        said = verdict(known, keep([known]))
        say(said)
        return io.NodeOutput(said.text, ui=said.ui(measured=known.id))


@dataclass(frozen=True)
class Measuring:
    """A measurement to run inside a session.

    Args:
        preset: what is measured.
        seeds: how many noises.
        batch: noises per model call.
        on_progress: called with the model calls made and planned, after each.
    """

    preset: Preset
    seeds: int
    batch: int
    on_progress: Callable[[int, int], None] = lambda done, planned: None

    def run(self, session: Session) -> Preset:
        """The preset with what was found as its evidence.

        Raises:
            MismatchError: it is for another kind of model.
        """
        check_model(self.preset, session.sampling)
        if self.preset.partial:
            raise ValueError(f"This solver is for image to image at denoise "
                             f"{self.preset.info.denoise:g}, which is not measured here. Judge "
                             "it by your pictures.")
        calls, solver = self.preset.solver.nfe, self.preset.solver
        shape = (self.seeds, *session.latent_image.shape[1:])
        generator = torch.Generator().manual_seed(self._seed)
        starts = session.starts(torch.randn(shape, generator=generator))
        items = torch.arange(self.seeds)
        tried = settings(session.sampling, calls, POPULAR_SAMPLERS)
        finals = min(len(tried), ROUNDS.stages[-1][1])
        count = CallCount(REFERENCE * self.seeds + calls * (
            runs_of_contest(tried, self.seeds, ROUNDS) + (1 + finals) * self.seeds),
            self.on_progress)
        session.on_call = count.add
        trial = make_trial(session, starts, items, self.batch, calls=REFERENCE)
        best = trial.best_of(tried, calls, ROUNDS)
        ours = trial.solver(solver, self.preset.info.name)
        count.end()
        info = replace(told(self.preset, ours, best, len(tried)), held_out_prompts=0,
                       reference=f"{TEACHER}, {REFERENCE} calls")
        return replace(self.preset, info=info)

    @property
    def _seed(self) -> int:
        return FIRST_SEED + (self.preset.info.seed == FIRST_SEED)


def on_model(preset: Preset, model: ModelFacts, latent: Tensor,
             guidance: float | None) -> Preset:
    """The preset with the model and setting in its facts that it is measured on.

    Args:
        latent: (B, C, ..., H, W) of the pictures.
        guidance: CFG scale; None: it has none.
    """
    *_, height, width = latent.shape
    return replace(preset, info=replace(
        preset.info, family=model.family, model_name=plain(model.file_name, 255),
        header_hash=model.header_hash, architecture=model.architecture,
        precision=plain(model.precision, 40), patches=plain(model.patches, 400),
        guidance=guidance, width=width, height=height,
        frames=latent.shape[2] if latent.ndim == 5 else 0, denoise=None, guidance_low=None,
        guidance_high=None, guidance_measured="", created=date.today().isoformat()))


def verdict(measured: Preset, trouble: str = "") -> Said:
    """Who lands nearer on this model, and by how much."""
    info = measured.info
    ours, other = info.error or 0.0, info.baseline_error or 0.0
    where = f"On {info.model_name or 'this model'} at CFG {info.guidance or 0:g}"
    gap = f"{abs(1 - ours / other):.0%}" if other else "no"
    if not difference_is_clear(info):
        first = f"{where} '{info.name}' and the best built-in are too close to call."
    elif ours < other:
        first = f"{where} '{info.name}' lands {gap} closer than the best built-in."
    else:
        first = f"{where} the best built-in is better: '{info.name}' has {gap} more error."
    numbers = (f"Error {ours:.3g} against {other:.3g} for {info.baseline}, on "
               f"{info.held_out_seeds} seeds no search has seen.")
    medians = f"Median {info.error_median:.3g} against {info.baseline_median:.3g}."
    return Said(first, (trouble,) if trouble else (),
                (numbers, medians, "Kept on this machine only; the file stays as it is."))


def _guider(model: io.Model.Type | None, positive: list | None, negative: list | None,
            cfg: float) -> Guider:
    if model is None or positive is None:
        raise ValueError("Measure Solver needs a model with a positive (and a negative) prompt, "
                         "or a guider. Connect either.")
    return make_guider(model, positive, negative or positive, cfg)


def _inputs() -> list[io.Input]:
    return [
        solver_input(),
        io.Latent.Input("latent", tooltip="Its size is the picture size; its batch is how many "
                        "pictures the model works on at once."),
        io.Float.Input("cfg", default=4.0, min=0.0, max=100.0, step=0.1,
                       tooltip="The CFG you sample with. Not used when a guider is connected."),
        io.Int.Input("seeds", default=8, min=2, max=256,
                     tooltip="How many different noises, which no search has seen. More give a "
                             "surer number."),
        io.Model.Input("model", optional=True, tooltip="The model to measure on."),
        io.Conditioning.Input("positive", optional=True,
                              tooltip="Prompts; several at once take turns."),
        io.Conditioning.Input("negative", optional=True, tooltip="Your negative prompt."),
        io.Guider.Input("guider", optional=True,
                        tooltip="Instead of model, prompts and CFG: any guider."),
    ]
