"""What a search is asked to do: the engine's side of the Search Solver node's widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .methods.dss import DssSettings, beyond_paper, dss
from .methods.fit import FitSettings, fit
from .search import Budget, Run


@dataclass(frozen=True)
class Effort:
    """How much a search may spend for one solver.

    Args:
        fit, held_out: starts searched on, and starts kept for choosing.
        model_calls: most model calls, teacher and choosing included (fit methods).
        teacher_calls: calls of the accurate teacher per start.
        screened: noises on which every schedule is tried first.
        refined: schedules that are refined.
        iterations: Levenberg-Marquardt steps; DSS takes ten times as many.
        evidence: unseen seeds on which the result is measured afterwards.
    """

    fit: int
    held_out: int
    model_calls: int
    teacher_calls: int
    screened: int
    refined: int
    iterations: int
    evidence: int


EFFORTS = {
    "quick": Effort(8, 4, 1_500, 24, 2, 1, 3, 8),
    "standard": Effort(12, 8, 6_000, 32, 4, 1, 5, 16),
    "thorough": Effort(64, 24, 40_000, 48, 6, 1, 16, 32),
}


@dataclass(frozen=True)
class MethodInfo:
    """A search method as people choose it.

    Args:
        sentence: what it is, in an artist's words.
        gradient: whether it differentiates through the model.
        run: searches, given the book-keeping and the request.
    """

    sentence: str
    gradient: bool
    run: Callable[[Run, SearchConfig], None]


@dataclass(frozen=True)
class SearchConfig:
    """One request.

    Args:
        steps: model calls of the wanted solver.
        method: a key of METHODS.
        effort: a key of EFFORTS.
        seed: of the noises.

    Raises:
        ValueError: for a method, effort or step count that does not exist.
    """

    steps: int
    method: str = "fit"
    effort: str = "standard"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("effort", EFFORTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, found "
                                 f"{getattr(self, name)!r}.")
        if not 2 <= self.steps <= 32:
            raise ValueError(f"steps must be 2 to 32, found {self.steps}.")

    @property
    def sizes(self) -> Effort:
        """The effort's numbers."""
        return EFFORTS[self.effort]

    @property
    def budget(self) -> Budget:
        """What the search may spend; DSS is bounded by its iterations instead."""
        if METHODS[self.method].gradient:
            return Budget()
        return Budget(model_calls=self.sizes.model_calls)


def _fit(run: Run, config: SearchConfig) -> None:
    sizes = config.sizes
    fit(run, FitSettings(teacher_calls=sizes.teacher_calls, starts=sizes.refined,
                         screened=sizes.screened, iterations=sizes.iterations,
                         difference=run.problem.difference))


def _dss(run: Run, config: SearchConfig) -> None:
    dss(run, beyond_paper(_dss_settings(config)))


def _dss_published(run: Run, config: SearchConfig) -> None:
    dss(run, _dss_settings(config))


def _dss_settings(config: SearchConfig) -> DssSettings:
    return replace(DssSettings(), iterations=40 * config.sizes.iterations, seed=config.seed)


METHODS = {
    "fit": MethodInfo("The default: fits step positions and weights to your model without "
                      "training anything. Works with every model, also quantised ones.",
                      False, _fit),
    "dss": MethodInfo("Differentiable Solver Search with a better teacher and steadier learning. "
                      "Slower; needs a full-precision model.", True, _dss),
    "dss_published": MethodInfo("Differentiable Solver Search exactly as in its paper, for "
                                "comparison.", True, _dss_published),
}
