r"""Rows by sequential ridge least squares on the student's own trajectory: no gradients.

With r = sigma'/sigma and the teacher's state x* the row of a step minimises

    consistent  |x*(sigma') -   r x - (1 - r) sum_j w_j D_j|^2 + ridge ...,  sum_j w_j = 1
    free        |x*(sigma') - k r x - (1 - r) sum_j w_j D_j|^2 + ridge ...

where ridge pulls w to the row of the best known table and k to 1. Where what guidance adds has
rows of its own, (1 - r) sum_j v_j G_j joins the sum, v pulled to 0. How strong the pull is, each
row finds out by leaving out one start after the other. Where each channel's mean has rows of its
own, the rest of the states is fitted first, then the means, pulled to those rows. Only small Gram
matrices are kept; x then moves by the solved row, so later rows mend earlier errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bases import BASES, Basis
from ..canvas import Canvas
from ..forms import denoised_steps, from_denoised_rows, gathered
from ..ranks import Ranks
from ..run import Run
from ..solver import Solver, SolverError
from ..tableaus import TABLEAUS
from ..teacher import Trajectory

PRIOR = "dpmpp_2m"
NOTHING = 1e-30  # keeps the equations solvable where an output is exactly zero
PULLS = (0.1, 1.0, 10.0, 100.0, 1000.0)  # times the ridge
LEAST_LEFT_OUT = 3  # starts from which on leaving one out says something
RIDGE = {False: 1e-4, True: 1e-3}  # free rows have more freedom: measured on both demo models


@dataclass(frozen=True)
class Apart:
    """What has rows of its own: what guidance adds, each channel's mean."""

    guidance: bool = False
    means: bool = False

    @property
    def label(self) -> str:
        """For events."""
        return " and ".join(name for name in ("guidance", "means") if getattr(self, name))

    @property
    def bases(self) -> list[Basis]:
        """The further bases."""
        return [b for b in BASES
                if (self.guidance or not b.guidance) and (self.means or not b.mean)]

    def mean_of(self, canvas: Canvas) -> Callable[[Tensor], Tensor] | None:
        """The part of a state that follows rows for means; None: none does."""
        return canvas.means if self.means else None


ALL_ALIKE = Apart()


@torch.no_grad()
def fit_rows(run: Run, teacher: Trajectory, sigmas: Tensor, items: Tensor, *,
             free: bool = False, apart: Apart = ALL_ALIKE, ridge: float | None = None,
             told: Tensor | None = None) -> tuple[Solver, Tensor]:
    """The solver with fitted rows on given sigmas; see RowFit.

    Returns:
        the solver and its end points (len(items), C, ...).

    Raises:
        SolverError: if free rows grow beyond what a solver may hold.
    """
    ridge = RIDGE[free] if ridge is None else ridge
    fit = RowFit(run, teacher, items, free, apart, ridge, told)
    end = fit.walk(sigmas)
    return fit.solver(sigmas, end), end.x


@dataclass(frozen=True)
class Way:
    """Where the starts are.

    Args:
        x: (S, C, ...) states.
        outputs, added: of the calls made so far; what guidance added is kept where it has rows
            of its own.
        rows: of the steps made so far, and those of the means.
    """

    x: Tensor
    outputs: tuple[Tensor, ...] = ()
    added: tuple[Tensor, ...] = ()
    rows: tuple[tuple[Row, Row], ...] = ()


@dataclass(frozen=True)
class RowFit:
    """What rows are fitted to.

    Args:
        run: the search.
        teacher: its first starts are those of the run.
        items: starts to fit on.
        free: row sums and the state's factor are fitted too.
        apart: what gets rows of its own.
        ridge: pull to the known row, relative to an output's square; where there are three
            starts or more, times one of PULLS.
        told: (N,) noise levels told to the model; None: those of the states.
    """

    run: Run
    teacher: Trajectory
    items: Tensor
    free: bool
    apart: Apart
    ridge: float
    told: Tensor | None = None

    @property
    def own(self) -> Tensor:
        """Those of the starts that this rank runs."""
        return self.run.ranks.own(self.items)

    @torch.no_grad()
    def walk(self, sigmas: Tensor) -> Way:
        """The whole way over (N + 1,) noise levels that fall to 0."""
        way = Way(self.run.problem.starts[self.own])
        for n in range(len(sigmas) - 1):
            way = self._stepped(self._called(way, sigmas[n]), sigmas, n)
        return way

    def solver(self, sigmas: Tensor, end: Way) -> Solver:
        """The solver of a finished way."""
        rest, means = zip(*end.rows, strict=True)
        factors = torch.tensor([row.factor for row in rest], dtype=torch.float64)
        flow, start = self.run.problem.flow, factors if self.free else None
        beside = {basis.name: gathered(sigmas.double(), _tabled(
                      [row.of(basis) for row in (means if basis.mean else rest)]),
                      flow=flow, start=start)
                  for basis in self.apart.bases}
        solver = from_denoised_rows(sigmas, _tabled([row.own for row in rest]), flow=flow,
                                    start=start, model_sigmas=self.told)
        return replace(solver, beside=beside)

    def _called(self, way: Way, sigma: Tensor) -> Way:
        asked = (sigma if self.told is None else self.told[len(way.outputs)]).to(way.x)
        denoised = self.run.ranks.together(lambda: self.run.denoise(self.own)(way.x, asked))
        added = (self.run.added,) if self.apart.guidance else ()
        return replace(way, outputs=(*way.outputs, denoised), added=(*way.added, *added))

    def _stepped(self, way: Way, sigmas: Tensor, n: int) -> Way:
        target = self.teacher.at(float(sigmas[n + 1]), self.own).to(way.x)
        step = _Step(way.x, way.outputs, way.added, target, float(sigmas[n + 1] / sigmas[n]),
                     self.ridge, self.items, self.run.ranks)
        prior = _prior(self.run, sigmas, n, free=self.free)
        known = replace(prior, added=torch.zeros(len(way.added), dtype=torch.float64))
        means = self.apart.mean_of(self.run.problem.canvas)
        x, *rows = step.fitted(known, free=self.free, means=means)
        return Way(x, way.outputs, way.added, (*way.rows, tuple(rows)))


class TeacherFit(RowFit):
    """Rows fitted on the teacher's own states: no model call."""

    def _called(self, way: Way, sigma: Tensor) -> Way:
        there, denoised = (state(float(sigma), self.own)
                           for state in (self.teacher.at, self.teacher.denoised))
        return replace(way, x=there, outputs=(*way.outputs, denoised))


@dataclass(frozen=True)
class Row:
    """Weights of the outputs, of what guidance added, and the state's extra factor."""

    own: Tensor
    added: Tensor
    factor: float = 1.0

    def of(self, basis: Basis) -> Tensor:
        """The weights over a further basis."""
        return self.added if basis.guidance else self.own


@dataclass(frozen=True)
class _Step:
    """Where one step begins, the outputs it may use, what guidance added in them (empty: not
    apart), where the teacher is after it, the ridge, and who has which of the starts.

    Starts lie along the first dimension of states and outputs; r is sigma' / sigma.
    """

    x: Tensor
    outputs: tuple[Tensor, ...]
    added: tuple[Tensor, ...]
    target: Tensor
    r: float
    ridge: float
    items: Tensor
    ranks: Ranks

    def fitted(self, known: Row, *, free: bool, means: Callable[[Tensor], Tensor] | None,
               ) -> tuple[Tensor, Row, Row]:
        """The next state, the row and that of the means."""
        if means is None:
            row = self.row(known, free=free, scaled=free)
            return self.after(row), row, row
        rest, mean = self.of(lambda x: x - means(x)), self.of(means)
        row = rest.row(known, free=free, scaled=free)
        mean = replace(mean, x=row.factor * mean.x)
        own = mean.row(replace(row, factor=1.0), free=free, scaled=False)
        return rest.after(row) + mean.after(own), row, own

    def of(self, part: Callable[[Tensor], Tensor]) -> _Step:
        """The same for a part of each state."""
        return replace(self, x=part(self.x), outputs=tuple(part(d) for d in self.outputs),
                       added=tuple(part(g) for g in self.added), target=part(self.target))

    def after(self, row: Row) -> Tensor:
        """The state that a row leads to."""
        moved = row.factor * self.r * self.x + (1 - self.r) * blend(row.own, self.outputs)
        return moved + (1 - self.r) * blend(row.added, self.added) if self.added else moved

    def row(self, known: Row, *, free: bool, scaled: bool) -> Row:
        """The row that comes nearest to the target, pulled to a known one."""
        outputs, share = self.outputs, 1 - self.r
        columns = [share * d for d in outputs] if free else [
            share * (d - outputs[-1]) for d in outputs[:-1]]
        own = len(columns)
        columns += [share * g for g in self.added]
        sizes = [share ** 2 * self._square(outputs[-1])] * len(columns)
        if scaled and self.r > 0:
            columns.append(self.r * self.x)
            sizes.append(self.r ** 2 * self._square(self.x))
        if not columns:
            return known
        gram, slope = (self.ranks.gathered(t, self.items)
                       for t in _gram(columns, self.target - self.after(known)))
        least = torch.diag(torch.tensor(sizes, dtype=torch.float64).clamp_min(NOTHING))
        pull = _pull(gram, slope, self.ridge * least)
        change = torch.linalg.solve(gram.sum(0) + pull * self.ridge * least, slope.sum(0))
        moved, added, factor = change.tensor_split([own, own + len(self.added)])
        moved = moved if free else torch.cat([moved, -moved.sum()[None]])
        return Row(known.own + moved, known.added + added, known.factor + float(factor.sum()))

    def _square(self, x: Tensor) -> float:
        return float(self.ranks.summed(x.square().sum()))


def _tabled(rows: Sequence[Tensor]) -> Tensor:
    """(N, N) of rows of 1, 2 ... N entries, or of none."""
    table = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for n, row in enumerate(rows):
        table[n, : len(row)] = row
    return table


def _gram(columns: list[Tensor], rest: Tensor) -> tuple[Tensor, Tensor]:
    """(S, P, P) and (S, P) inner products of each start, in float64."""
    count = len(columns)
    gram, slope = ([torch.zeros(0, *shape, dtype=torch.float64)] for shape in (
        (count, count), (count,)))
    for s in range(len(rest)):
        a = precise(torch.stack([c[s].flatten() for c in columns]))
        gram.append((a @ a.T).double()[None])
        slope.append((a @ precise(rest[s].flatten())).double()[None])
    return torch.cat(gram), torch.cat(slope)


def _pull(gram: Tensor, slope: Tensor, ridge: Tensor) -> float:
    """Of PULLS the one under which rows fitted on all starts but one miss that one the least,
    summed over the starts."""
    if len(gram) < LEAST_LEFT_OUT:
        return 1.0
    pulls = torch.tensor(PULLS, dtype=torch.float64)
    others = (gram.sum(0) - gram)[None] + pulls[:, None, None, None] * ridge
    slopes = (slope.sum(0) - slope).expand(len(pulls), *slope.shape)
    change = torch.linalg.solve(others, slopes)
    missed = (torch.einsum("rsp,spq,rsq->r", change, gram, change)
              - 2 * torch.einsum("rsp,sp->r", change, slope))
    return PULLS[int(missed.argmin())]


def precise(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def blend(row: Tensor, outputs: Sequence[Tensor]) -> Tensor:
    """sum_j row[j] * outputs[j]."""
    terms = [float(w) * d for w, d in zip(row, outputs, strict=False)]
    return torch.stack(terms).sum(0)


def _prior(run: Run, sigmas: Tensor, n: int, *, free: bool) -> Row:
    """Row n of the best known table; of DPM++ 2M before one is known, or where it cannot be. Rows
    that are not to be free, and are so in the table (those of ipndm_v), get a sum of 1."""
    flow = run.problem.flow
    try:
        solver = TABLEAUS[(*run.tables, PRIOR)[0]](sigmas, flow=flow)
    except SolverError:
        solver = TABLEAUS[PRIOR](sigmas, flow=flow)
    ratio, rows = denoised_steps(solver)
    r = float(sigmas[n + 1] / sigmas[n])
    own, none = rows[n, : n + 1], torch.zeros(0, dtype=torch.float64)
    if not free:
        return Row(own / own.sum(), none)
    return Row(own / (1 - r), none, float(ratio[n]) / r if r > 0 else 1.0)
