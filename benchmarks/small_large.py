"""Solvers searched on small pictures, or few frames, and used on large ones.

    python run.py bench small-large [--models demo_flow] [--effort quick] [--sizes 2]

At each size of use: the solver searched there, those searched at the other sizes, and the best
setting of the popular built-in samplers with every schedule, chosen there. Same held-out seeds
and prompts for all. Into results/small_large.json and .md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .cells import SEED
from .loading import held_out_prompts, load_model, pack, prompts, search_prompts

RESULTS = Path(__file__).parent / "results"
SEEDS, CALLS, CFG = 64, 6, 3.0
SIZES = {  # of latents; the first is that the model was trained at
    "demo_flow": [(16, 8, 8), (16, 16, 16), (16, 24, 24)],
    "demo_eps": [(4, 8, 8), (4, 16, 16)],
    "bench_wan": [(16, 1, 8, 8), (16, 5, 8, 8), (16, 1, 16, 16), (16, 5, 16, 16)],
}
HEAD = """# Searched small, used large

Mean relative error at {calls} model calls, CFG {cfg:g}, {seeds} held-out seeds with prompts that
no search has seen; the same seeds in a row. *here* is the solver searched at the size of use; the
best built-in setting is chosen at the size of use.

| model | effort | used at | searched at | error | / best built-in | / searched here | nearer \
than the built-in on |
|---|---|---|---|---|---|---|---|
"""
Row = dict[str, Any]
Size = tuple[int, ...]


def found_at(model: Any, name: str, size: Size, effort: str) -> Any:  # noqa: ANN401
    """The solver of a search at a size."""
    make_guider = pack("nodes.comfy_bridge.session").make_guider
    guider = make_guider(model, prompts(model, search_prompts(name)), prompts(model, ()), CFG)
    config = pack("solver_search.config").SearchConfig(CALLS, "fit", effort, seed=0)
    latent = torch.zeros(batch_of(size), *size)
    run, = pack("nodes.search_job").Job(guider, latent, config, CFG, "small or large").search()
    return run.best


def used_at(model: Any, name: str, size: Size, solvers: dict[Size, Any],  # noqa: ANN401
            effort: str) -> list[Row]:
    """Every solver, and the best built-in setting, at one size."""
    evidence, session = pack("nodes.evidence"), pack("nodes.comfy_bridge.session")
    guider = session.make_guider(model, prompts(model, held_out_prompts(name)),
                                 prompts(model, ()), CFG)

    def work(inside: Any) -> list[Row]:  # noqa: ANN401
        generator = torch.Generator().manual_seed(SEED + 3)
        starts = inside.starts(torch.randn(SEEDS, *size, generator=generator))
        trial = evidence.make_trial(inside, starts, torch.arange(SEEDS), batch_of(size))
        best, _ = trial.best_ordinary(CALLS, everything=False)
        return [_row(name, effort, size, at, trial.solver(solver, "ours"), best)
                for at, solver in solvers.items()]

    return session.within(guider, torch.zeros(batch_of(size), *size), work, seed=0)


def _row(name: str, effort: str, used: Size, searched: Size, ours: Any,  # noqa: ANN401
         best: Any) -> Row:  # noqa: ANN401
    return {"model": name, "effort": effort, "used_at": used, "searched_at": searched,
            "calls": CALLS, "cfg": CFG, "seeds": SEEDS, "error": ours.mean,
            "interval": ours.interval, "builtin": best.label, "builtin_error": best.mean,
            "nearer": int((ours.errors < best.errors).sum())}


def batch_of(size: Size) -> int:
    """Pictures per model call: fewer large ones."""
    return max(4, 2048 // torch.Size(size[1:]).numel())


def said(size: Sequence[int]) -> str:
    """As people write it."""
    side = f"{size[-1]} x {size[-2]}"
    return side if len(size) < 4 else f"{side}, {size[1]} frame{'s' if size[1] > 1 else ''}"


def table(rows: list[Row]) -> str:
    """small_large.md."""
    own = {_place(r): r["error"] for r in rows if r["used_at"] == r["searched_at"]}
    lines = [
        f"| {r['model']} | {r['effort']} | {said(r['used_at'])} | "
        f"{'here' if r['used_at'] == r['searched_at'] else said(r['searched_at'])} | "
        f"{r['error']:.4f} | {r['error'] / r['builtin_error']:.2f} ({r['builtin']}) | "
        f"{r['error'] / own[_place(r)]:.2f} | "
        f"{r['nearer']} of {r['seeds']} |" for r in rows]
    return HEAD.format(calls=CALLS, cfg=CFG, seeds=SEEDS) + "\n".join(lines) + "\n"


def _place(row: Row) -> tuple:
    return row["model"], row["effort"], tuple(row["used_at"])


def main(arguments: list[str]) -> None:
    """Search at every size of some models and use each at every size."""
    parser = argparse.ArgumentParser("run.py bench small-large")
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--effort", choices=("quick", "standard"), default="quick")
    parser.add_argument("--sizes", type=int, help="only so many of a model's sizes, small first")
    options = parser.parse_args(arguments)
    for name in options.models:
        model, sizes = load_model(name), SIZES[name][:options.sizes]
        solvers = {size: found_at(model, name, size, options.effort) for size in sizes}
        for size in sizes:
            write(used_at(model, name, size, solvers, options.effort))


def write(found: list[Row]) -> None:
    """Both files, with new rows in the place of old ones."""
    path = RESULTS / "small_large.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {_place(r) for r in found}
    rows = [r for r in rows if _place(r) not in new]
    rows = json.loads(json.dumps([*rows, *found]))  # tuples as lists, as they are read
    rows.sort(key=lambda r: (list(SIZES).index(r["model"]), r["effort"]))
    path.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    path.with_suffix(".md").write_text(table(rows))
