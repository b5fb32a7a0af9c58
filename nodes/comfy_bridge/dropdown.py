"""One sampler and one scheduler of ours at the end of ComfyUI's lists, for those who ask for it.

ComfyUI looks a sampler up by name in its own modules, so a name in its menu means an entry there.
Nothing is reordered or replaced; without the setting nothing is touched at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import comfy.samplers
import folder_paths
from comfy.k_diffusion import sampling
from torch import Tensor, nn

NAME = "searched"
SETTING = "SolverSearch.DropDown"
SETTINGS_FILE = Path("default", "comfy.settings.json")
log = logging.getLogger("solver-search")


def wanted() -> bool:
    """Whether ComfyUI's settings ask for the names; a broken file counts as no."""
    path = Path(folder_paths.get_user_directory()) / SETTINGS_FILE
    try:
        return json.loads(path.read_text("utf-8")).get(SETTING) is True
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        log.warning("ComfyUI's settings could not be read (%s); '%s' stays out of the lists.",
                    error, NAME)
        return False


def add_names(sample: Callable[..., Tensor], schedule: Callable[[nn.Module, int], Tensor]) -> None:
    """Put both names at the end of the lists; a second call does nothing.

    Args:
        sample: with the signature of a k-diffusion sampler.
        schedule: (model_sampling, steps) -> (steps + 1,) fresh sigmas.
    """
    if NAME in comfy.samplers.SCHEDULER_HANDLERS:
        return
    sampling.sample_searched = sample
    for names in (comfy.samplers.KSAMPLER_NAMES, comfy.samplers.SAMPLER_NAMES,
                  comfy.samplers.SCHEDULER_NAMES):
        names.append(NAME)
    handler = comfy.samplers.SchedulerHandler(schedule, use_ms=True)
    comfy.samplers.SCHEDULER_HANDLERS[NAME] = handler
