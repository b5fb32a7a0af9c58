"""Image to image: error at denoise below 1 against the best built-in setting of as many calls.

A whole-way preset is laid into the part (solver_search/part.py), beside one that was searched for
the part. The pictures below the noise are the reference's own ends; seeds, prompts and the choice
of the built-in setting (in hindsight) are as in quality.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from .cells import SEED, Cell, load_found
from .loading import LATENTS, load_model, pack
from .quality import RESULTS
from .report import merge_rows

Row = dict[str, Any]
HEAD = """# A part of the way

Mean relative error on held-out seeds and prompts; ratio to the best built-in setting.

| model | CFG | denoise | calls | how | solver | error | 95 % | ratio |
|---|---|---|---|---|---|---|---|---|
"""


def rows(cell: Cell, denoise: float, calls: int, effort: str) -> Iterator[Row]:
    """The best built-in setting, the whole-way preset laid in, and one searched for the part."""
    found = cell.search(calls, "fit", effort, denoise=denoise)
    whole = load_found(cell.found_path(calls, "fit", "thorough")).preset

    def measured(trial: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
        ordinary = pack("nodes.comfy_bridge.ordinary")
        settings = ordinary.settings(trial.session.sampling, calls,
                                     ordinary.deterministic_samplers(), denoise)
        yield "best built-in", trial.best_of(settings, calls)
        yield "whole-way preset laid in", trial.solver(laid_in(trial, whole.solver, calls),
                                                       whole.info.name)
        yield f"searched for it ({effort})", trial.solver(found.preset.solver, found.label)

    def work(trial: Any) -> list[Row]:  # noqa: ANN401
        part = part_of_trial(trial, denoise)
        return [{"model": cell.name, "guidance": cell.guidance, "denoise": denoise,
                 "nfe": calls, "how": how, "solver": m.label, "error_mean": m.mean,
                 "error_ci": m.interval, "seeds": len(m.errors)} for how, m in measured(part)]

    yield from cell.measure(work)


def part_of_trial(trial: Any, denoise: float) -> Any:  # noqa: ANN401
    """The same seeds and prompts from where `denoise` begins, over the reference's ends."""
    generator = torch.Generator().manual_seed(SEED + 1)
    noise = torch.randn(trial.starts.shape, generator=generator)
    starts = trial.session.starts(noise, denoise, trial.reference)
    return pack("nodes.evidence").make_trial(trial.session, starts, trial.items, trial.batch,
                                             denoise)


def laid_in(trial: Any, solver: Any, calls: int) -> Any:  # noqa: ANN401
    """What a sampler makes of a whole-way solver here."""
    model = pack("nodes.comfy_bridge.model")
    first = model.first_sigma(trial.session.sampling, trial.denoise)
    asked = torch.linspace(first, 0, calls + 1)
    return pack("solver_search.part").part_of(solver, asked,
                                              model.time(trial.session.sampling)).solver


def table(found: list[Row]) -> str:
    """parts.md."""
    best = {_cell(r): r["error_mean"] for r in found if r["how"] == "best built-in"}
    return HEAD + "".join(
        f"| {r['model']} | {r['guidance']:g} | {r['denoise']:g} | {r['nfe']} | {r['how']} | "
        f"{r['solver']} | {r['error_mean']:.4f} | {r['error_ci']:.4f} | "
        f"{r['error_mean'] / best[_cell(r)]:.2f} |\n" for r in found)


def _cell(row: Row) -> tuple:
    return row["model"], row["guidance"], row["denoise"], row["nfe"]


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Measure and write parts.json and parts.md; cells that are there are replaced."""
    parser = argparse.ArgumentParser("run.py bench parts", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["demo_flow", "bench_wan"],
                        choices=LATENTS)
    parser.add_argument("--cfg", nargs="+", type=float, default=[3.0])
    parser.add_argument("--calls", nargs="+", type=int, default=[6, 8])
    parser.add_argument("--denoise", nargs="+", type=float, default=[0.3, 0.5, 0.7])
    parser.add_argument("--effort", default="standard")
    parser.add_argument("--seeds", type=int, default=128)
    chosen = parser.parse_args(arguments)
    results.mkdir(parents=True, exist_ok=True)
    path = results / "parts.json"
    for name in chosen.models:
        model = load_model(name)
        for cfg in chosen.cfg:
            for denoise in chosen.denoise:
                for calls in chosen.calls:
                    new = list(rows(Cell(name, model, cfg, chosen.seeds), denoise, calls,
                                    chosen.effort))
                    found = merge_rows(path, new, _cell, _cell)
                    (results / "parts.md").write_text(table(found))
