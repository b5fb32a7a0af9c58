r"""Fit: the default. No gradient through the network, so it works with every model.

1. Cache accurate teacher trajectories of a few starts.
2. For each ordinary schedule, fit the rows one after the other by ridge least squares on the
   student's own trajectory against the teacher's state at the next sigma (small Gram matrices;
   ridge toward DPM++ 2M's rows).
3. From the best of them, refine sigmas, rows, row sums and the sigma told to the model by
   Levenberg-Marquardt on the end point: robust per-start weights, Jacobian by finite
   differences in which a parameter re-runs only the calls behind it.
4. Offer the best handcrafted table and every stage; the Run keeps what is best on held-out starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..forms import denoised_steps, from_denoised_rows
from ..metrics import relative_errors
from ..parameters import Parameters, Space, from_solver, to_solver
from ..search import Run
from ..solver import Solver, SolverError
from ..tableaus import TABLEAUS
from ..teacher import Trajectory, accurate_teacher

ROBUST_ERROR = 0.02  # relative error below which a start no longer gains weight
PRIOR = 1e-3
HANDCRAFTED = ("euler", "ab2", "ipndm", "deis", "dpmpp_2m", "res_multistep", "gradient_estimation")
DAMPING_FLOOR = 0.03
LEAST_DAMPING = 1e-3
TRIES = 4


@dataclass(frozen=True)
class FitSettings:
    """How much work a fit does.

    Args:
        teacher_calls: model calls of the teacher per start.
        starts: how many fitted schedules are refined.
        screened: noises on which every schedule is tried; the best are fitted on all.
        iterations: most Levenberg-Marquardt steps per refinement.
        part: starts linearised in one iteration.
        ridge: of the row fits, relative to the size of an output.
        difference: finite-difference step; 2e-3 for float32, 1e-2 float16, 3e-2 bfloat16 models.
        patience: stop when one round over all parts gains less than this share; consistent
            rows give way to free ones at three times it.
        free: also try free row sums (the solver then stays at its shift and range).
    """

    teacher_calls: int = 48
    starts: int = 2
    screened: int = 6
    iterations: int = 10
    part: int = 16
    ridge: float = 1e-4
    difference: float = 2e-3
    patience: float = 0.01
    free: bool = True


def fit(run: Run, settings: FitSettings) -> None:
    """Search without gradients; offers every stage to `run`."""
    problem = run.problem
    teacher = run.trace(accurate_teacher(settings.teacher_calls, problem.sigma_max,
                                         flow=problem.flow))
    first, sigmas = next(iter(problem.schedules.items()))
    run.offer(TABLEAUS["dpmpp_2m"](sigmas, flow=problem.flow), f"dpmpp_2m/{first}")
    fitted = _fitted_rows(run, teacher, settings)
    label, handcrafted = _best_handcrafted(run, [name for name, _ in fitted], settings)
    run.offer(handcrafted, label)
    for name, solver in fitted:
        run.offer(solver, f"rows fitted on {name}")
    space = Space(problem.clock, problem.flow)
    for name, solver in fitted:
        sooner = replace(settings, patience=3 * settings.patience)
        consistent = _refine(run, from_solver(solver, space, scaled=True), space, sooner,
                             f"{name}, consistent")
        if settings.free:
            _refine(run, from_solver(consistent, space, free=True), space, settings,
                    f"{name}, free")


def _best_handcrafted(run: Run, schedules: list[str],
                      settings: FitSettings) -> tuple[str, Solver]:
    """The best known table on these schedules: what a search must at least reach."""
    few, flow = run.fitted[: settings.screened], run.problem.flow
    known = {f"{name}/{schedule}": TABLEAUS[name](run.problem.schedules[schedule], flow=flow)
             for schedule in schedules for name in HANDCRAFTED}
    label = min(known, key=lambda key: float(run.errors(known[key], few).mean()))
    return label, known[label]


def _affordable(run: Run, wanted: int) -> int:
    """Noises to screen all schedules on, for at most a quarter of the budget."""
    each = len(run.problem.schedules) * run.problem.steps
    return max(1, int(min(wanted, run.budget.model_calls / 4 / each)))


def _fitted_rows(run: Run, teacher: Trajectory, settings: FitSettings) -> list[tuple[str, Solver]]:
    """The best schedules with fitted rows, best first by their error where they were fitted."""
    few = run.fitted[: _affordable(run, settings.screened)]
    names = list(run.problem.schedules)
    for items in (few, run.fitted):
        found = []
        for name in names:
            sigmas = run.problem.schedules[name]
            solver, end = fit_rows(run, teacher, sigmas, settings.ridge, items)
            error = float(relative_errors(end, teacher.end[items]).mean())
            found.append((error, name, solver))
            run.tell(f"rows on {name}: {error:.4f}")
        found.sort(key=lambda entry: entry[0])
        names = [name for _, name, _ in found[: settings.starts]]
    return [(name, solver) for _, name, solver in found]


@torch.no_grad()
def fit_rows(run: Run, teacher: Trajectory, sigmas: Tensor, ridge: float,
             items: Tensor) -> tuple[Solver, Tensor]:
    """Rows by sequential least squares on the student's own trajectory.

    With r = sigma'/sigma the row w minimises |x*(sigma') - r x - (1 - r) sum_j w_j D_j|^2 over
    rows that sum to 1, plus ridge |D_n|^2 |w - w_2M|^2.

    Args:
        sigmas: (N + 1,) falling to 0.
        ridge: relative to an output's mean square.
        items: starts to fit on.

    Returns:
        the solver and its end points (len(items), C, ...).
    """
    x, denoise = run.problem.starts[items], run.denoise(items)
    prior = _denoised_rows(TABLEAUS["dpmpp_2m"](sigmas, flow=run.problem.flow))
    outputs: list[Tensor] = []
    rows = torch.zeros_like(prior)
    for n in range(len(sigmas) - 1):
        outputs.append(denoise(x, sigmas[n].to(x.dtype).to(x.device)))
        r = float(sigmas[n + 1] / sigmas[n])
        target = (teacher.at(float(sigmas[n + 1]))[items] - r * x) / (1 - r)
        rows[n, : n + 1] = _ridge_row(outputs, target, prior[n, : n + 1], ridge)
        x = r * x + (1 - r) * _blend(rows[n], outputs)
    return from_denoised_rows(sigmas, rows, flow=run.problem.flow), x


def _ridge_row(outputs: list[Tensor], target: Tensor, prior: Tensor, ridge: float) -> Tensor:
    newest = outputs[-1]
    if len(outputs) == 1:
        return torch.ones(1, dtype=torch.float64)
    columns = torch.stack([(d - newest).flatten().double() for d in outputs[:-1]])
    rest = (target - _blend(prior, outputs)).flatten().double()
    gram = (columns @ columns.T).cpu()
    damping = ridge * float(newest.double().square().sum())
    change = torch.linalg.solve(gram + damping * torch.eye(len(gram), dtype=torch.float64),
                                (columns @ rest).cpu())
    return prior + torch.cat([change, -change.sum()[None]])


def _blend(row: Tensor, outputs: list[Tensor]) -> Tensor:
    terms = [float(w) * d for w, d in zip(row, outputs, strict=False)]
    return torch.stack(terms).sum(0)


def _denoised_rows(solver: Solver) -> Tensor:
    _, rows = denoised_steps(solver)
    return rows / (1 - solver.sigmas[1:] / solver.sigmas[:-1])[:, None]


@dataclass(frozen=True)
class Coordinate:
    """One number a refinement may change.

    Args:
        kind: progress, row, start or scale.
        index: which one.
        call: first model call whose input it changes.
        limit: most it may move in one step.
        step: finite-difference step.
    """

    kind: str
    index: tuple[int, ...]
    call: int
    limit: float
    step: float


def coordinates(raw: Parameters, progress: Tensor, difference: float) -> list[Coordinate]:
    """All free numbers of a solver, in the order of the calls they first touch."""
    count, free = len(raw.steps), raw.start is not None
    gaps = progress.diff()
    found = []
    for k in range(1, count):
        gap = float(min(gaps[k - 1], gaps[k]))
        found.append(Coordinate("progress", (k,), k, 0.4 * gap, 5 * difference * gap))
    for n in range(count):
        last = n + 1 if free else n
        found += [Coordinate("row", (n, j), n + 1, 1.0, difference) for j in range(last)]
        if free and n + 1 < count:
            found.append(Coordinate("start", (n,), n + 1, 0.2, difference))
        if raw.scales is not None:
            found.append(Coordinate("scale", (n,), n, 0.4, difference))
    return sorted(found, key=lambda c: c.call)


def moved(raw: Parameters, space: Space, along: list[Coordinate], change: Tensor) -> Parameters:
    """Raw numbers after adding `change` to the given coordinates (progress: not its logits)."""
    progress = space.clock.progress(space.clock.sigma(_progress(raw)))
    tensors = {"row": raw.rows.clone(), "start": _copy(raw.start), "scale": _copy(raw.scales),
               "progress": progress}
    for coordinate, delta in zip(along, change.tolist(), strict=True):
        tensors[coordinate.kind][coordinate.index] += delta
    steps = tensors["progress"].diff().clamp_min(1e-9).log()
    return Parameters(steps, tensors["row"], tensors["start"], tensors["scale"])


def _progress(raw: Parameters) -> Tensor:
    gaps = raw.steps.softmax(0)
    return torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0)[:-1],
                      torch.ones(1, dtype=torch.float64)])


def _copy(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.clone()


def _refine(run: Run, raw: Parameters, space: Space, settings: FitSettings,
            label: str) -> Solver:
    """Levenberg-Marquardt from `raw`; offers each accepted step; returns the last one.

    Starts are split into parts. Each part keeps the quadratic model of its loss at the point
    where it was last linearised; a step minimises the sum of all, and only one part is
    linearised anew in each iteration (sum of functions, Sohl-Dickstein et al. 2014,
    arXiv 1311.2115). A step must lower the loss of all starts.
    """
    parts = run.fitted.split(settings.part)
    models: dict[int, _Quadratic] = {}
    errors = run.errors(to_solver(raw, space), run.fitted)
    damping, losses = 1e-2, [float(robust(errors))]
    for iteration in range(settings.iterations):
        along = coordinates(raw, _progress(raw), settings.difference)
        for k in range(len(parts)) if not models else [iteration % len(parts)]:
            models[k] = _linearised(run, raw, space, along, parts[k])
        hessian, slope = _total(models, _values(raw, along))
        steps = _steps(hessian, slope, along, damping, losses[-1])
        found = _first_better(run, raw, space, along, steps, losses[-1])
        if found is not None:
            raw, solver, errors, damping = found
            run.offer(solver, f"{label}, step {iteration + 1}")
        losses.append(float(robust(errors)))
        if len(losses) > len(parts) and losses[-1] > (1 - settings.patience) * losses[
                -1 - len(parts)]:
            break
    return to_solver(raw, space)


@dataclass(frozen=True)
class _Quadratic:
    """Model of a part's loss around `centre`."""

    hessian: Tensor
    slope: Tensor
    centre: Tensor


def _total(models: dict[int, _Quadratic], here: Tensor) -> tuple[Tensor, Tensor]:
    """Hessian and slope of the summed models at `here`."""
    hessian = torch.stack([m.hessian for m in models.values()]).sum(0)
    slopes = [m.slope + m.hessian @ (here - m.centre) for m in models.values()]
    return hessian, torch.stack(slopes).sum(0)


def _values(raw: Parameters, along: list[Coordinate]) -> Tensor:
    """(P,) the coordinates' present values."""
    tensors = {"row": raw.rows, "start": raw.start, "scale": raw.scales,
               "progress": _progress(raw)}
    return torch.stack([tensors[c.kind][c.index] for c in along])


def _first_better(run: Run, raw: Parameters, space: Space, along: list[Coordinate],
                  steps: Iterator[tuple[Tensor, float]], before: float,
                  ) -> tuple[Parameters, Solver, Tensor, float] | None:
    """The first damped step that lowers the loss, and a smaller damping for the next."""
    for change, damping in steps:
        tried = moved(raw, space, along, change)
        solver = _valid(tried, space)
        if solver is None:
            continue
        errors = run.errors(solver, run.fitted)
        if robust(errors) < before:
            return tried, solver, errors, max(damping / 4, LEAST_DAMPING)
    return None


def robust(errors: Tensor) -> Tensor:
    """Mean of a Huber-like loss whose gradient weights starts by 1 / sqrt(e^2 + delta^2)."""
    return (errors.square() + ROBUST_ERROR ** 2).sqrt().mean() - ROBUST_ERROR


def _steps(hessian: Tensor, slope: Tensor, along: list[Coordinate], damping: float,
           loss: float) -> Iterator[tuple[Tensor, float]]:
    """Damped steps inside the box, shorter and shorter."""
    diagonal = hessian.diagonal()
    scale = diagonal + DAMPING_FLOOR * diagonal.mean()
    limits = torch.tensor([c.limit for c in along], dtype=torch.float64)
    prior = PRIOR * loss * torch.eye(len(along), dtype=torch.float64)
    tries = 0
    while tries < TRIES and damping < 1e8:
        change = -torch.linalg.solve(hessian + damping * torch.diag(scale) + prior, slope)
        if (change.abs() <= limits).all():
            tries += 1
            yield change, damping
            damping *= 2
        damping *= 4


def _valid(raw: Parameters, space: Space) -> Solver | None:
    try:
        return to_solver(raw, space)
    except SolverError:
        return None


@torch.no_grad()
def _linearised(run: Run, raw: Parameters, space: Space, along: list[Coordinate],
                part: Tensor) -> _Quadratic:
    """Weighted J'J and J'r of the end points of some starts, as their share of the mean."""
    steps = torch.tensor([c.step for c in along], dtype=torch.float64)
    neighbours = [to_solver(moved(raw, space, along, one), space) for one in torch.diag(steps)]
    solvers = [to_solver(raw, space), *neighbours]
    hessian = torch.zeros(len(along), len(along), dtype=torch.float64)
    slope = torch.zeros(len(along), dtype=torch.float64)
    size = run.reference_of(run.fitted).double().flatten(1).norm(dim=1).square().mean().sqrt()
    for items in part.split(max(1, run.problem.batch // 4)):
        ends = _perturbed_ends(run, solvers, [c.call for c in along], items)
        residual = (ends[0] - run.reference_of(items)).flatten(1).double() / size
        change = (ends[1:] - ends[0]).flatten(2).double()
        jacobian = change / (size * steps.to(ends.device)[:, None, None])
        weight = (residual.square().sum(1) + ROBUST_ERROR ** 2).rsqrt()
        hessian += torch.einsum("psd,qsd,s->pq", jacobian, jacobian, weight).cpu()
        slope += torch.einsum("psd,sd,s->p", jacobian, residual, weight).cpu()
    count = len(run.fitted)
    return _Quadratic(hessian / count, slope / count, _values(raw, along))


def _perturbed_ends(run: Run, solvers: list[Solver], calls: list[int], items: Tensor) -> Tensor:
    """(1 + P, S, C, ...) end points of the base solver and of P neighbours.

    Neighbour p shares all model calls before calls[p] with the base; calls is sorted.
    """
    x0 = run.problem.starts[items]
    plans = [denoised_steps(s) for s in solvers]
    ratio = torch.stack([p[0] for p in plans]).to(x0.dtype).to(x0.device)
    rows = torch.stack([p[1] for p in plans]).to(x0.dtype).to(x0.device)
    told = torch.stack([s.sigmas[:-1] if s.model_sigmas is None else s.model_sigmas
                        for s in solvers]).to(x0.dtype).to(x0.device)
    count, shape = len(solvers), (-1,) + (1,) * x0.ndim
    x = x0.expand(count, *x0.shape)
    outputs: list[Tensor] = []
    for n in range(solvers[0].nfe):
        active = 1 + sum(call <= n for call in calls)
        outputs.append(_shared_call(run, x, told[:, n], active, items))
        x = ratio[:, n].reshape(shape) * x
        for j in range(n + 1):
            x = x + rows[:, n, j].reshape(shape) * outputs[j]
    return x


def _shared_call(run: Run, x: Tensor, told: Tensor, active: int, items: Tensor) -> Tensor:
    """(P, S, ...) outputs where only the first `active` neighbours differ from the base."""
    states = x[:active].reshape(-1, *x.shape[2:])
    sigma = told[:active].repeat_interleave(len(items))
    fresh = run.call(states, sigma, items.repeat(active)).reshape(active, *x.shape[1:])
    return torch.cat([fresh, fresh[:1].expand(len(x) - active, *x.shape[1:])])
