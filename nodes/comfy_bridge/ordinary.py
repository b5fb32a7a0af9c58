"""ComfyUI's own samplers and schedulers: the opponents a solver is measured against."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import comfy.model_sampling
import comfy.samplers
import torch
from comfy_extras.nodes_align_your_steps import AlignYourStepsScheduler
from comfy_extras.nodes_gits import GITSScheduler
from comfy_extras.nodes_optimalsteps import OptimalStepsScheduler
from torch import Tensor, nn

from ...solver_search.schedules import bent_schedules
from .builtin import Sampler, calls_of, run_sampler
from .builtin import deterministic_samplers as deterministic_samplers
from .dropdown import NAME as OURS
from .model import first_sigma, flow_shift, with_shift
from .session import Session

log = logging.getLogger("solver-search")
SHIFTS = (1.0, 3.0)
# What people use, and what is best somewhere (docs/decisions/evidence.md).
POPULAR_SAMPLERS = ("euler", "dpmpp_2m", "res_multistep", "uni_pc_bh2", "deis", "ipndm_v",
                    "ipndm", "lms", "gradient_estimation")


@dataclass(frozen=True)
class Setting:
    """An ordinary choice.

    Args:
        sampler, scheduler: names; on flow models the schedule's has its shift.
        sigmas: (n + 1,) noise levels.
        scale: factor on starts at sigma_max: a schedule that begins below it begins with less
            noise.
        made: the SAMPLER that a node made; None: the one that the menu has under this name.
    """

    sampler: str
    scheduler: str
    sigmas: Tensor
    scale: float = 1.0
    made: Sampler | None = None

    @property
    def label(self) -> str:
        """As people write it: dpmpp_2m/karras."""
        return f"{self.sampler}/{self.scheduler}"


def schedules(ms: nn.Module, steps: int, sampler: str = "euler",
              denoise: float = 1.0) -> dict[str, Tensor]:
    """Every schedule of ComfyUI that has exactly `steps` falling steps on this model.

    Flow models get each one at shift 1, 3 and their own. Learned lists (Align Your Steps, GITS,
    Optimal Steps) are included where they belong. `sampler` matters as in KSampler: for some
    samplers it drops the last sigma but one. With `denoise` below 1 they are the end of longer
    lists, as in KSampler, and all begin where the model's own time says.
    """
    whole = int(steps / denoise)
    found = {}
    for suffix, moved in shifted(ms).items():
        for name in comfy.samplers.SCHEDULER_NAMES:
            if name == OURS:
                continue
            found[name + suffix] = _ksampler_sigmas(moved, name, whole, sampler)
    found.update(_learned(ms, whole))
    return fitted(found, ms, steps, denoise)


def screened(ms: nn.Module, steps: int, denoise: float = 1.0) -> dict[str, Tensor]:
    """What searches begin from: every schedule of ComfyUI, and on eps and v models our own."""
    found = schedules(ms, steps, denoise=denoise)
    if flow_shift(ms) is None:
        ours = bent_schedules(int(steps / denoise), float(ms.sigma_max))
        found |= fitted(ours, ms, steps, denoise)
    return found


def fitted(found: dict[str, Tensor], ms: nn.Module, steps: int, denoise: float = 1.0,
           rest: float = 0.0) -> dict[str, Tensor]:
    """Those lists that have exactly `steps` falling steps down to `rest`, or below it.

    With `denoise` below 1 their ends are taken, as in KSampler.
    """
    if denoise < 1:
        found = {name: _end(sigmas, steps, first_sigma(ms, denoise))
                 for name, sigmas in found.items()}
    return {name: sigmas for name, sigmas in found.items() if _usable(sigmas, ms, steps, rest)}


def _end(sigmas: Tensor, steps: int, first: float) -> Tensor:
    kept = sigmas[-(steps + 1):].clone()
    kept[:1] = first
    return kept


def shifted(ms: nn.Module) -> dict[str, nn.Module]:
    """The sampling at each shift a flow model is tried at, by the end of a schedule's name."""
    own = flow_shift(ms)
    if own is None:
        return {"": ms}
    return {f"@{shift:.4g}": with_shift(ms, shift) for shift in sorted({*SHIFTS, own})}


def _ksampler_sigmas(ms: nn.Module, scheduler: str, steps: int, sampler: str) -> Tensor:
    """What the KSampler node would use."""
    drop = sampler in comfy.samplers.KSampler.DISCARD_PENULTIMATE_SIGMA_SAMPLERS
    try:
        sigmas = comfy.samplers.calculate_sigmas(ms, scheduler, steps + drop).double().cpu()
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError) as error:
        log.debug("schedule %s does not exist for %d steps: %s", scheduler, steps, error)
        return torch.zeros(0)
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if drop else sigmas


def _learned(ms: nn.Module, steps: int) -> dict[str, Tensor]:
    if flow_shift(ms) is not None:
        lists = {f"optimal_steps_{kind}": (OptimalStepsScheduler, kind)
                 for kind in ("FLUX", "Wan", "Chroma")}
    else:
        lists = {f"ays_{kind}": (AlignYourStepsScheduler, kind) for kind in ("SD1", "SDXL")}
        lists |= {f"gits_{coeff}": (GITSScheduler, coeff) for coeff in (1.0, 1.2, 1.4)}
    return {name: node.execute(kind, steps, 1.0).args[0].double()
            for name, (node, kind) in lists.items()}


def _usable(sigmas: Tensor, ms: nn.Module, steps: int, rest: float) -> bool:
    if len(sigmas) != steps + 1 or not (sigmas.diff() < 0).all() or sigmas[-1] > rest:
        return False
    return bool(sigmas[0] <= float(ms.sigma_max) * 1.0001)


def calls_for(sampler: str, sigmas: Tensor) -> int:
    """Model calls a built-in sampler makes on these sigmas, counted with a null model."""
    return calls_of(comfy.samplers.sampler_object(sampler), sigmas)


def steps_for_calls(sampler: str, calls: int) -> int:
    """Most steps of a sampler that cost at most `calls` model calls."""
    return most_steps(comfy.samplers.sampler_object(sampler), calls)


def most_steps(sampler: Sampler, calls: int, end: float = 0.0) -> int:
    """Most steps down to sigma `end` of any SAMPLER that cost at most `calls` model calls."""
    ladder = [torch.linspace(1, end, steps + 1) for steps in range(1, calls + 1)]
    fitting = [len(s) - 1 for s in ladder if calls_of(sampler, s) <= calls]
    return max(fitting, default=0)


def settings(ms: nn.Module, calls: int, samplers: Iterable[str],
             denoise: float = 1.0) -> list[Setting]:
    """Every sampler and schedule that costs at most `calls` model calls."""
    found = []
    for sampler in samplers:
        steps = steps_for_calls(sampler, calls)
        if steps:
            found += [Setting(sampler, name, sigmas, scale_of(ms, sigmas, denoise))
                      for name, sigmas in schedules(ms, steps, sampler, denoise).items()]
    return found


def scale_of(ms: nn.Module, sigmas: Tensor, denoise: float) -> float:
    """Factor on starts at sigma_max with which a list begins."""
    first, top = float(sigmas[0]), float(ms.sigma_max)
    if denoise < 1 or abs(first - top) <= 1e-5 * top:
        return 1.0
    if isinstance(ms, comfy.model_sampling.CONST):
        return first / top
    return first / (1 + top ** 2) ** 0.5


def run_setting(session: Session, setting: Setting, starts: Tensor, items: Tensor) -> Tensor:
    """End states of an ordinary setting from its starts, by ComfyUI's own function.

    As in a KSampler, uni_pc moves the last sigma to 0.001, and on flow models ComfyUI then
    divides by 1 - 0.001.

    Raises:
        whatever ComfyUI's sampler raises.
    """
    model = _BoundModel(session, items)
    sigmas = setting.sigmas.to(starts.device, torch.float32, copy=True)
    sampler = setting.made or comfy.samplers.sampler_object(setting.sampler)
    with session.at_levels(sigmas.clone()):  # uni_pc changes its own
        ends = run_sampler(sampler, model, starts * setting.scale, sigmas, {})
    return session.sampling.inverse_noise_scaling(sigmas[-1:], ends)


class _BoundModel:
    """The model as ComfyUI's sampler functions expect it, for given starts."""

    def __init__(self, session: Session, items: Tensor) -> None:
        self.session, self.items = session, items
        self.inner_model = session.wrap

    def __call__(self, x: Tensor, sigma: Tensor, **extra_args: object) -> Tensor:
        return self.session.denoise(x, sigma, self.items)
