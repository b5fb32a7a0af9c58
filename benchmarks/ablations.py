"""What each part of a published method is worth: the same search with one part left out.

On two trained models at CFG 1 and 6 calls. The start is where the method begins, measured on the
same held-out seeds and prompts as what it finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo.prompts import SEARCH_PROMPTS

from .cells import Cell
from .loading import load_model, pack
from .quality import RESULTS

MODELS, CALLS, CFG, SEEDS = ("demo_flow", "bench_wan"), 6, 1.0, 256
EFFORTS = {"dss": "standard", "s4s": "standard", "s4s_alt": "standard", "dlms": "thorough"}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "dss": {"whole": {},
            "Euler teacher, uniform time": {"accurate_teacher": False},
            "teacher's nearest state": {"interpolate": False},
            "no least step": {"floor": 0.0},
            "constant rate": {"decay": False},
            "last iterate, no average": {"average": 0.0},
            "no time scaling": {"learn_model_sigmas": False}},
    "s4s": {"whole": {}, "starts do not move": {"radius": 0.0},
            "begins as in its paper": {"known": 0.0}},
    "s4s_alt": {"whole": {}, "starts do not move": {"radius": 0.0},
                "no time scaling": {"learn_model_sigmas": False},
                "begins as in its paper": {"known": 0.0}},
    "dlms": {"whole": {},
             "schedule as it was": {"learn_steps": False},
             "no time scaling": {"learn_scales": False},
             "rows as they were": {"learn_rows": False},
             "begins as in its paper": {"known": 0.0},
             "begins with even steps and Euler's rows": {"known": 0.0, "plms": False}},
}
HEAD = f"""# Parts of the published methods

Mean relative error at CFG {CFG:g}, {CALLS} calls, {SEEDS} held-out seeds and prompts. Each line is
a search of its own, with everything but what it says; `whole` is the method on the node. Budgets
are those of its effort: 6,000 model calls (standard), 40,000 (thorough).

| model | method | effort | left out | start | error | 95 % | over whole | model calls |
|---|---|---|---|---|---|---|---|---|
"""
Row = dict[str, Any]


def rows(name: str) -> Iterator[Row]:
    """All variants on one model, each as soon as it is measured."""
    cell = Cell(name, load_model(name), CFG, SEEDS)
    for method, variants in VARIANTS.items():
        for variant, changes in variants.items():
            yield measured(cell, method, variant, changes)


def measured(cell: Cell, method: str, variant: str, changes: dict[str, Any],
             effort: str | None = None) -> Row:
    """One search, and how its start and its result do on held-out seeds."""
    effort = effort or EFFORTS[method]
    run, start = searched(cell, method, effort, changes)
    begun, found = cell.measure(
        lambda trial: [trial.solver(s, variant) for s in (start, run.best)])
    return {"model": cell.name, "guidance": cell.guidance, "nfe": CALLS, "method": method,
            "budget": effort, "variant": variant, "error_start": begun.mean,
            "error_mean": found.mean, "error_ci": found.interval,
            "model_calls": run.model_calls, "seeds": cell.seeds}


def searched(cell: Cell, method: str, effort: str, changes: dict[str, Any]) -> tuple[Any, Any]:
    """The finished Run of a changed method, and the best solver it began with."""
    config = pack("solver_search.config")
    starts: list[tuple[float, Any]] = []

    def keep(event: Any) -> None:  # noqa: ANN401
        if event.solver is not None and event.phase.endswith("start"):
            starts.append((event.error, event.solver))

    info, name = config.METHODS[method], f"{method}, changed"
    config.METHODS[name] = replace(
        info, settings=lambda request: replace(info.settings(request), **changes))
    try:
        job = pack("nodes.search_job").Job(
            cell.guider(SEARCH_PROMPTS), cell.latent, config.SearchConfig(CALLS, name, effort),
            cell.guidance, name, on_event=keep)
        return job.search()[0], min(starts, key=lambda pair: pair[0])[1]
    finally:
        del config.METHODS[name]


def table(found: list[Row]) -> str:
    """ablations.md."""
    whole = {(r["model"], r["method"]): r["error_mean"] for r in found if r["variant"] == "whole"}
    return HEAD + "".join(
        f"| {r['model']} | {r['method']} | {r['budget']} | {r['variant']} | "
        f"{r['error_start']:.4f} | {r['error_mean']:.4f} | {r['error_ci']:.4f} | "
        f"{r['error_mean'] / whole[r['model'], r['method']]:.2f} | {r['model_calls']} |\n"
        for r in found)


def main(results: Path = RESULTS) -> None:
    """Measure all and write ablations.json and ablations.md."""
    found = [row for name in MODELS for row in rows(name)]
    (results / "ablations.json").write_text(json.dumps({"rows": found}, indent=1) + "\n")
    (results / "ablations.md").write_text(table(found))
