"""What a search holds: states in main memory, one batch on the device, trajectories that fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from solver_search.config import EFFORTS, SearchConfig
from solver_search.methods import fit as fitting
from solver_search.methods.coordinates import linearisation_calls
from solver_search.run import Run
from solver_search.search import SearchError
from solver_search.tableaus import TABLEAUS
from solver_search.teacher import accurate_teacher

from .searches import problem
from .world import World


class Elsewhere:
    """A session whose device keeps no numbers: what comes to it must have been sent there."""

    device = torch.device("meta")

    def __init__(self, answer: Tensor) -> None:
        self.answer, self.asked = answer, []

    def denoise(self, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:
        self.asked.append((x.device.type, sigma.device.type, len(x)))
        return self.answer[: len(x)]


def test_a_search_sends_each_batch_to_the_device_and_keeps_its_states_here(
        world: World) -> None:
    session = Elsewhere(torch.zeros(4, 5, dtype=torch.float64))
    denoise = world.module("nodes.search_setup").MainMemory(session, None).denoise
    run = Run(replace(problem(batch=4), denoise=denoise))
    sigmas = run.problem.schedules["even"]
    run.trace(TABLEAUS["euler"](sigmas, flow=True), keep=2)
    ends = run.ends(TABLEAUS["dpmpp_2m"](sigmas, flow=True), run.fitted)
    assert {a[:2] for a in session.asked} == {("meta", "meta")}
    assert max(a[2] for a in session.asked) == 4
    assert ends.device.type == run.reference.device.type == "cpu"


def test_schedules_are_compared_on_fewer_starts_where_latents_are_large() -> None:
    teacher = accurate_teacher(64, 1.0, flow=True)
    run = Run(problem())
    assert fitting._compared(run, 32, teacher) == 32
    sizes = {4 * 128 * 128: 32, 16 * 128 * 128: 15, 16 * 21 * 60 * 104: 2}  # SDXL, Flux, Wan
    for values, expected in sizes.items():
        starts = torch.empty(12, values, device="meta")  # float32, no memory
        large = Run(replace(run.problem, starts=starts))
        assert fitting._compared(large, 32, teacher) == expected


def test_trajectories_that_would_fill_main_memory_are_refused() -> None:
    starts = torch.empty(12, 2**26, device="meta")  # 256 MB each
    run = Run(replace(problem(), starts=starts))
    with pytest.raises(SearchError, match="603 GB of main memory.*Use the method 'fit'"):
        run.trace(accurate_teacher(100, 1.0, flow=True))
    assert run.model_calls == 0


@pytest.mark.parametrize("effort", EFFORTS)
def test_half_of_the_budget_pays_for_learning_from_each_start_once(effort: str) -> None:
    """But for the few starts that even the smallest effort needs."""
    for steps in (4, 6, 8, 10, 12, 20):
        sizes = SearchConfig(steps, effort=effort).sizes
        each = sizes.teacher_calls + linearisation_calls(steps)
        assert sizes.fit <= EFFORTS[effort].fit
        assert sizes.fit * each <= sizes.model_calls / 2 or sizes.fit <= 12
    assert SearchConfig(20, "dss", effort).sizes == EFFORTS[effort]


def test_a_call_that_must_stay_whole_is_not_divided_where_memory_was_short(world: World) -> None:
    room = world.module("nodes.comfy_bridge.memory").Room(2)
    assert room.parts(4) == [slice(0, 2), slice(2, 4)]
    room.whole = True
    assert room.parts(4) == [slice(0, 4)]
