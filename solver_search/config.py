"""What a search is asked to do: the engine's side of the Search Solver node's widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .methods.coordinates import linearisation_calls
from .methods.dlms import DlmsSettings, dlms
from .methods.dss import DssSettings, beyond_paper, dss
from .methods.fit import FitSettings, fit
from .methods.gits import GitsSettings, gits
from .methods.s4s import S4SSettings, s4s
from .run import Run
from .search import Budget
from .teacher import TEACHER


@dataclass(frozen=True)
class Effort:
    """How much a search may spend for one solver.

    Args:
        fit, held_out: most starts searched on, and starts kept for choosing.
        model_calls: most model calls, teacher and choosing included; those that methods with a
            gradient make again in a backward pass count, the backward pass itself does not.
        teacher_calls: calls of the accurate teacher per start.
        screened: starts on which every schedule is tried first.
        compared: starts on which the better schedules are compared.
        refined: fitted solvers that begin to be refined; the best goes on.
        iterations: most Levenberg-Marquardt steps.
        evidence: unseen seeds on which the result is measured afterwards.
    """

    fit: int
    held_out: int
    model_calls: int
    teacher_calls: int
    screened: int
    compared: int
    refined: int
    iterations: int
    evidence: int

    @property
    def searched(self) -> int:
        """Starts of the search, those kept for choosing included."""
        return self.fit + self.held_out


LEAST_FIT = 12
ROUND_CALLS = 1_500  # of S4S-Alt's rounds of two phases: fewer teach it nothing
KNOWN_SHARE = 1 / 8  # of the budget, for S4S and DLMS to choose where they begin
FASTER = 2e-2  # S4S's rate: some 50 steps at the 5e-3 of S4SSettings hardly leave their start
DESCENTS = 2_000  # most learning steps of methods with a gradient; the budget ends them sooner
EFFORTS = {
    "quick": Effort(8, 4, 1_500, 24, 2, 8, 1, 12, 8),
    "standard": Effort(12, 8, 6_000, 32, 4, 12, 1, 20, 16),
    "thorough": Effort(96, 32, 40_000, 64, 8, 32, 2, 64, 32),
}


@dataclass(frozen=True)
class MethodInfo:
    """A search method as people choose it.

    Args:
        sentence: what it is, in an artist's words.
        gradient: whether it differentiates through the model.
        search: the method, given the book-keeping and its settings.
        settings: those that a request stands for.
        pace: how long a model call of the search takes, backward passes included, in calls
            without gradient (a backward pass takes about as long as two).
        designer: whether it reads features of the model's middle.
        teacher: what the solver learns from, {} standing for the effort's number of calls.
    """

    sentence: str
    gradient: bool
    search: Callable[[Run, Any], None]
    settings: Callable[[SearchConfig], Any]
    pace: float = 1.0
    teacher: str = f"{TEACHER}, {{}} calls"
    designer: bool = False

    def run(self, run: Run, config: SearchConfig) -> None:
        """Search as requested; offers solvers to `run`."""
        self.search(run, self.settings(config))


@dataclass(frozen=True)
class SearchConfig:
    """One request.

    Args:
        steps: model calls of the wanted solver.
        method: a key of METHODS.
        effort: a key of EFFORTS.
        seed: of the noises.
        denoise: share of the way the solver is for, as KSampler's; 1 begins at pure noise.
        reach: how far from its CFG the solver shall hold: starts are dealt over scales from CFG -
            reach to CFG + reach.

    Raises:
        ValueError: for a method, effort, step count or denoise that does not exist.
    """

    steps: int
    method: str = "fit"
    effort: str = "standard"
    seed: int = 0
    denoise: float = 1.0
    reach: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("effort", EFFORTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, found "
                                 f"{getattr(self, name)!r}.")
        if not 2 <= self.steps <= 32:
            raise ValueError(f"steps must be 2 to 32, found {self.steps}.")
        if not 0.05 <= self.denoise <= 1:
            raise ValueError(f"denoise must be 0.05 to 1, found {self.denoise:g}.")

    @property
    def sizes(self) -> Effort:
        """The effort's numbers; `fit` so that half of its budget pays for learning from each
        start once: more steps have more numbers to learn, and each costs more."""
        sizes = EFFORTS[self.effort]
        if METHODS[self.method].gradient:
            return sizes
        each = sizes.teacher_calls + linearisation_calls(self.steps)
        return replace(sizes, fit=min(sizes.fit, max(LEAST_FIT, sizes.model_calls // 2 // each)))

    @property
    def budget(self) -> Budget:
        """What the search may spend, whatever its method."""
        return Budget(model_calls=self.sizes.model_calls)


def _fit(config: SearchConfig) -> FitSettings:
    sizes = config.sizes
    return FitSettings(teacher_calls=sizes.teacher_calls, starts=sizes.refined,
                       screened=sizes.screened, compared=sizes.compared,
                       iterations=sizes.iterations)


def _dss_published(config: SearchConfig) -> DssSettings:
    return DssSettings(iterations=DESCENTS, seed=config.seed)


def _dss(config: SearchConfig) -> DssSettings:
    return replace(beyond_paper(_dss_published(config)),
                   teacher_calls=config.sizes.teacher_calls)


def _s4s(config: SearchConfig) -> S4SSettings:
    return S4SSettings(iterations=DESCENTS, seed=config.seed, known=KNOWN_SHARE, rate=FASTER,
                       teacher_calls=config.sizes.teacher_calls)


def _s4s_alt(config: SearchConfig) -> S4SSettings:
    rounds = min(4, config.sizes.model_calls // ROUND_CALLS)
    return replace(_s4s(config), alternations=rounds)


def _dlms(config: SearchConfig) -> DlmsSettings:
    return DlmsSettings(iterations=DESCENTS, seed=config.seed, known=KNOWN_SHARE,
                        teacher_calls=config.sizes.teacher_calls)


def _dlms_designer(config: SearchConfig) -> DlmsSettings:
    return replace(_dlms(config), designer=True)


def _gits(config: SearchConfig) -> GitsSettings:
    return GitsSettings()


METHODS = {
    "fit": MethodInfo("The default. Fits step positions and weights to your model without "
                      "training anything; works with every model, also quantised ones, and was "
                      "the best here in nearly every comparison.", False, fit, _fit),
    "dss": MethodInfo("Differentiable Solver Search with a better teacher and steadier learning. "
                      "Slower than fit; needs a full-precision model.", True, dss, _dss, pace=2),
    "dss_published": MethodInfo("Differentiable Solver Search exactly as in its paper, for "
                                "comparison.", True, dss, _dss_published, pace=2,
                                teacher="euler, 100 calls"),
    "s4s": MethodInfo("S4S: keeps a ready-made schedule and learns only how steps are mixed. "
                      "Needs a full-precision model.", True, s4s, _s4s, pace=2),
    "s4s_alt": MethodInfo("S4S-Alt: learns the mixing and the step positions in turns. Needs a "
                          "full-precision model.", True, s4s, _s4s_alt, pace=2),
    "dlms": MethodInfo("DLMS: learns each step by itself from its neighbours; light on memory. "
                       "Needs a full-precision model.", True, dlms, _dlms, pace=5 / 3,
                       teacher="dpmpp_2m, one step between"),
    "dlms_designer": MethodInfo("DLMS with its small network that bends each step for the "
                                "picture at hand. Only for families whose middle ComfyUI shows; "
                                "needs a full-precision model.", True, dlms, _dlms_designer,
                                pace=5 / 3, teacher="dpmpp_2m, one step between", designer=True),
    "gits": MethodInfo("GITS: only looks for good step positions, for the samplers you know. "
                       "The quickest; often no better than the best ready-made schedule.", False,
                       gits, _gits, teacher=f"{TEACHER}, 60 calls"),
}
