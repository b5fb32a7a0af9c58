"""A preset as a search leaves them: free rows, means of their own, noise levels of its own,
and what guidance adds weighed apart.

No such table is a good solver; it only must differ, clearly and everywhere, from what plumbing
might put in its place: rows that sum to 1, one table for means and rest, no guidance weights, the
levels visited instead of those told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tests.pack import load, preset_of

from .families import Subject

STEPS, CFG, SEED = 4, 3.0, 5
LEAST, MOST = 0.03, 0.06  # how far sums, starts, levels and weights are from a plain table's


def simple(subject: Subject, steps: int = STEPS) -> Tensor:
    """ComfyUI's "simple" noise levels."""
    import comfy.samplers

    ms = subject.model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(ms, "simple", steps)


def euler(subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
    """Euler as a preset, on the "simple" noise levels that a KSampler takes its last steps of."""
    sigmas = simple(subject, round(steps / denoise)).double()
    flow = load("nodes.comfy_bridge.model").facts(subject.model).flow
    return preset_for(subject, load("solver_search.tableaus").TABLEAUS["euler"](sigmas, flow=flow))


def searched(subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
    """A small random table for the whole way, whatever share of it is asked for."""
    return preset_for(subject, random_solver(subject, steps))


def skipping(subject: Subject, steps: int = STEPS, denoise: float = 1.0) -> Any:  # noqa: ANN401
    """The same without a model call in the first step, as DLMS's analytic one."""
    solver = random_solver(subject, steps)
    unread = torch.ones(steps, steps, dtype=torch.float64)
    unread[:, 0] = 0
    return preset_for(subject, replace(
        solver, weights=solver.weights * unread,
        beside={name: table * unread for name, table in solver.beside.items()}))


def preset_for(subject: Subject, solver: Any) -> Any:  # noqa: ANN401
    """A preset around a solver, as if it were searched on this model."""
    facts = load("nodes.comfy_bridge.model").facts(subject.model)
    return preset_of(solver, prediction=facts.prediction, shift=facts.shift, guidance=CFG)


def random_solver(subject: Subject, steps: int) -> Any:  # noqa: ANN401
    """A Solver from the model's highest noise level to 0, the same at every call."""
    generator = torch.Generator().manual_seed(7)
    levels = simple(subject, steps).double()
    inner = _some(generator, steps - 1, 0.0, 0.3)
    sigmas = torch.cat([levels[:1], torch.lerp(levels[1:-1], levels[2:], inner), levels[-1:]])
    flow = load("nodes.comfy_bridge.model").facts(subject.model).flow
    tables = [_free(load("solver_search.tableaus").TABLEAUS[name](sigmas, flow=flow).weights,
                    generator) for name in ("ab2", "euler")]
    told = sigmas[:-1] * (1 - _some(generator, steps))
    return load("solver_search.solver").Solver(
        sigmas, tables[0], flow, 1 + _signs(generator, steps) * _some(generator, steps), told,
        beside={"mean_weights": tables[1], **guidance_tables(generator, steps)})


def guidance_tables(generator: torch.Generator, steps: int) -> dict[str, Tensor]:
    """Small weights over what guidance adds, and others over its means; all of them count."""
    count = steps * steps
    return {name: (_signs(generator, count) * _some(generator, count)).reshape(steps, -1).tril()
            for name in ("guidance_weights", "guidance_mean_weights")}


def _free(table: Tensor, generator: torch.Generator) -> Tensor:
    """The table with other entries, and rows that sum to something else."""
    steps = len(table)
    noise = torch.randn(steps, steps, generator=generator, dtype=torch.float64)
    moved = (table + 0.05 * noise).tril()
    sums = 1 + _signs(generator, steps) * _some(generator, steps)
    moved.diagonal().add_(sums - moved.sum(dim=1))
    return moved


def _some(generator: torch.Generator, count: int, least: float = LEAST,
          most: float = MOST) -> Tensor:
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    return least + (most - least) * drawn


def _signs(generator: torch.Generator, count: int) -> Tensor:
    return torch.randint(0, 2, (count,), generator=generator, dtype=torch.float64) * 2 - 1
