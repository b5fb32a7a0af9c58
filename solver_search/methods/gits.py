r"""GITS (Chen et al., ICML 2024, arXiv 2405.11326): a schedule by dynamic programming.

    cost[i, j] = mean over starts of |x_i + (sigma_j - sigma_i) d_i - x_j|   on a fine trajectory
    V[i, k]    = min over j > i of cost[i, j] + gamma V[j, k - 1]

Only the teacher's trajectories are needed. On the schedule found, each handcrafted solver is
offered: learned steps with known rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..run import Run
from ..search import SearchError
from ..tableaus import TABLEAUS
from ..teacher import Trajectory, accurate_teacher

TABLES = ("euler", "ipndm", "dpmpp_2m", "deis")


@dataclass(frozen=True)
class GitsSettings:
    """How GITS runs.

    Args:
        teacher_calls: model calls per start; the schedule is a choice among their sigmas.
        gamma: weight of later costs in earlier ones (paper: 1.15).
    """

    teacher_calls: int = 60
    gamma: float = 1.15


def gits(run: Run, settings: GitsSettings) -> None:
    """Find the schedule and offer known solvers on it."""
    problem = run.problem
    teacher = run.trace(accurate_teacher(settings.teacher_calls, problem.sigma_max,
                                         flow=problem.flow))
    path = cheapest_path(_costs(run, teacher), problem.steps, settings.gamma)
    for name in TABLES:
        run.offer(TABLEAUS[name](teacher.sigmas[path], flow=problem.flow), f"{name} on gits steps")


def _costs(run: Run, teacher: Trajectory) -> Tensor:
    """jump_costs() of all starts, of which each rank knows its own."""
    own, count = run.ranks.own(run.fitted), len(teacher.sigmas)
    cost = jump_costs(teacher, own) * (len(own) / len(run.fitted)) if len(own) else (
        torch.zeros(count, count, dtype=torch.float64))
    return run.ranks.summed(cost)


def jump_costs(teacher: Trajectory, items: Tensor) -> Tensor:
    """(L + 1, L + 1) mean length of the error of one Euler jump from state i to state j > i.

    Entries at or below the diagonal are infinite.
    """
    count = len(teacher.sigmas)
    cost = torch.full((count, count), float("inf"), dtype=torch.float64)
    for i in range(count - 1):
        steps = (teacher.sigmas[i + 1:] - teacher.sigmas[i]).to(teacher.states.dtype)
        x, d = teacher.states[i, items].flatten(1), teacher.directions[i, items].flatten(1)
        for j, step in enumerate(steps, i + 1):
            missed = x + step * d - teacher.states[j, items].flatten(1)
            cost[i, j] = missed.norm(dim=1).mean()
    return cost


def cheapest_path(cost: Tensor, steps: int, gamma: float) -> list[int]:
    """Indices 0 = i_0 < ... < i_steps = last with the least discounted cost.

    Args:
        cost: (L + 1, L + 1) of a jump i -> j.
        steps: N, number of jumps.
        gamma: see the module's formula.

    Raises:
        SearchError: if there are fewer states than jumps, or gamma is not positive.
    """
    last = len(cost) - 1
    if not 1 <= steps <= last or gamma <= 0:
        raise SearchError(f"steps must be 1 to {last}, the jumps of the trajectory, and gamma "
                          f"positive, found {steps} and {gamma:g}. Raise teacher_calls.")
    value = torch.full((last + 1,), float("inf"), dtype=torch.float64)
    value[last] = 0
    choices = []
    for _ in range(steps):
        value, choice = (cost + gamma * value).min(dim=1)
        choices.append(choice)
    path = [0]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return path
