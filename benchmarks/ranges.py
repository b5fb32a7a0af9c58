"""The CFG range a search says, against many more seeds and every built-in setting.

A search measures its solver at four scales around its own, on a few seeds against a few settings
(nodes/guidance.py). Here each scale is measured on held-out seeds and prompts against the best of
all built-in settings there, chosen in hindsight: is the range true?
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from .cells import Cell
from .loading import LATENTS, load_model, pack, search_prompts
from .quality import RESULTS
from .report import merge_rows

Row = dict[str, Any]
HEAD = """# CFG ranges

What a search says of its solver at other CFG scales ("told": error of the solver / of the
best built-in setting among few, on few seeds), and what it is on {seeds} held-out seeds and
prompts against the best of all built-in settings there. A range is what is won without a lost
scale between. "searched" and "used" are CFG scales; "1.5 to 6": searched for all between.

| model | searched | calls | effort | used | told | error | built-in | ratio | told won | won |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def rows(cell: Cell, calls: int, effort: str, reach: float = 0.0) -> Iterator[Row]:
    """A search's range, scale by scale; with `reach` it is searched for that far to both sides."""
    config = pack("solver_search.config").SearchConfig(calls, "fit", effort, seed=0, reach=reach)
    job = pack("nodes.search_job").Job(cell.guider(search_prompts(cell.name)), cell.latent, config,
                                       cell.guidance, f"{cell.name} {calls}")
    [(preset, _)] = job.run()
    for cfg, told in told_of(preset.info.guidance_measured):
        inside = not pack("presets.words").guidance_remark(preset.info, cfg)
        ours, best = replace(cell, guidance=cfg).measure(
            lambda trial: (trial.solver(preset.solver, cell.name),
                           trial.best_ordinary(calls, everything=True)[0]))
        yield {"model": cell.name, "searched_at": cell.guidance, "reach": reach,
               "nfe": calls, "effort": effort, "guidance": cfg, "told": told,
               "told_inside": inside, "error_mean": ours.mean,
               "error_median": float(ours.errors.median()), "handcrafted": best.label,
               "handcrafted_error": best.mean, "seeds": cell.seeds}


def told_of(measured: str) -> list[tuple[float, str]]:
    """CFG scales and what the file says of each."""
    pairs = (part.split(": ") for part in measured.split(", "))
    return [(float(cfg), errors) for cfg, errors in pairs]


def table(found: list[Row]) -> str:
    """ranges.md."""
    lines = [f"| {r['model']} | {_searched(r)} | {r['nfe']} | {r['effort']} | "
             f"{r['guidance']:g} | {r['told']} | {r['error_mean']:.4f} | "
             f"{r['handcrafted_error']:.4f} ({r['handcrafted']}) | "
             f"{r['error_mean'] / r['handcrafted_error']:.2f} | "
             f"{'yes' if r['told_inside'] else 'no'} | "
             f"{'yes' if r['error_mean'] < r['handcrafted_error'] else 'no'} |\n" for r in found]
    seeds = " or ".join(map(str, sorted({r["seeds"] for r in found})))
    return HEAD.format(seeds=seeds) + "".join(lines)


def _searched(row: Row) -> str:
    middle, reach = row["searched_at"], row["reach"]
    return f"{middle - reach:g} to {middle + reach:g}" if reach else f"{middle:g}"


def _key(row: Row) -> tuple:
    return (row["model"], row["searched_at"], row["reach"], row["nfe"], row["effort"],
            row["guidance"])


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Measure and write ranges.json and ranges.md; searches that are there are replaced."""
    parser = argparse.ArgumentParser("run.py bench ranges", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["demo_flow", "bench_wan"],
                        choices=LATENTS)
    parser.add_argument("--cfg", nargs="+", type=float, default=[3.0])
    parser.add_argument("--to", type=float, default=0.0,
                        help="search for all scales from each --cfg to this one")
    parser.add_argument("--calls", nargs="+", type=int, default=[6, 8])
    parser.add_argument("--efforts", nargs="+", default=["quick", "standard"])
    parser.add_argument("--seeds", type=int, default=128)
    chosen = parser.parse_args(arguments)
    results.mkdir(parents=True, exist_ok=True)
    path = results / "ranges.json"
    for name in chosen.models:
        model = load_model(name)
        for cfg, calls, effort in product(chosen.cfg, chosen.calls, chosen.efforts):
            reach = max(0.0, chosen.to - cfg) / 2
            cell = Cell(name, model, cfg + reach, chosen.seeds)
            new = list(rows(cell, calls, effort, reach))
            found = merge_rows(path, new, lambda row: _key(row)[:5], _key)
            (results / "ranges.md").write_text(table(found))
