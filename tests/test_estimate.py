"""What is told before a search starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from .pack import load


def text(seconds: float) -> str:
    return load("nodes.estimate").Estimate(1500, 2000, seconds, 4, 2**30, False).text


def test_a_long_search_says_how_to_have_it_sooner(comfy: ModuleType) -> None:
    short, long = text(29 * 60), text(31 * 60)
    assert short == ("about 29 minutes and 1 GB of memory beside the model (3,500 model calls at "
                     "most, 4 pictures at a time)")
    assert long.startswith("about 31 minutes and 1 GB")
    assert "). To have it sooner, search at half the width and height" in long
    assert not long.endswith(".")  # a sentence goes on around it


@dataclass
class Clock:
    """Stands still but for model calls: two seconds each, and one for a picture."""

    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now

    def denoise(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        self.now += 2 + len(x)
        return x


@pytest.mark.parametrize(("batch", "each"), [(1, 3 / 1), (2, 4 / 2), (3, 5 / 3), (8, 5 / 3)])
def test_time_is_told_for_calls_of_as_many_pictures_as_most_have(
        comfy: ModuleType, monkeypatch: pytest.MonkeyPatch, batch: int, each: float) -> None:
    estimate, clock = load("nodes.estimate"), Clock()
    monkeypatch.setattr(estimate, "time", clock)
    problem = SimpleNamespace(starts=torch.zeros(12, 4), batch=batch, sigma_max=1.0,
                              denoise=clock.denoise)
    session = SimpleNamespace(activation_bytes=lambda count: 1e6 * count,
                              device=torch.device("meta"))
    found = estimate.estimated(session, problem, 1500, 2000,
                               load("solver_search.config").METHODS["fit"])
    assert found.seconds == pytest.approx(3500 * each)
    assert found.batch == batch and found.memory == (1e6 + 2 * 16) * batch


def test_where_the_processor_computes_memory_is_what_a_call_took(comfy: ModuleType) -> None:
    """200 MB, held for a while by the second call: pages count when they are written to."""
    def denoise(x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        held = torch.ones(50_000_000) if len(calls) == 1 else x
        calls.append(float(held[0].sum()))
        time.sleep(0.05)
        return x

    calls: list[float] = []
    problem = SimpleNamespace(starts=torch.zeros(12, 4), batch=8, sigma_max=1.0, denoise=denoise)
    session = SimpleNamespace(device=torch.device("cpu"))
    found = load("nodes.estimate").estimated(session, problem, 1500, 2000,
                                             load("solver_search.config").METHODS["fit"])
    assert 200e6 <= found.memory < 230e6  # what else Python takes meanwhile
    assert "and 0.19 GB of memory beside the model" in found.text


def test_little_memory_is_told_without_digits(comfy: ModuleType) -> None:
    size = load("nodes.estimate").size
    assert [size(n * 2**30) for n in (0, 0.1, 0.11, 12.34)] == [
        "less than 0.1 GB", "less than 0.1 GB", "0.11 GB", "12 GB"]
