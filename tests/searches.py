"""Small search problems, and every method with little to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from solver_search.clocks import arcsinh_clock, flow_clock
from solver_search.methods.dlms import DlmsSettings, dlms
from solver_search.methods.dss import DssSettings, beyond_paper, dss
from solver_search.methods.fit import FitSettings, fit
from solver_search.methods.gits import GitsSettings, gits
from solver_search.methods.s4s import S4SSettings, s4s
from solver_search.run import Method, Run, search
from solver_search.search import Problem
from solver_search.solver import Solver

from .problems import mixture

TOP = {True: 1.0, False: 14.6}
SHORT_FIT = FitSettings(teacher_calls=16, starts=1, iterations=2, screened=2, part=1)
SHORT_DSS = DssSettings(iterations=6, batch=4, teacher_calls=16, offers=3)
SHORT_S4S = S4SSettings(iterations=6, batch=4, teacher_calls=16, offers=3)
METHODS_SHORT: dict[str, Method] = {
    "fit": lambda run: fit(run, SHORT_FIT),
    "dss": lambda run: dss(run, SHORT_DSS),
    "dss, beyond": lambda run: dss(run, replace(beyond_paper(SHORT_DSS), teacher_calls=16)),
    "s4s": lambda run: s4s(run, SHORT_S4S),
    "s4s_alt": lambda run: s4s(run, replace(SHORT_S4S, alternations=2)),
    "dlms": lambda run: dlms(run, DlmsSettings(iterations=6, batch=4, teacher_calls=16, offers=3)),
    "gits": lambda run: gits(run, GitsSettings(teacher_calls=50)),
}


def each_own(flow: bool, calls: list[int] | None = None) -> Callable[..., Tensor]:
    """A mixture of Gaussians whose picture is shifted by its start's number: its own prompt."""
    known = mixture(flow=flow)

    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        if calls is not None:
            calls.append(len(x))
        sigma = sigma.reshape(-1).expand(len(x))
        offset = (0.05 * items.to(x.dtype)).view(-1, 1)
        share = (1 - sigma).view(-1, 1) if flow else 1.0
        return offset + known.denoise(x - share * offset, sigma)
    return denoise


def with_places(known: Problem) -> Problem:
    """The same problem with its five numbers as five places of one channel."""
    return replace(known, starts=known.starts[:, None], denoise=lambda x, sigma, items:
                   known.denoise(x[:, 0], sigma, items)[:, None])


def problem(flow: bool = True, *, steps: int = 4, fit_count: int = 8, held_out: int = 4,
            batch: int = 64, calls: list[int] | None = None,
            denoise: Callable[..., Tensor] | None = None) -> Problem:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(fit_count + held_out, 5, generator=generator, dtype=torch.float64)
    clock = flow_clock() if flow else arcsinh_clock(TOP[False])
    progress = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    known = {"even": clock.sigma(progress), "late": clock.sigma(progress ** 0.8)}
    return Problem(denoise or each_own(flow, calls), TOP[flow] * noise, fit_count, flow, TOP[flow],
                   known, clock, clock, batch=batch)


def finished(name: str, *, flow: bool = True, **changes: object) -> Run:
    return search(METHODS_SHORT[name], Run(problem(flow), **changes))


def with_means(solver: Solver, means: Solver) -> Solver:
    """The solver with another one's weights for each channel's mean."""
    return replace(solver, beside={"mean_weights": means.weights})
