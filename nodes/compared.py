"""What a comparison says and shows: a verdict, a sentence, tiles for the page, sheet and table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from torch import Tensor

from ..solver_search.metrics import mean_and_interval
from .contenders import Equal, Results, Way
from .evidence import REFERENCE_CALLS, Measured
from .pictures import SheetRow
from .said import Said

BEST_OF = {"builtin": "built-in", "node_only": "node-only"}
Refer = Callable[[Tensor], list[dict[str, Any]]]


def verdict(results: Results) -> Said:
    """Who lands nearer and by how much; the numbers of all as details."""
    return Said(_verdict(results), details=tuple(_line(way) for way in results.ways))


def _verdict(results: Results) -> str:
    ours, rival = results.ours.measured, results.rival.measured
    better, worse = sorted((ours, rival), key=lambda m: m.mean)
    names = {id(ours): f"'{ours.label}'", id(rival): f"the best built-in ({rival.label})"}
    gap = f"{1 - better.mean / worse.mean:.0%} closer" if worse.mean else "no closer"
    said = f"{names[id(better)]} lands {gap} to the reference than {names[id(worse)]}"
    if not is_clear(ours, rival):
        return f"Too close to call: {said}, which may be chance. More seeds tell."
    return f"{said[0].upper()}{said[1:]} at {ours.calls} model calls."


def is_clear(one: Measured, other: Measured) -> bool:
    """Whether two mean errors on the same seeds differ by more than chance."""
    mean, interval = mean_and_interval(one.errors - other.errors)
    return abs(mean) > interval


def sentence(results: Results) -> str:
    """On how many seeds ours is nearer, and what the built-in needs for the same."""
    ours = results.ours.measured
    said = f"'{ours.label}' is nearer on {nearer(results)} of {len(ours.errors)} seeds"
    return f"{said}{_needs(results.equal)}."


def nearer(results: Results) -> int:
    """On how many seeds ours lands nearer than the best of ComfyUI's own."""
    return int((results.ours.measured.errors < results.rival.measured.errors).sum())


def _needs(equal: Equal | None) -> str:
    if equal is None:
        return ""
    if equal.steps is None:
        return f"; {equal.label} needs more than {equal.most} steps for the same"
    calls = "" if equal.calls == equal.steps else f" ({equal.calls} model calls)"
    return f"; {equal.label} needs {equal.steps} steps{calls} for the same"


def _line(way: Way) -> str:
    m = way.measured
    best = f" (best of {way.tried} {BEST_OF[way.kind]})" if way.tried else ""
    return f"{m.label}{best}: {m.calls} model calls, error {m.mean:.4f} ± {m.interval:.4f}"


def comparison(results: Results, pictures: list[Tensor], cfg: float, refer: Refer) -> dict:
    """For the page.

    Args:
        pictures: (S, H, W, 3) of the shown seeds: the reference's, then each way's.
        cfg: guidance scale of all.
        refer: makes files of pictures and says where they are.
    """
    reference = {"label": "Reference", "kind": "reference", "calls": REFERENCE_CALLS, "error": 0.0,
                 "interval": 0.0, "median": 0.0, "errors": [0.0] * len(results.shown),
                 "images": refer(pictures[0])}
    tiles = [_tile(way, results.shown, refer(shown))
             for way, shown in zip(results.ways, pictures[1:], strict=True)]
    return {"reference_calls": REFERENCE_CALLS, "seeds": len(results.ours.measured.errors),
            "cfg": cfg, "shown": results.shown, "tiles": [reference, *tiles],
            "sentence": sentence(results), "nearer": nearer(results),
            "equal": None if results.equal is None else asdict(results.equal)}


def _tile(way: Way, shown: list[int], images: list[dict[str, Any]]) -> dict[str, Any]:
    row = as_row(way.measured)
    return {**row, "kind": way.kind, "errors": [row["errors"][seed] for seed in shown],
            "images": images}


def as_row(m: Measured) -> dict[str, Any]:
    """Numbers of one way on all seeds."""
    return {"label": m.label, "calls": m.calls, "error": m.mean, "interval": m.interval,
            "median": float(m.errors.median()), "errors": [float(e) for e in m.errors]}


def sheet_rows(results: Results, pictures: list[Tensor]) -> list[SheetRow]:
    """Of a contact sheet; `pictures` as in `comparison`."""
    rows = [SheetRow("Reference", f"{REFERENCE_CALLS} steps", pictures[0])]
    for way, shown in zip(results.ways, pictures[1:], strict=True):
        m = way.measured
        detail = f"{m.calls} model calls\nmean error {m.mean:.4f}\n± {m.interval:.4f}"
        if way.tried:
            detail = f"best of {way.tried} {BEST_OF[way.kind]}\n{detail}"
        captions = [f"{float(m.errors[seed]):.3f}" for seed in results.shown]
        rows.append(SheetRow(m.label, detail, shown, captions))
    return rows


def table(results: Results) -> str:
    """The numbers as text."""
    measured = [way.measured for way in results.ways]
    width = max(34, *(len(m.label) + 2 for m in measured))
    lines = [f"{'sampler':<{width}}{'calls':>6}{'error':>10}{'±':>9}{'median':>10}"]
    for m in measured:
        lines.append(f"{m.label:<{width}}{m.calls:>6}{m.mean:>10.4f}{m.interval:>9.4f}"
                     f"{float(m.errors.median()):>10.4f}")
    lines.append(f"Relative error to {REFERENCE_CALLS} steps, mean of {len(measured[0].errors)} "
                 f"seeds; built-in: the best of {tried(results, 'builtin')} settings.")
    if tried(results, "node_only"):
        lines.append(f"Below each built-in: the best of {tried(results, 'node_only')} settings "
                     "that need nodes.")
    return "\n".join(lines)


def tried(results: Results, kind: str) -> int:
    """Settings of a kind that were tried for the last number of calls."""
    return next((way.tried for way in reversed(results.ways) if way.kind == kind), 0)
