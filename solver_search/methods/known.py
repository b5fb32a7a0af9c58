r"""The best known solver of a setting: every handcrafted table on every ordinary schedule.

They are too many to try. First all are ranked without a model call, by how far each of their
steps leads away from the teacher's own trajectory, on which x and D are known at any sigma:

    miss[n] = ratio[n] x*(sigma[n]) + sum_j rows[n, j] D*(sigma[j]) - x*(sigma[n+1])
    (sum_n |miss[n]|^2 / (1 + sigma[n+1])^4)^(1/2) / |x*(0)|

(later steps mend a part of what is missed at high noise: measured, docs/decisions/known.md). Where
nothing is known to be added by guidance, every second place goes by what becomes of the misses:
with data of a normal distribution of variance s^2 (alpha = 1 - sigma on flow models, else 1),

    e[n+1] = miss[n] + ratio[n] e[n] + sum_j rows[n, j] a(sigma[j]) e[j],   |e[N]| / |x*(0)|
    a(sigma) = alpha s^2 / (alpha^2 s^2 + sigma^2), the slope of D

in the geometric mean over some s. Guidance makes other slopes, on which this order is the worse.
Then, as in successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943), the better ones
are sampled on a few starts, the better of these on four times as many, and so on; each round costs
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
FIRST, GROWTH = {True: 2, False: 4}, 4  # starts of the first round, guided or not; growth of later
FINALISTS = 4  # solvers of the last round that the share must pay for
TRACED = 2  # starts whose trajectories are kept for the ranking at least
RANKED = {True: 2, False: 8}  # by whose trajectories all are ranked at most, guided or not
TINY = 1e-30
WIDTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # variances of normal data, over that of the teacher's ends


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
    left = ranked(run.problem, teacher, run.tables, run.ranks, guided=run.guided)
    affordable = share * run.budget.model_calls / run.problem.steps
    most = int(max(1, min(len(items), affordable / FINALISTS)))
    rounds = _rounds(FIRST[run.guided], most)
    for before, until in pairwise([0, *rounds]):
        count = affordable / len(rounds) / (until - before)
        tried = left[: int(max(1, min(count, len(left))))]
        left = sorted((on_all(run, known, items[:until]) for known in tried),
                      key=lambda known: known.mean)
    run.tell(f"best known: {left[0].label}, {left[0].mean:.4f} on {rounds[-1]} starts")
    return left


@torch.no_grad()
def ranked(problem: Problem, teacher: Trajectory, tables: tuple[str, ...] = (),
           ranks: Ranks = ALONE, *, guided: bool = False) -> list[Known]:
    """All tables, or those named, on all schedules, untried, the most promising first; costs no
    model call. Guided: guidance is known to add something.

    Tables that blow up by themselves are left out (free rows of ipndm_v, see there).
    """
    tables = tables or (HANDCRAFTED if problem.flow else HANDCRAFTED + EPS_ONLY)
    every, found = torch.arange(min(RANKED[guided], teacher.states.shape[1])), []
    few, missed = ranks.own(every), []
    spread = teacher.end[few].flatten(1).var(dim=1, correction=0)
    variance = float(ranks.gathered(spread, every).mean())
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
            miss = misses(solver, states, outputs)
            both = [local_errors(solver, miss)]
            if not guided:
                both.insert(0, landing_errors(solver, miss, variance))
            missed.append(torch.stack(both, dim=1) / states[-1].flatten(1).norm(dim=1)[:, None])
    means = ranks.gathered(torch.stack(missed, dim=1), every).mean(0)
    return [found[i] for i in _in_turns(means)]


def _in_turns(scores: Tensor) -> list[int]:
    """Places by every column of scores (M, K) in turns: the first of each, the second of each."""
    orders = scores.argsort(dim=0).tolist()
    return list(dict.fromkeys(i for row in orders for i in row))


def misses(solver: Solver, states: Tensor, outputs: Tensor) -> Tensor:
    """(N, S, D) where a solver's steps, each from true states and outputs, miss the true states.

    Args:
        states: (N + 1, S, C, ...) of the ODE at the solver's sigmas.
        outputs: (N, S, C, ...) denoised there.
    """
    ratio, rows = (t.to(states) for t in denoised_steps(solver))
    stepped = torch.einsum("n,n...->n...", ratio, states[:-1]) + torch.einsum(
        "nj,j...->n...", rows, outputs)
    return (stepped - states[1:]).flatten(2)


def local_errors(solver: Solver, missed: Tensor) -> Tensor:
    """(S,) length of misses(), those at high noise counting less."""
    weight = (1 + solver.sigmas[1:, None].to(missed)) ** -2
    return (weight * missed.norm(dim=2)).norm(dim=0)


def landing_errors(solver: Solver, missed: Tensor, variance: float) -> Tensor:
    """(S,) how far misses() lead from the true end with normal data of about this variance."""
    products = torch.einsum("nsd,msd->snm", missed, missed).double()
    logs = []
    for width in WIDTHS:
        carried = _carried(solver, width * variance)
        logs.append(torch.einsum("n,snm,m->s", carried, products, carried).clamp_min(TINY).log())
    return torch.stack(logs).mean(0).div(2).exp()


def _carried(solver: Solver, variance: float) -> Tensor:
    """(N,) what becomes of the miss of each step until the end, with normal data."""
    ratio, rows = denoised_steps(solver)
    sigmas = solver.sigmas[:-1]
    alpha = 1 - sigmas if solver.flow else torch.ones_like(sigmas)
    slope = alpha * variance / (alpha ** 2 * variance + sigmas ** 2)
    carried = torch.zeros_like(sigmas)
    carried[-1] = 1
    for n in range(solver.steps - 1, 0, -1):
        carried[n - 1] = ratio[n] * carried[n] + slope[n] * (rows[n:, n] @ carried[n:])
    return carried


def _rounds(first: int, most: int) -> list[int]:
    """Starts that have been tried on after each round: `first`, four times as many ..., `most`."""
    sizes = [min(first, most)]
    while sizes[-1] < most:
        sizes.append(min(GROWTH * sizes[-1], most))
    return sizes


def on_all(run: Run, known: Known, items: Tensor) -> Known:
    """The same with its errors on all of `items`, the first of which it was tried on."""
    done = len(known.errors)
    if done >= len(items):
        return known
    fresh = run.distances(known.solver, items[done:])
    lengths = torch.cat([known.lengths, fresh]) if done else fresh
    return replace(known, errors=run.relative(lengths, items), lengths=lengths)
