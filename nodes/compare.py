"""The Compare Solvers node: same seeds, several samplers, one reference."""

from __future__ import annotations

import json
from dataclasses import replace

from comfy_api.latest import io, ui
from torch import Tensor

from ..presets.preset import Preset
from ..solver_search.teacher import TEACHER
from .comfy_bridge.console import say
from .comfy_bridge.latents import decode, empty_latent, first_medium
from .comfy_bridge.model import ModelFacts, facts
from .comfy_bridge.ordinary import POPULAR_SAMPLERS
from .comfy_bridge.screen import Screen
from .comfy_bridge.session import make_guider, within
from .compared import as_row, comparison, sheet_rows, table, tried, verdict
from .contenders import EVERYTHING, NODE_ONLY, POPULAR, Comparison, Results
from .evidence import REFERENCE_CALLS
from .measure import on_model
from .measured import keep
from .pictures import contact_sheet, to_tensor
from .proof import told
from .said import spoken
from .types import CATEGORY, SolverSocket, solver_input


class CompareSolvers(io.ComfyNode):
    """Solvers against the best built-in setting and a reference of 100 steps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See io.ComfyNode."""
        return io.Schema(
            node_id="SolverSearch_Compare",
            display_name="Compare Solvers",
            category=CATEGORY,
            description="Samples the same seeds with each solver and with ComfyUI's own samplers "
                        "at the same number of model calls, and measures how far each lands from "
                        "a run of 100 steps. Smaller is nearer.",
            search_aliases=["compare samplers", "sampler grid", "benchmark sampler"],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            inputs=_inputs(),
            outputs=[io.Image.Output("sheet", tooltip="Contact sheet with the error under each "
                                     "picture."),
                     io.String.Output("table", tooltip="The numbers as text.")],
        )

    @classmethod
    @spoken
    def execute(cls, solver: Preset, model: io.Model.Type, positive: list, negative: list,
                vae: io.Vae.Type, latent: dict, cfg: float, seeds: int, seed: int, opponents: str,
                solver_2: Preset | None = None, solver_3: Preset | None = None) -> io.NodeOutput:
        """See io.ComfyNode."""
        size = empty_latent(model, latent)
        screen = Screen(model, cls.hidden.unique_id)
        plan = Comparison([p for p in (solver, solver_2, solver_3) if p is not None], seeds, seed,
                          len(first_medium(size)), opponents, told=screen.progress)
        guider = make_guider(model, positive, negative, cfg)
        results = within(guider, size, plan.run, seed=seed)
        keep(measured(plan, results, facts(model), first_medium(size), cfg))
        pictures = [decode(vae, latents) for latents in results.pictures]
        columns = [f"seed {number + 1}" for number in results.shown]
        sheet = to_tensor(contact_sheet(sheet_rows(results, pictures), columns))

        def as_files(some: Tensor) -> list[dict]:
            return ui.PreviewImage(some, cls=cls).as_dict()["images"]
        said = verdict(results)
        say(said)
        shown = {**ui.PreviewImage(sheet, cls=cls).as_dict(),
                 **said.ui(compare=comparison(results, pictures, cfg, as_files)),
                 "table": (json.dumps(numbers_of(results, cfg)),)}
        return io.NodeOutput(sheet, table(results), ui=shown)


def measured(plan: Comparison, results: Results, model: ModelFacts, latent: Tensor,
             cfg: float) -> list[Preset]:
    """The solvers with what was found of them; not those whose search began at these seeds."""
    found = []
    for preset, way in zip(plan.presets, results.of("solver"), strict=True):
        rival = min((w for w in results.of("builtin") if w.measured.calls == way.measured.calls),
                    key=lambda w: w.mean)
        known = on_model(preset, model, latent, cfg)
        info = replace(told(known, way.measured, rival.measured, rival.tried),
                       held_out_prompts=0, reference=f"{TEACHER}, {REFERENCE_CALLS} calls")
        if preset.info.seed != plan.seed and not preset.partial:
            found.append(replace(known, info=info))
    return found


def numbers_of(results: Results, cfg: float) -> dict[str, object]:
    """The numbers of all seeds, for whoever reads the outputs of a run."""
    rows = [as_row(way.measured) for way in results.ways]
    return {"reference": f"{TEACHER}, {REFERENCE_CALLS} calls", "seeds": len(rows[0]["errors"]),
            "cfg": cfg, "tried": tried(results, "builtin"),
            "tried_node_only": tried(results, "node_only"), "rows": rows}


def _inputs() -> list[io.Input]:
    return [
        solver_input(),
        io.Model.Input("model", tooltip="The model to sample with."),
        io.Conditioning.Input("positive", tooltip="Prompts; several at once take turns."),
        io.Conditioning.Input("negative", tooltip="Your negative prompt."),
        io.Vae.Input("vae", tooltip="Turns the results into pictures."),
        io.Latent.Input("latent", tooltip="Its size is the picture size; its batch is how many "
                        "pictures the model works on at once."),
        io.Float.Input("cfg", default=4.0, min=0.0, max=100.0, step=0.1, tooltip="CFG of all."),
        io.Int.Input("seeds", default=16, min=2, max=1024,
                     tooltip="How many different noises. More give a surer number."),
        io.Int.Input("seed", default=1000, min=0, max=2**32 - 1, control_after_generate=False,
                     tooltip="Where the noises begin. Use another one than the search did."),
        io.Combo.Input("opponents", options=[POPULAR, EVERYTHING, NODE_ONLY], default=POPULAR,
                       tooltip="Which of ComfyUI's own samplers to try; the best one is shown. "
                               f"Popular: {', '.join(POPULAR_SAMPLERS)}. Settings that need nodes "
                               "are samplers with their noise turned off or at other orders "
                               "(ER-SDE, SA-Solver, DPM++ SDE) and curves with other numbers "
                               "(beta, Laplace): what SamplerCustom can do and the KSampler "
                               "menus cannot. Their best is a row of its own and often lands "
                               "nearer than the menus' best; trying them all takes about three "
                               "times as long as the menus alone."),
        SolverSocket.Input("solver_2", optional=True, tooltip="Another solver to compare."),
        SolverSocket.Input("solver_3", optional=True, tooltip="Another solver to compare."),
    ]
