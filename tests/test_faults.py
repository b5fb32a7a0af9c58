"""Some of the faults of tests/faults, and the runner tried on itself; its command runs all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from .faults.hurting import at, filled, since
from .faults.places import PLACES, Place
from .faults.runner import BROKEN, SENTENCE, WHOLE, Fault, Runner
from .faults.soak import Line, Point, soak
from .faults.stage import FLOW, Stage, emptied, staged
from .faults.table import MOMENTS, all_faults
from .world import World

FAST = [fault for fault in all_faults() if fault.fast]


@pytest.fixture(scope="module")
def stage(world: World) -> Iterator[Stage]:
    """Tiny models and short searches."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with staged(world) as found:
        yield found
        emptied(found)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def runner(stage: Stage) -> Runner:
    return Runner(stage)


def test_every_fault_has_a_name_of_its_own_and_many_are_tried() -> None:
    assert len(all_faults()) > 150
    assert 12 < len(FAST) < 30  # else this file takes minutes


@pytest.mark.parametrize("fault", FAST, ids=lambda fault: fault.name)
def test_a_fault_is_met(runner: Runner, fault: Fault) -> None:
    _, problems = runner.run(fault)
    assert problems == []


@pytest.mark.parametrize("place", [p for p in PLACES if p.fast], ids=lambda place: place.name)
def test_a_folder_is_met(stage: Stage, place: Place) -> None:
    emptied(stage)
    assert place.run(stage) == []


def test_the_runner_sees_what_does_not_hold(runner: Runner, stage: Stage) -> None:
    """A fault that changes a weight, leaves a file, loses another, and ends otherwise."""
    model = stage.subjects[FLOW].model.model.diffusion_model
    weight = next(model.parameters())
    kept = weight.detach().clone()

    def harm(found: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            weight.data.view(-1)[0] += 1
        (stage.folder / ".left.tmp").write_bytes(b"")
        next(stage.folder.glob("bystander*")).unlink()
        torch.rand(1)
        return filled(float("nan"))(found)

    fault = Fault("all at once", (WHOLE,), lambda stage, n: since(n, harm_once(harm)),
                  MOMENTS["the call after the first best"], "never said")
    ending, problems = runner.run(fault)
    with torch.inference_mode():
        weight.data.copy_(kept)
    said = "\n".join(problems)
    assert ending.kind == BROKEN
    for part in ("weight", "left behind: .left.tmp", "bystander.safetensors is gone",
                 "instead of whole", "paints another picture"):
        assert part in said, part


def harm_once(harm: object) -> object:
    """The first time; later answers are only not finite."""
    done = []

    def answer(found: torch.Tensor) -> torch.Tensor:
        if done:
            return filled(float("nan"))(found)
        done.append(1)
        return harm(found)
    return answer


def test_the_runner_sees_a_missing_sentence(runner: Runner) -> None:
    fault = Fault("NaN", (SENTENCE,), lambda stage, n: at(n, filled(float("nan"))),
                  MOMENTS["a call of the teacher"], "never said")
    assert "does not say 'never said'" in runner.run(fault)[1][0]


def test_searching_and_sampling_do_not_grow(stage: Stage) -> None:
    assert soak(stage, 5).growth() == []


def test_growth_is_seen() -> None:
    flat = [Point(n, 100.0, 50, 9, 3) for n in (0, 5, 10)]
    assert Line(tuple(flat)).growth() == []
    for worse in (flat[2]._replace(tensors=51), flat[2]._replace(files=10),
                  flat[2]._replace(megabytes=104.0), flat[2]._replace(threads=4)):
        assert len(Line((*flat[:2], worse)).growth()) == 1
