"""By which starts a search should choose what it keeps (docs/decisions/evidence.md).

Quick searches with 12 held-out starts instead of 4. Of each solver that one offers: its errors on
those, on the starts searched on where they are known, and on unseen seeds and prompts. From these
the table tells what each rule would have kept.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .cells import Cell
from .loading import load_model, pack, search_prompts
from .quality import RESULTS
from .report import merge_rows

MODELS = ("demo_flow", "bench_wan", "bench_icons")
GUIDANCES, CALLS = (1.0, 3.0, 7.0), (5, 6, 8, 10)
NOISES, SEEDS, HELD_OUT = (0, 1), 64, 12
MORE_CALLS = 400  # that eight more starts cost: some 36 of the teacher each, and at each offer
# Held-out starts; k (None: those alone); whether the geometric mean counts.
RULES: dict[str, tuple[int, float | None, bool]] = {
    "4 held-out starts": (4, None, False), "8": (8, None, False), "12": (12, None, False),
    "4 and all searched on, k = 0": (4, 0.0, False), "k = 1": (4, 1.0, False),
    "k = 2": (4, 2.0, False), "k = 4": (4, 4.0, False),
    "k = 1, geometric mean": (4, 1.0, True), "8 and all searched on, k = 1": (8, 1.0, False),
    "the same, geometric mean": (8, 1.0, True)}
HEAD = f"""# By which starts to choose

Error on {SEEDS} unseen seeds of what a rule keeps, over that of the best of all solvers that the
same quick search offered. Errors on starts that a solver was fitted on count 1 + k / starts times.

| chosen by | searches | geometric mean | worst | above 1.1 |
|---|---|---|---|---|
"""
Row = dict[str, Any]


def row(cell: Cell, calls: int, seed: int) -> Row:
    """One search and all that it offered."""
    offers, solvers = searched(cell, calls, seed)
    unseen = cell.measure(lambda trial: [trial.solver(s, "offered").mean for s in solvers])
    return {"model": cell.name, "guidance": cell.guidance, "nfe": calls, "seed": seed,
            "offers": [{**offer, "unseen": mean}
                       for offer, mean in zip(offers, unseen, strict=True)]}


def searched(cell: Cell, calls: int, seed: int) -> tuple[list[Row], list[Any]]:
    """What a quick search with more held-out starts offers: errors there, and the solvers."""
    config, offers, solvers = pack("solver_search.config"), [], []
    info, sizes = config.METHODS["fit"], config.EFFORTS["quick"]

    def search(run: Any, settings: Any) -> None:  # noqa: ANN401
        run.offer = recording(run, offers, solvers)
        info.search(run, settings)

    config.METHODS["fit"] = replace(info, search=search)
    config.EFFORTS["quick"] = replace(sizes, held_out=HELD_OUT,
                                      model_calls=sizes.model_calls + MORE_CALLS)
    try:
        wanted = config.SearchConfig(calls, "fit", "quick", seed=seed)
        pack("nodes.search_job").Job(cell.guider(search_prompts(cell.name)), cell.latent, wanted,
                                     cell.guidance, "choice").search()
    finally:
        config.METHODS["fit"], config.EFFORTS["quick"] = info, sizes
    return offers, solvers


def recording(run: Any, offers: list[Row], solvers: list[Any]) -> Callable[..., float]:  # noqa: ANN401
    """A Run's offer() that also notes what is offered, at no cost of the search."""
    offer, fair = run.offer, pack("solver_search.methods.refine").fair

    def recorded(solver: Any, label: str, *, builtin: str = "",  # noqa: ANN401
                 searched: torch.Tensor | None = None) -> float:
        known = run.stage in ("teacher", "known")
        error = offer(solver, label, builtin=builtin, searched=searched)
        spent, budget = run.model_calls, run.budget
        run.budget = replace(budget, model_calls=math.inf)
        held = run.errors(solver.detach(), run.held_out)
        run.model_calls, run.budget = spent, budget
        if searched is not None and not known:
            searched = searched / fair(torch.ones_like(searched))
        offers.append({"label": label, "known": known, "held_out": _rounded(held),
                       "searched": None if searched is None else _rounded(searched)})
        solvers.append(solver.detach())
        return error

    return recorded


def _rounded(errors: torch.Tensor) -> list[float]:
    return [float(f"{e:.5g}") for e in errors]


def kept(offers: list[Row], held_out: int, k: float | None, geometric: bool = False) -> Row:
    """The offer that a rule keeps, the first of the least."""
    return min(offers, key=lambda offer: _score(offer, held_out, k, geometric))


def _score(offer: Row, held_out: int, k: float | None, geometric: bool) -> float:
    errors, seen = offer["held_out"][:held_out], offer["searched"] or []
    if k is not None:
        factor = 1.0 if offer["known"] or not seen else 1 + k / len(seen)
        errors = errors + [factor * e for e in seen]
    return math.exp(sum(map(math.log, errors)) / len(errors)) if geometric else (
        sum(errors) / len(errors))


def table(rows: list[Row]) -> str:
    """choice.md."""
    return HEAD + "".join(_line(name, rows, *rule) for name, rule in RULES.items())


def _line(name: str, rows: list[Row], *rule: Any) -> str:  # noqa: ANN401
    ratios = [kept(r["offers"], *rule)["unseen"] / min(o["unseen"] for o in r["offers"])
              for r in rows]
    geometric = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return (f"| {name} | {len(ratios)} | {geometric:.3f} | {max(ratios):.2f} | "
            f"{sum(r > 1.1 for r in ratios)} |\n")


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Measure the models asked for and write choice.json and choice.md."""
    parser = argparse.ArgumentParser("run.py bench choice", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    for name in parser.parse_args(arguments).models:
        model = load_model(name)
        new = [row(Cell(name, model, cfg, SEEDS), calls, seed)
               for cfg in GUIDANCES for calls in CALLS for seed in NOISES]
        rows = merge_rows(results / "choice.json", new, group=lambda r: r["model"],
                          order=lambda r: (r["model"], r["guidance"], r["nfe"], r["seed"]))
        (results / "choice.md").write_text(table(rows))
