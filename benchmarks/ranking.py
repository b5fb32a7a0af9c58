"""Place of the truly best known solver among those that a search tries one after the other.

    python run.py bench ranking [--models demo_flow]

The order costs no model call (solver_search/methods/known.py); here every known solver is sampled
on the same starts, so that the order can be judged. Into results/ranking.json and .md.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import Any

import torch

from .cells import Cell
from .loading import load_model, pack, search_prompts
from .quality import RESULTS
from .report import merge_rows

CELLS = (("demo_flow", 1.0, 6), ("demo_flow", 3.0, 6), ("demo_flow", 7.0, 10),
         ("bench_wan", 1.0, 8), ("bench_wan", 7.0, 8), ("bench_icons", 1.0, 10),
         ("bench_icons", 3.0, 6), ("demo_eps", 1.0, 10), ("demo_eps", 3.0, 6))
MODELS = tuple(dict.fromkeys(name for name, _, _ in CELLS))
EFFORT, STARTS, FRONT = "standard", 12, 8
HEAD = f"""# The order of known solvers

Place of the best known solver (0: first; mean of {STARTS} starts, effort {EFFORT}) in the order by
misses, which searches with guidance use, and in that where every second goes by landing; and error
of the best of the first {FRONT} over that of the best of all.

| model | CFG | calls | settings | best | by misses | first {FRONT} | in turns | first {FRONT} |
|---|---|---|---|---|---|---|---|---|
"""
Row = dict[str, Any]


def row(cell: Cell, calls: int) -> Row:
    """Both orders of one search, and the errors of all."""
    config, found = pack("solver_search.config"), {}
    info = config.METHODS["fit"]

    def search(run: Any, settings: Any) -> None:  # noqa: ANN401
        found.update(judged(run, settings))

    config.METHODS["fit"] = replace(info, search=search)
    try:
        wanted = config.SearchConfig(calls, "fit", EFFORT, seed=0)
        pack("nodes.search_job").Job(cell.guider(search_prompts(cell.name)), cell.latent, wanted,
                                     cell.guidance, "ranking").search()
    finally:
        config.METHODS["fit"] = info
    return {"model": cell.name, "guidance": cell.guidance, "nfe": calls, **found}


def judged(run: Any, settings: Any) -> Row:  # noqa: ANN401
    """Where the best is in each order; the best is offered, so that the search has found one."""
    fit, known = (pack(f"solver_search.methods.{name}") for name in ("fit", "known"))
    teacher = run.trace(fit._teacher(run, settings), keep=known.RANKED[False])
    run.budget = replace(run.budget, model_calls=math.inf)
    orders = {name: known.ranked(run.problem, teacher, guided=guided)
              for name, guided in (("misses", True), ("turns", False))}
    errors = {one.label: known.on_all(run, one, run.fitted[:STARTS]).mean
              for one in orders["misses"]}
    best = min(orders["misses"], key=lambda one: errors[one.label])
    run.offer(best.solver, best.label)
    return {"settings": len(errors), "best": best.label, "error": errors[best.label], **{
        name: {"place": [one.label for one in order].index(best.label),
               "front": min(errors[one.label] for one in order[:FRONT]) / errors[best.label]}
        for name, order in orders.items()}}


def table(rows: list[Row]) -> str:
    """ranking.md."""
    return HEAD + "".join(
        f"| {r['model']} | {r['guidance']:g} | {r['nfe']} | {r['settings']} | {r['best']} | "
        f"{r['misses']['place']} | {r['misses']['front']:.2f} | {r['turns']['place']} | "
        f"{r['turns']['front']:.2f} |\n" for r in rows)


@torch.no_grad()
def main(arguments: list[str]) -> None:
    """Measure the models asked for and write ranking.json and ranking.md."""
    parser = argparse.ArgumentParser("run.py bench ranking", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    for name in parser.parse_args(arguments).models:
        model = load_model(name)
        new = [row(Cell(name, model, cfg, STARTS, batch=16), calls)
               for one, cfg, calls in CELLS if one == name]
        rows = merge_rows(RESULTS / "ranking.json", new, group=lambda r: r["model"],
                          order=lambda r: (r["model"], r["guidance"], r["nfe"]))
        (RESULTS / "ranking.md").write_text(table(rows))
