"""Solvers away from where they were searched: another model, another size, a LoRA.

Searched at 6 and 8 calls; the opponent is the best setting of the popular samplers, chosen where
it is used. The LoRA is random, of rank 4 on every linear layer; it moves the reference's pictures
by 0.37 (demo_flow) and 0.41 (bench_wan) of their size. Other CFG scales are rows of quality.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .cells import SEED, Cell, load_found
from .loading import LATENTS, load_model, pack
from .quality import RESULTS

SEEDS, CALLS, CFG = 128, (6, 8), 3.0
STRENGTH = 0.25  # see the module for what it does to pictures
Row = dict[str, Any]
HEAD = """# Away from where it was searched

Mean relative error, CFG 3, thorough searches of the default method; ratio to the best setting of
the popular built-in samplers (every schedule) at the place of use.

| used on | searched on | calls | error | best built-in | ratio |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Place:
    """Where solvers are used.

    Args:
        label: of the table.
        model: which is loaded.
        size: (C, ...) of the latents.
        change: done to the model first.
    """

    label: str
    model: str
    size: tuple[int, ...]
    change: Callable[[Any], Any] = lambda model: model


def places() -> list[Place]:
    """Each trained flow model as it is, larger, and with a LoRA."""
    found = []
    for name in ("demo_flow", "bench_wan"):
        size = LATENTS[name]
        larger = (*size[:-2], 12, 12)
        found += [Place(name, name, size), Place(f"{name}, 12 x 12 latents", name, larger),
                  Place(f"{name} with a LoRA", name, size, with_lora)]
    return found


def with_lora(model: Any) -> Any:  # noqa: ANN401
    """The model with a random LoRA."""
    generator = torch.Generator().manual_seed(1)
    weights = {k: w for k, w in model.model_state_dict().items()
               if w.ndim == 2 and k.endswith("weight")}
    patched = model.clone()
    patched.add_patches({key: ("diff", (_low_rank(w, generator),))
                         for key, w in weights.items()}, STRENGTH)
    return patched


def _low_rank(weight: Tensor, generator: torch.Generator) -> Tensor:
    up = torch.randn(weight.shape[0], 4, generator=generator)
    down = torch.randn(4, weight.shape[1], generator=generator)
    return up @ down / 2 * weight.float().std()


def rows(place: Place) -> Iterator[Row]:
    """All solvers at one place."""
    model = place.change(load_model(place.model))
    cell = Cell(place.model, model, CFG, SEEDS)
    latent = torch.zeros(cell.batch, *place.size)

    def work(session: Any) -> list[Row]:  # noqa: ANN401
        generator = torch.Generator().manual_seed(SEED + 2)
        starts = session.starts(torch.randn(SEEDS, *place.size, generator=generator))
        trial = pack("nodes.evidence").make_trial(session, starts, torch.arange(SEEDS),
                                                  cell.batch)
        return [row for calls in CALLS for row in _measured(trial, place, cell, calls)]

    yield from pack("nodes.comfy_bridge.session").within(cell.unseen_guider, latent, work, seed=0)


def _measured(trial: Any, place: Place, cell: Cell, calls: int) -> Iterator[Row]:  # noqa: ANN401
    best, _ = trial.best_ordinary(calls, everything=False)
    for source in ("demo_flow", "bench_wan"):
        found = load_found(replace(cell, name=source).found_path(calls, "fit", "thorough"))
        ours = trial.solver(found.preset.solver, source)
        yield {"used_on": place.label, "searched_on": source, "nfe": calls,
               "error_mean": ours.mean, "error_ci": ours.interval, "handcrafted": best.label,
               "handcrafted_error": best.mean, "seeds": SEEDS}


def table(found: list[Row]) -> str:
    """transfer.md."""
    return HEAD + "".join(
        f"| {r['used_on']} | {r['searched_on']} | {r['nfe']} | {r['error_mean']:.4f} | "
        f"{r['handcrafted_error']:.4f} ({r['handcrafted']}) | "
        f"{r['error_mean'] / r['handcrafted_error']:.2f} |\n" for r in found)


def main(results: Path = RESULTS) -> None:
    """Measure all and write transfer.json and transfer.md."""
    found = [row for place in places() for row in rows(place)]
    (results / "transfer.json").write_text(json.dumps({"rows": found}, indent=1) + "\n")
    (results / "transfer.md").write_text(table(found))
