"""Solvers for several numbers of steps from one search: each begins where its neighbour ended.

Over their share of the steps, i / N, the levels of neighbouring solvers lie nearly on one curve
(Dual-Solver, arXiv 2603.03973; BezierFlow, 2512.13255). So the middle number is searched as ever,
and each further one takes its neighbour's levels, stretched to its own steps, beside the few
ordinary schedules that were best there; rows are fitted anew. Starts and teacher are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from .clocks import Clock
from .run import Run
from .search import Budget
from .solver import Solver

FURTHER = 1 / 3  # of one search's budget, for each further number of steps
ORDINARY = 1  # schedules that are tried beside the neighbour's


def outwards(steps: Iterable[int]) -> list[tuple[int, int | None]]:
    """Numbers of steps in the order of the search, each with the neighbour it begins from: the
    middle one first, from none."""
    every = sorted(set(steps))
    middle = (len(every) - 1) // 2
    below, above = every[middle::-1], every[middle:]
    following = [(own, near) for side in (below, above) for near, own in pairwise(side)]
    return [(every[middle], None), *following]


def whole_budget(one: Budget, members: int) -> Budget:
    """What a family may spend whose first member has `one`."""
    return Budget(one.model_calls * (1 + FURTHER * (members - 1)))


def share(one: Budget, steps: int, others: Sequence[int]) -> Budget:
    """What one of the other members may spend: the more steps, the more.

    Args:
        one: what the first has.
        steps: of this one.
        others: of all but the first.
    """
    return Budget(one.model_calls * FURTHER * len(others) * steps / sum(others))


def begun_from(run: Run, schedules: Mapping[str, Tensor], budget: Budget) -> Run:
    """The search for another number of steps, from what a finished one knows.

    Args:
        run: of the neighbour.
        schedules: name -> (N + 1,) the ordinary schedules for the wanted N.
        budget: of the new search.
    """
    problem, best = run.problem, run.best
    ranked = [name for name in run.ranking if name in schedules]
    known = ranked[:ORDINARY] if ranked else list(schedules)
    name, steps = f"from {problem.steps} steps", len(next(iter(schedules.values()))) - 1
    near = {name: stretched(best.sigmas, steps, problem.clock)}
    told = {} if best.model_sigmas is None else {name: near[name][:-1] * told_share(best, steps)}
    wanted = replace(problem, schedules=near | {n: schedules[n] for n in known}, told=told,
                     near=name)
    return Run(wanted, budget, reference=run.reference, teacher_calls=run.teacher_calls,
               traced=run.traced, settled=run.settled, first=run.first, tables=run.tables,
               ranks=run.ranks, sizes=run.sizes)


def stretched(sigmas: Tensor, steps: int, clock: Clock) -> Tensor:
    """(steps + 1,) noise levels along the same curve of progress over the share of steps.

    Monotone cubic interpolation (Fritsch and Butland 1984), so that levels keep falling.
    """
    progress = clock.progress(sigmas.double()).numpy()
    curve = PchipInterpolator(torch.linspace(0, 1, len(sigmas), dtype=torch.float64), progress)
    between = torch.from_numpy(curve(torch.linspace(0, 1, steps + 1, dtype=torch.float64)))
    inner = clock.sigma(between[1:-1])
    return torch.cat([sigmas[:1].double(), inner, sigmas[-1:].double()])


def told_share(solver: Solver, steps: int) -> Tensor:
    """(steps,) told over own noise level of each call, geometrically between the solver's."""
    factors = (solver.model_sigmas / solver.sigmas[:-1]).log().numpy()
    own, wanted = (torch.linspace(0, 1, n, dtype=torch.float64) for n in (len(factors), steps))
    return torch.from_numpy(np.interp(wanted, own, factors)).exp()
