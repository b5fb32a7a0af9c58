"""On a GPU: SOLVER_SEARCH_BENCH_DEVICE=cuda python run.py test tests/test_gpu.py.

Run on a processor in its place while it was written; not yet to its end on a GPU.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from demo.comfyui import on_gpu

from .pack import load
from .world import FLOW, latent, prompt

pytestmark = pytest.mark.skipif(not (on_gpu() and torch.cuda.is_available()),
                                reason="no GPU was asked for")
ROUNDING = 1e-4  # relative; expected of float32 kernels of two devices over 6 steps, not measured
METHODS = ("fit", "dss", "s4s", "s4s_alt", "dlms", "gits")
GUIDANCE = 3.0


def job(model: Any, method: str) -> Any:  # noqa: ANN401
    guider = load("nodes.comfy_bridge.session").make_guider(
        model, prompt(FLOW, "cat, night", "horse, plain"), prompt(FLOW), GUIDANCE)
    config = load("solver_search.config").SearchConfig(6, method, "quick", seed=0)
    return load("nodes.search_job").Job(guider, latent(FLOW)["samples"], config, GUIDANCE, "gpu")


def on_the_processor(model: Any) -> Any:  # noqa: ANN401  comfy's own type
    """The same weights there."""
    device = torch.device("cpu")
    return type(model)(copy.deepcopy(model.model).to(device), device, device)


def ends(model: Any, solver: Any) -> Tensor:  # noqa: ANN401
    """Of a solver, as searches and their measuring sample, on the model's device."""
    session = load("nodes.comfy_bridge.session")
    guider = session.make_guider(model, prompt(FLOW, "cat, night"), prompt(FLOW), GUIDANCE)
    noise = torch.randn((4, 16, 8, 8), generator=torch.Generator().manual_seed(0))

    def work(s: Any) -> Tensor:  # noqa: ANN401
        assert s.device == model.load_device
        trial = load("nodes.evidence").make_trial(s, s.starts(noise), torch.arange(4), 4)
        return trial.solver(solver, "found").ends.cpu()

    return session.within(guider, latent(FLOW, 4)["samples"], work, seed=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_on_the_gpu_ends_as_asked_and_leaves_its_memory(
        models: dict[str, Any], method: str) -> None:
    job(models[FLOW], "gits").run()  # what stays for good is there now
    before = torch.cuda.memory_allocated()
    found = job(models[FLOW], method)
    (member,) = found.run()
    info = member.preset.info
    assert (info.method, info.state) == (method, "")
    assert 0 < info.error < 1 and (method != "fit" or info.error < info.baseline_error)
    assert torch.cuda.memory_allocated() <= before + 2 ** 20


def test_gpu_and_processor_land_on_one_picture(models: dict[str, Any]) -> None:
    (member,) = job(models[FLOW], "fit").run()
    ours, theirs = (ends(model, member.preset.solver)
                    for model in (models[FLOW], on_the_processor(models[FLOW])))
    assert float((ours - theirs).norm() / theirs.norm()) < ROUNDING
