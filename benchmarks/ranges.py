"""The CFG range a search says, against many more seeds and every built-in setting.

A search measures its solver at four scales around its own, on a few seeds against a few settings
(nodes/guidance.py). Here each scale is measured on held-out seeds and prompts against the best of
all built-in settings there, chosen in hindsight: is the range true?
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo.prompts import SEARCH_PROMPTS

from .cells import Cell
from .loading import LATENTS, load_model, pack
from .quality import RESULTS
from .report import merge_rows

Row = dict[str, Any]
GUIDANCE = 3.0
HEAD = """# CFG ranges

What a search at CFG 3 says of its solver at other scales ("told": error of the solver / of the
best built-in setting among few, on few seeds), and what it is on {seeds} held-out seeds and
prompts against the best of all built-in settings there. A range is what is won without a lost
scale between.

| model | calls | effort | CFG | told | error | best built-in | ratio | told to win | wins |
|---|---|---|---|---|---|---|---|---|---|
"""


def rows(name: str, model: Any, calls: int, effort: str, seeds: int) -> Iterator[Row]:  # noqa: ANN401
    """A search's range, scale by scale."""
    cell = Cell(name, model, GUIDANCE, seeds)
    config = pack("solver_search.config").SearchConfig(calls, "fit", effort, seed=0)
    job = pack("nodes.search_job").Job(cell.guider(SEARCH_PROMPTS), cell.latent, config, GUIDANCE,
                                       f"{name} {calls}")
    preset, _ = job.run()
    for cfg, told in told_of(preset.info.guidance_measured):
        won = preset.info.guidance_low or GUIDANCE + 1
        inside = won - 1e-6 <= cfg <= (preset.info.guidance_high or 0) + 1e-6
        ours, best = Cell(name, model, cfg, seeds).measure(
            lambda trial: (trial.solver(preset.solver, name),
                           trial.best_ordinary(calls, everything=True)[0]))
        yield {"model": name, "nfe": calls, "effort": effort, "guidance": cfg, "told": told,
               "told_inside": inside, "error_mean": ours.mean, "error_median":
               float(ours.errors.median()), "handcrafted": best.label,
               "handcrafted_error": best.mean, "seeds": seeds}


def told_of(measured: str) -> list[tuple[float, str]]:
    """CFG scales and what the file says of each."""
    pairs = (part.split(": ") for part in measured.split(", "))
    return [(float(cfg), errors) for cfg, errors in pairs]


def table(found: list[Row]) -> str:
    """ranges.md."""
    lines = [f"| {r['model']} | {r['nfe']} | {r['effort']} | {r['guidance']:g} | {r['told']} | "
             f"{r['error_mean']:.4f} | {r['handcrafted_error']:.4f} ({r['handcrafted']}) | "
             f"{r['error_mean'] / r['handcrafted_error']:.2f} | "
             f"{'yes' if r['told_inside'] else 'no'} | "
             f"{'yes' if r['error_mean'] < r['handcrafted_error'] else 'no'} |\n" for r in found]
    seeds = " or ".join(map(str, sorted({r["seeds"] for r in found})))
    return HEAD.format(seeds=seeds) + "".join(lines)


def _key(row: Row) -> tuple:
    return row["model"], row["nfe"], row["effort"], row["guidance"]


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Measure and write ranges.json and ranges.md; searches that are there are replaced."""
    parser = argparse.ArgumentParser("run.py bench ranges", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["demo_flow", "bench_wan"],
                        choices=LATENTS)
    parser.add_argument("--calls", nargs="+", type=int, default=[6, 8])
    parser.add_argument("--efforts", nargs="+", default=["quick", "standard"])
    parser.add_argument("--seeds", type=int, default=128)
    chosen = parser.parse_args(arguments)
    results.mkdir(parents=True, exist_ok=True)
    path = results / "ranges.json"
    for name in chosen.models:
        model = load_model(name)
        for calls in chosen.calls:
            for effort in chosen.efforts:
                new = list(rows(name, model, calls, effort, chosen.seeds))
                found = merge_rows(path, new, lambda row: _key(row)[:3], _key)
                (results / "ranges.md").write_text(table(found))
