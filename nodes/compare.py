"""The Compare Solvers node: same seeds, several samplers, one reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..presets.preset import Preset
from ..solver_search.teacher import TEACHER
from .comfy_bridge.latents import decode, empty_latent, first_medium
from .comfy_bridge.node_only import node_settings
from .comfy_bridge.ordinary import POPULAR_SAMPLERS
from .comfy_bridge.session import Session, make_guider, within
from .evidence import REFERENCE_CALLS, Measured, Trial, make_trial
from .pictures import SheetRow, contact_sheet, to_tensor
from .types import CATEGORY, SolverSocket, solver_input

EVERYTHING, POPULAR = "all built-in samplers and schedules", "popular samplers, all schedules"
NODE_ONLY = "all built-in, and settings that need nodes"
SHOWN = 8


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
    def execute(cls, solver: Preset, model: io.Model.Type, positive: list, negative: list,
                vae: io.Vae.Type, latent: dict, cfg: float, seeds: int, seed: int, opponents: str,
                solver_2: Preset | None = None, solver_3: Preset | None = None) -> io.NodeOutput:
        """See io.ComfyNode."""
        size = empty_latent(model, latent)
        plan = Comparison([p for p in (solver, solver_2, solver_3) if p is not None], seeds, seed,
                          len(first_medium(size)), opponents)
        guider = make_guider(model, positive, negative, cfg)
        results = within(guider, size, plan.run, seed=seed)
        sheet = to_tensor(contact_sheet(_sheet_rows(results, vae), _columns(seeds)))
        table, rows = _table(results), [_as_row(m) for m in results.measured]
        data = {"reference": f"{TEACHER}, {REFERENCE_CALLS} calls", "seeds": seeds, "cfg": cfg,
                "tried": results.tried, "tried_node_only": results.tried_node_only, "rows": rows}
        shown = {**ui.PreviewImage(sheet, cls=cls).as_dict(), "text": (table,),
                 "table": (json.dumps(data),)}
        return io.NodeOutput(sheet, table, ui=shown)


@dataclass(frozen=True)
class Results:
    """What a comparison found.

    Args:
        pictures: latents of the first seeds: the reference's, then one per measured way.
        measured: the best of each kind of opponent for each number of calls, then the solvers.
        details: what each is the best of; "" for solvers.
        tried, tried_node_only: how many settings were tried for the last number of calls.
    """

    pictures: list[Tensor]
    measured: list[Measured]
    details: list[str]
    tried: int
    tried_node_only: int


@dataclass(frozen=True)
class Comparison:
    """A comparison to run inside a session."""

    presets: Sequence[Preset]
    seeds: int
    seed: int
    batch: int
    opponents: str

    def run(self, session: Session) -> Results:
        """Measure the best ordinary settings and the presets on the same starts."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.seeds, *session.latent_image.shape[1:])
        starts = session.starts(torch.randn(shape, generator=generator))
        trial = make_trial(session, starts, torch.arange(self.seeds), self.batch)
        rows: list[tuple[Measured, str]] = []
        tried = node_only = 0
        for calls in sorted({p.solver.nfe for p in self.presets}):
            best, tried = trial.best_ordinary(calls, everything=self.opponents != POPULAR)
            rows.append((best, f"best of {tried} built-in"))
            if self.opponents == NODE_ONLY:
                best, node_only = _best_node_only(trial, calls)
                rows.append((best, f"best of {node_only} node-only"))
        rows += [(trial.solver(p.solver, p.info.name), "") for p in self.presets]
        measured, details = [m for m, _ in rows], [detail for _, detail in rows]
        ends = [trial.reference, *(m.ends for m in measured)]
        return Results([session.latent(x[:SHOWN]) for x in ends], measured, details, tried,
                       node_only)


def _best_node_only(trial: Trial, calls: int) -> tuple[Measured, int]:
    tried = node_settings(trial.session.sampling, calls, trial.denoise)
    return trial.best_of(tried, calls), len(tried)


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


def _sheet_rows(results: Results, vae: io.Vae.Type) -> list[SheetRow]:
    rows = [SheetRow("Reference", f"{REFERENCE_CALLS} steps", decode(vae, results.pictures[0]))]
    for m, kind, latents in zip(results.measured, results.details, results.pictures[1:],
                                strict=True):
        detail = f"{m.calls} model calls\nmean error {m.mean:.4f}\n± {m.interval:.4f}"
        detail = f"{kind}\n{detail}" if kind else detail
        captions = [f"{float(e):.3f}" for e in m.errors[:SHOWN]]
        rows.append(SheetRow(m.label, detail, decode(vae, latents), captions))
    return rows


def _columns(seeds: int) -> list[str]:
    return [f"seed {i + 1}" for i in range(min(seeds, SHOWN))]


def _table(results: Results) -> str:
    width = max(34, *(len(m.label) + 2 for m in results.measured))
    lines = [f"{'sampler':<{width}}{'calls':>6}{'error':>10}{'±':>9}{'median':>10}"]
    for m in results.measured:
        lines.append(f"{m.label:<{width}}{m.calls:>6}{m.mean:>10.4f}{m.interval:>9.4f}"
                     f"{float(m.errors.median()):>10.4f}")
    lines.append(f"Relative error to {REFERENCE_CALLS} steps, mean of {len(m.errors)} seeds; "
                 f"built-in: the best of {results.tried} settings.")
    if results.tried_node_only:
        lines.append(f"Below each built-in: the best of {results.tried_node_only} settings that "
                     "need nodes.")
    return "\n".join(lines)


def _as_row(m: Measured) -> dict[str, object]:
    return {"label": m.label, "calls": m.calls, "error": m.mean, "interval": m.interval,
            "median": float(m.errors.median()), "errors": [float(e) for e in m.errors]}
