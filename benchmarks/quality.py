"""Error of every way of sampling, per model, CFG and number of model calls.

All are measured in one run on the same held-out seeds and prompts, which no search has seen,
against a reference of 100 calls. `handcrafted` is the best of all deterministic built-in samplers
and schedules (and shifts), chosen in hindsight: an opponent that nobody has.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from demo.prompts import HELD_OUT_PROMPTS, SEARCH_PROMPTS

from .loading import load_model, pack, prompts

RESULTS = Path(__file__).parent / "results"
LATENTS = {"demo_flow": (16, 8, 8), "demo_eps": (4, 8, 8)}
log = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        models, guidances, calls: the cells.
        methods: (method, effort) pairs.
        seeds: held-out seeds.
        batch: pictures per model call.
    """

    models: tuple[str, ...] = tuple(LATENTS)
    guidances: tuple[float, ...] = (1.0, 4.0)
    calls: tuple[int, ...] = (5, 6, 8)
    methods: tuple[tuple[str, str], ...] = (("fit", "thorough"),)
    seeds: int = 64
    batch: int = 32


@dataclass(frozen=True)
class Cell:
    """One model at one CFG."""

    name: str
    model: Any
    guidance: float
    plan: Plan

    def guider(self, lines: tuple[str, ...]) -> Any:  # noqa: ANN401
        """CFG guider on given prompts and the empty negative."""
        session = pack("nodes.comfy_bridge.session")
        return session.make_guider(self.model, prompts(self.model, lines),
                                   prompts(self.model, ()), self.guidance)

    def search(self, calls: int, method: str, effort: str) -> tuple[Any, Any]:
        """(best solver, run) of a search on the search prompts."""
        config = pack("solver_search.config").SearchConfig(calls, method, effort, seed=0)
        latent = torch.zeros(self.plan.batch, *LATENTS[self.name])
        job = pack("nodes.search_job").Job(self.guider(SEARCH_PROMPTS), latent, config,
                                           self.guidance, "benchmark")
        run = job.search()
        return run.best, run

    def rows(self) -> Iterator[dict[str, Any]]:
        """All rows of the cell."""
        found = []
        for calls in self.plan.calls:
            for method, effort in self.plan.methods:
                try:
                    found.append((method, effort, *self.search(calls, method, effort)))
                except RuntimeError as error:
                    log.warning("%s %s %d: %s", self.name, method, calls, error)
        latent = torch.zeros(self.plan.batch, *LATENTS[self.name])
        within = pack("nodes.comfy_bridge.session").within
        yield from within(self.guider(HELD_OUT_PROMPTS), latent,
                          lambda session: self._measure(session, found), seed=0)

    def _measure(self, session: Any, found: list[tuple]) -> list[dict[str, Any]]:  # noqa: ANN401
        generator = torch.Generator().manual_seed(10_000)
        noise = torch.randn((self.plan.seeds, *LATENTS[self.name]), generator=generator)
        trial = pack("nodes.evidence").make_trial(session, noise, torch.arange(self.plan.seeds),
                                                  self.plan.batch)
        rows = []
        for calls in self.plan.calls:
            begun = time.perf_counter()
            best, tried = trial.best_ordinary(calls, everything=True)
            rows.append(self._row(best, "handcrafted", f"{tried} tried", None,
                                  time.perf_counter() - begun))
        for method, effort, solver, run in found:
            rows.append(self._row(trial.solver(solver, run.best_label), method, effort, run,
                                  run.seconds))
        return rows

    def _row(self, m: Any, method: str, budget: str, run: Any,  # noqa: ANN401
             seconds: float) -> dict[str, Any]:
        return {"model": self.name, "prediction": "flow" if "flow" in self.name else "eps",
                "guidance": self.guidance, "nfe": m.calls, "method": method, "solver": m.label,
                "budget": budget, "error_mean": m.mean, "error_median": float(m.errors.median()),
                "error_ci": m.interval, "seeds": len(m.errors),
                "trajectories": None if run is None else run.problem.fit,
                "model_calls": None if run is None else run.model_calls,
                "seconds": round(seconds, 1)}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, with each row's error over that of the best built-in setting of its cell."""
    best = {_cell(r): r["error_mean"] for r in rows if r["method"] == "handcrafted"}
    lines = ["| model | CFG | calls | method | budget | solver | error | 95 % | ratio | searched "
             "with | s |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for r in sorted(rows, key=lambda r: (*_cell(r), r["error_mean"])):
        known = best.get(_cell(r))
        ratio = f"{r['error_mean'] / known:.2f}" if known else ""
        spent = "" if r["model_calls"] is None else f"{r['model_calls']} calls"
        lines.append(f"| {r['model']} | {r['guidance']:g} | {r['nfe']} | {r['method']} | "
                     f"{r['budget']} | {r['solver']} | {r['error_mean']:.4f} | "
                     f"{r['error_ci']:.4f} | {ratio} | {spent} | "
                     f"{'' if r['seconds'] is None else round(r['seconds'])} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> tuple[str, float, int]:
    return row["model"], row["guidance"], row["nfe"]


def _plan() -> Plan:
    parser = argparse.ArgumentParser("run.py bench", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(LATENTS), choices=LATENTS)
    parser.add_argument("--calls", nargs="+", type=int, default=[5, 6, 8])
    parser.add_argument("--cfg", nargs="+", type=float, default=[1.0, 4.0])
    parser.add_argument("--methods", nargs="+", default=["fit:thorough"],
                        help="method:effort pairs, such as dss:standard")
    parser.add_argument("--seeds", type=int, default=64)
    chosen = parser.parse_args()
    methods = tuple(tuple(pair.split(":")) for pair in chosen.methods)
    return Plan(tuple(chosen.models), tuple(chosen.cfg), tuple(chosen.calls), methods,
                chosen.seeds)


def main() -> None:
    """Run the plan; results are written after every cell, merged by cell and method."""
    plan = _plan()
    for name in plan.models:
        model = load_model(name)
        for guidance in plan.guidances:
            _write(list(Cell(name, model, guidance, plan).rows()))


def _write(rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "quality.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    fresh = {(*_cell(r), r["method"], r["budget"]) for r in rows}
    kept = [r for r in known if (*_cell(r), r["method"], r["budget"]) not in fresh]
    path.write_text(json.dumps({"rows": kept + rows}, indent=1))
    (RESULTS / "quality.md").write_text("# Quality\n\n" + table(kept + rows))
    log.warning("%s", table(rows))
