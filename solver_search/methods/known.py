r"""The best known solver of a setting: every handcrafted table on every ordinary schedule.

They are too many to try. First all are ranked without a model call, by how far each of their
steps leads away from the teacher's own trajectory, on which x and D are known at any sigma:

    miss[n] = ratio[n] x*(sigma[n]) + sum_j rows[n, j] D*(sigma[j]) - x*(sigma[n+1])
    (sum_n |miss[n]|^2 / (1 + sigma[n+1])^4)^(1/2) / |x*(0)|

(later steps mend a part of what is missed at high noise: measured, docs/decisions/known.md).
Then, as in successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943), the better ones
are sampled on two starts, the better of these on four times as many, and so on; each round costs
the same. What counts is the mean relative error: it sees the starts that end elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..forms import denoised_steps
from ..ranks import ALONE, Ranks
from ..run import Run
from ..search import Problem
from ..solver import Solver, SolverError
from ..tableaus import TABLEAUS
from ..teacher import Trajectory

HANDCRAFTED = ("euler", "ab2", "lms", "ipndm", "ipndm_v", "deis", "dpmpp_2m", "res_multistep",
               "gradient_estimation", "denoised_ab2", "denoised_ab3")
EPS_ONLY = ("flow_ab2",)  # on flow models it is the lms of order 2
FIRST, GROWTH = 2, 4  # starts of the first round, and how many times more in each later one
FINALISTS = 4  # solvers of the last round that the share must pay for
TRACED = 2  # starts whose trajectories rank all


@dataclass(frozen=True)
class Known:
    """A handcrafted table on an ordinary schedule.

    Args:
        label: as people write it, dpmpp_2m/karras.
        solver: what it is.
        errors: (S,) relative errors on the starts it was tried on, in their order.
        lengths: (S, M) how far it landed from the teacher there.
    """

    label: str
    solver: Solver
    errors: Tensor
    lengths: Tensor

    @property
    def table(self) -> str:
        """Name of its table."""
        return self.label.partition("/")[0]

    @property
    def schedule(self) -> str:
        """Name of its schedule."""
        return self.label.partition("/")[2]

    @property
    def mean(self) -> float:
        """Mean relative error; infinite where a start diverged."""
        return float(self.errors.nan_to_num(nan=float("inf")).mean())


def best_known(run: Run, teacher: Trajectory, items: Tensor, share: float) -> list[Known]:
    """The best handcrafted tables on the ordinary schedules.

    Args:
        run: after trace().
        teacher: trajectories of its first starts; a few are used.
        items: (S,) starts to choose on, the first ones for all.
        share: of the run's budget, at most about what is spent.

    Returns:
        those that reached the last round, best first, all tried on the same starts: as many of
        `items` as the share pays for.
    """
    run.stage = "known"
    left = ranked(run.problem, teacher, run.tables, run.ranks)
    affordable = share * run.budget.model_calls / run.problem.steps
    rounds = _rounds(int(max(1, min(len(items), affordable / FINALISTS))))
    for before, until in pairwise([0, *rounds]):
        count = affordable / len(rounds) / (until - before)
        tried = left[: int(max(1, min(count, len(left))))]
        left = sorted((_tried(run, known, items[:until], before) for known in tried),
                      key=lambda known: known.mean)
    run.tell(f"best known: {left[0].label}, {left[0].mean:.4f} on {rounds[-1]} starts")
    return left


@torch.no_grad()
def ranked(problem: Problem, teacher: Trajectory, tables: tuple[str, ...] = (),
           ranks: Ranks = ALONE) -> list[Known]:
    """All tables, or those named, on all schedules, untried, the most promising first; costs no
    model call.

    Tables that blow up by themselves are left out (free rows of ipndm_v, see there).
    """
    tables = tables or (HANDCRAFTED if problem.flow else HANDCRAFTED + EPS_ONLY)
    every, found = torch.arange(min(TRACED, teacher.states.shape[1])), []
    few, missed = ranks.own(every), []
    for schedule, sigmas in problem.schedules.items():
        states = torch.stack([teacher.at(float(sigma), few) for sigma in sigmas])
        outputs = torch.stack([teacher.denoised(float(sigma), few) for sigma in sigmas[:-1]])
        for name in tables:
            try:
                solver = TABLEAUS[name](sigmas, flow=problem.flow)
            except SolverError:
                continue
            known = Known(f"{name}/{schedule}", solver, torch.zeros(0), torch.zeros(0))
            found.append(known)
            missed.append(local_errors(solver, states, outputs))
    means = ranks.gathered(torch.stack(missed, dim=1), every).mean(0).tolist()
    return [known for _, known in sorted(zip(means, found, strict=True),
                                         key=lambda pair: pair[0])]


def local_errors(solver: Solver, states: Tensor, outputs: Tensor) -> Tensor:
    """How far a solver's steps, each from true states and outputs, miss the true states.

    Args:
        states: (N + 1, S, C, ...) of the ODE at the solver's sigmas.
        outputs: (N, S, C, ...) denoised there.

    Returns:
        (S,) the module's measure.
    """
    ratio, rows = (t.to(states) for t in denoised_steps(solver))
    stepped = torch.einsum("n,n...->n...", ratio, states[:-1]) + torch.einsum(
        "nj,j...->n...", rows, outputs)
    weight = (1 + solver.sigmas[1:, None].to(states)) ** -2
    missed = (weight * (stepped - states[1:]).flatten(2).norm(dim=2)).norm(dim=0)
    return missed / states[-1].flatten(1).norm(dim=1)


def _rounds(most: int) -> list[int]:
    """Starts that have been tried on after each round: 2, 8, 32, ..., `most`."""
    sizes = [min(FIRST, most)]
    while sizes[-1] < most:
        sizes.append(min(GROWTH * sizes[-1], most))
    return sizes


def _tried(run: Run, known: Known, items: Tensor, done: int) -> Known:
    """The same with its errors on all of `items`; the first `done` are known."""
    fresh = run.distances(known.solver, items[done:])
    lengths = torch.cat([known.lengths, fresh]) if done else fresh
    return replace(known, errors=run.relative(lengths, items), lengths=lengths)
