"""Error of every way of sampling, per model, CFG and number of model calls.

All are measured on the same held-out seeds and prompts, which no search has seen, against a
reference of 100 calls. `handcrafted` is the best of all deterministic built-in samplers and
schedules (and shifts), chosen in hindsight: an opponent that nobody has. `node_only` is the same
of the settings that need nodes (nodes/comfy_bridge/node_only.py).
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
from filelock import FileLock
from torch import Tensor

from .cells import Cell, load_found
from .features import data_features, features_of, frechet
from .loading import LATENTS, TRAINED, load_decoder, load_model, pack
from .report import key, write_table

RESULTS = Path(__file__).parent / "results"
LEARNED = ("ays", "gits", "optimal_steps")  # step lists that ComfyUI ships
NAMES = {"fit": "default"}
ELSEWHERE = 0.5  # relative error beyond which a seed shows another picture
log = logging.getLogger("benchmarks")
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        models, guidances, calls: the cells.
        methods: (method, effort) pairs to search with.
        opponents: measure the built-in settings and published presets.
        node_only: measure the settings that need nodes.
        lists: also the best built-in setting on each shipped step list (AYS, GITS, ...).
        transfer: measure solvers of other cells.
        seeds: held-out seeds.
    """

    models: tuple[str, ...]
    guidances: tuple[float, ...]
    calls: tuple[int, ...]
    methods: tuple[tuple[str, str], ...]
    opponents: bool
    node_only: bool
    lists: bool
    transfer: bool
    seeds: int


class Bench:
    """One cell with the features of its reference's pictures."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.decode = load_decoder(cell.name)
        self.prediction = pack("nodes.comfy_bridge.model").facts(cell.model).prediction

    def rows(self, plan: Plan) -> Iterator[Row]:
        """All rows of the cell, each as soon as it is measured."""
        for calls in plan.calls:
            if plan.opponents:
                yield from self.cell.measure(lambda t, n=calls: self.opponents(t, n, plan))
            if plan.node_only:
                yield self.cell.measure(lambda t, n=calls: self.node_only(t, n))
            for method, effort in plan.methods:
                yield from self.searched(calls, method, effort)
            if plan.transfer:
                yield from self.cell.measure(lambda t, n=calls: self.transferred(t, n))

    def searched(self, calls: int, method: str, effort: str) -> list[Row]:
        """One row, or none if the search failed (the log says why)."""
        try:
            found = self.cell.search(calls, method, effort)
        except RuntimeError as error:
            return self._no_row(calls, str(error))
        name, solver = NAMES.get(method, method), found.preset.solver
        if found.preset.info.method != method:
            return self._no_row(calls, f"{method}:{effort} went on as {found.preset.info.method}")

        def rows(trial: Any) -> list[Row]:  # noqa: ANN401
            measured, span = with_span(trial, solver, found.label)
            return [{**self.row(trial, measured, name, effort, found.facts), "error_span": span}]

        return self.cell.measure(rows)

    def _no_row(self, calls: int, reason: str) -> list[Row]:
        log.warning("%s cfg %g, %d calls: %s", self.cell.name, self.cell.guidance, calls, reason)
        return []

    def opponents(self, trial: Any, calls: int, plan: Plan) -> list[Row]:  # noqa: ANN401
        """Best built-in setting, best per shipped step list, and the published solvers."""
        ordinary = pack("nodes.comfy_bridge.ordinary")
        every = ordinary.settings(trial.session.sampling, calls,
                                  ordinary.deterministic_samplers())
        groups = {"handcrafted": every} | {
            name: [s for s in every if s.scheduler.startswith(name)]
            for name in LEARNED if plan.lists}
        rows = [self.best(trial, calls, name, group) for name, group in groups.items() if group]
        return rows + self.published(trial, calls)

    def node_only(self, trial: Any, calls: int) -> Row:  # noqa: ANN401
        """Best setting that needs nodes."""
        group = pack("nodes.comfy_bridge.node_only").node_settings(trial.session.sampling, calls)
        return self.best(trial, calls, "node_only", group)

    def best(self, trial: Any, calls: int, name: str, group: list[Any]) -> Row:  # noqa: ANN401
        """Best of a group of settings."""
        begun = time.perf_counter()
        best = trial.best_of(group, calls)
        return self.row(trial, best, name, f"{len(group)} tried", {
            "seconds": round(time.perf_counter() - begun, 1)})

    def published(self, trial: Any, calls: int) -> list[Row]:  # noqa: ANN401
        """The DSS authors' solvers of this prediction, where the sigma range fits."""
        rows = []
        for preset in pack("presets.published").published():
            same = preset.solver.flow == (self.prediction == "flow")
            top = float(preset.solver.sigmas[0])
            fits = abs(top / float(trial.session.sampling.sigma_max) - 1) < 0.01
            if preset.solver.nfe == calls and same and fits:
                rows.append(self.row(trial, trial.solver(preset.solver, preset.info.name),
                                     "published", "as published", {}))
        return rows

    def transferred(self, trial: Any, calls: int) -> list[Row]:  # noqa: ANN401
        """Solvers searched at other CFG scales of this model."""
        here = self.cell.found_path(calls, "fit", "thorough")
        others = here.parent.glob(f"{self.cell.name} cfg * {calls} fit thorough.safetensors")
        rows = []
        for path in sorted(others):
            if path != here:
                found = load_found(path)
                row = self.row(trial, trial.solver(found.preset.solver, found.label), "default",
                               "thorough", found.facts)
                rows.append({**row, "transfer": f"searched at CFG {found.preset.info.guidance:g}"})
        return rows

    def row(self, trial: Any, m: Any, method: str, budget: str,  # noqa: ANN401
            facts: dict[str, Any]) -> Row:
        """One line of the results."""
        log.warning("%s cfg %g, %d calls: %s %s %s %.4f", self.cell.name, self.cell.guidance,
                    m.calls, method, budget, m.label, m.mean)
        return {"model": self.cell.name, "prediction": self.prediction,
                "guidance": self.cell.guidance, "nfe": m.calls, "method": method,
                "solver": m.label, "budget": budget, "error_mean": m.mean,
                "error_median": float(m.errors.median()), "error_ci": m.interval,
                "share_elsewhere": share_elsewhere(m.errors),
                **self._frechet(trial, m.ends), "seeds": len(m.errors),
                **{name: facts.get(name) for name in ("trajectories", "model_calls", "seconds",
                                                      "peak_bytes")}}

    def _frechet(self, trial: Any, ends: Tensor) -> dict[str, float | None]:  # noqa: ANN401
        if self.decode is None:
            return {"frechet_reference": None, "frechet_data": None}
        if not torch.isfinite(ends).all():
            return {"frechet_reference": float("inf"), "frechet_data": float("inf")}
        ours, reference = (features_of(torch.cat([self.decode(part) for part in x.split(64)]))
                           for x in (ends, trial.reference))
        data = None if self.cell.name == "bench_icons" else frechet(ours, data_features())
        return {"frechet_reference": frechet(ours, reference), "frechet_data": data}


@torch.no_grad()
def with_span(trial: Any, solver: Any, label: str) -> tuple[Any, float]:  # noqa: ANN401
    """Measured, and mean relative error if each picture had the last row best for it alone.

    The second is the part of the reference outside the span of the picture's start and model
    outputs (and, where the solver weighs them apart, their channel means): no table that visits
    these states can do better.
    """
    sampling, solvers, plans = (pack(f"solver_search.{name}")
                                for name in ("sample", "solver", "plan"))
    probed = solver.designer_in is not None
    found, best = [], []
    for starts, items, reference in zip(*(t.split(trial.batch) for t in (
            trial.starts, trial.items, trial.reference)), strict=True):
        basis, added = [starts], []
        found.append(sampling.sample(
            lambda x, sigma, i=items: trial.session.denoise(x, sigma, i), solver, starts,
            lambda row, x, denoised, b=basis: b.append(denoised),
            feature=trial.session.probed().feature if probed else None,
            guidance=lambda _, a=added: a.append(trial.session.added) or a[-1]))
        for name in solver.beside:
            seen = added if solvers.BASIS[name].guidance else basis[1:solver.nfe + 1]
            basis += [plans.values_of(solvers.BASIS[name], d, d, trial.session.canvas).expand_as(d)
                      for d in seen]
        columns = torch.stack([b.flatten(1) for b in basis], dim=2).double()
        target = reference.flatten(1).double()[..., None]
        inside = columns @ _least_squares(columns, target)
        best.append(inside.reshape(reference.shape))
    errors = pack("solver_search.metrics").relative_errors
    ends = torch.cat(found)
    measured = pack("nodes.evidence").Measured(label, ends, errors(ends, trial.reference),
                                               solver.nfe)
    return measured, float(errors(torch.cat(best), trial.reference).mean())


def _least_squares(columns: Tensor, target: Tensor) -> Tensor:
    """(B, K, 1) smallest solution; on the CPU, whose gelsd allows columns that depend."""
    found = torch.linalg.lstsq(columns.cpu(), target.cpu(), driver="gelsd").solution
    return found.to(columns.device)


def share_elsewhere(errors: Tensor) -> float:
    """Share of the seeds that land on another picture; one that is not finite is elsewhere."""
    return float((~(errors <= ELSEWHERE)).double().mean())


def _plan(arguments: list[str]) -> Plan:
    parser = argparse.ArgumentParser("run.py bench quality", description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(TRAINED), choices=LATENTS)
    parser.add_argument("--calls", nargs="+", type=int, default=[4, 5, 6, 8, 10])
    parser.add_argument("--cfg", nargs="+", type=float, default=[1.0, 3.0, 7.0])
    parser.add_argument("--methods", nargs="*", default=["fit:thorough"],
                        help="method:effort pairs, such as dss:standard")
    parser.add_argument("--no-opponents", action="store_true",
                        help="leave out built-in and published solvers")
    parser.add_argument("--node-only", action="store_true",
                        help="also measure the best of the settings that need nodes")
    parser.add_argument("--lists", action="store_true",
                        help="also measure the best setting on each shipped step list")
    parser.add_argument("--transfer", action="store_true",
                        help="also measure solvers found at other CFG scales")
    parser.add_argument("--seeds", type=int, default=256)
    chosen = parser.parse_args(arguments)
    methods = tuple(tuple(pair.split(":")) for pair in chosen.methods)
    return Plan(tuple(chosen.models), tuple(chosen.cfg), tuple(chosen.calls), methods,
                not chosen.no_opponents, chosen.node_only, chosen.lists, chosen.transfer,
                chosen.seeds)


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Run the plan; each row is written at once, in place of an older one of its kind."""
    plan = _plan(arguments)
    for name in plan.models:
        model = load_model(name)
        for guidance in plan.guidances:
            for row in Bench(Cell(name, model, guidance, plan.seeds)).rows(plan):
                add_row(row, results)
    with FileLock(results / ".lock"):
        write_table(results)


def add_row(row: Row, results: Path) -> None:
    """Put a row into quality.json; safe beside another process that does the same."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / "quality.json"
    with FileLock(results / ".lock"):
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        kept = [r for r in rows if key(r) != key(row)]
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"rows": sorted([*kept, row], key=key)}, indent=1) + "\n")
        partial.replace(path)
