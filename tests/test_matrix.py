"""Every cell of docs/compatibility.md, tried again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.matrix.families import FAMILIES, Subject
from tests.matrix.features import FEATURES, step_patch
from tests.matrix.media import Latent, shapes_of
from tests.matrix.nests import two_media
from tests.matrix.other_ways import ON, OTHER_WAYS
from tests.matrix.outcome import ROUNDING, CellError, outcome
from tests.matrix.searched import CFG, STEPS, preset_for, random_solver, searched, simple
from tests.matrix.table import PAGE, Cells, family_cells, feature_cells, page, way_cells
from tests.matrix.ways import KSAMPLER, MASKED, SEARCHED, WAYS, Pair, Way, ksampler, sampler_custom
from tests.matrix.who import Ours, Own, Plain, Who

from .pack import load, preset_of

SEEN: list[Cells] = [{}, {}, {}]
TABLES = (FAMILIES, OTHER_WAYS, FEATURES)


@pytest.fixture(autouse=True)
def world_there(world: ModuleType) -> None:
    """ComfyUI's nodes are imported."""


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    cells = family_cells(name)
    SEEN[0].update(cells)
    assert len(cells) == len(WAYS)


@pytest.mark.parametrize("name", OTHER_WAYS)
def test_other_way(name: str) -> None:
    SEEN[1].update(way_cells(name))


@pytest.mark.parametrize("name", FEATURES)
def test_feature(name: str) -> None:
    SEEN[2].update(feature_cells(name))


def test_the_page_says_what_was_seen() -> None:
    if any(len({row for row, _ in cells}) < len(names)
           for cells, names in zip(SEEN, TABLES, strict=True)):
        pytest.skip("only part of the matrix was run")
    assert PAGE.read_text() == page(*SEEN)


@pytest.mark.parametrize("way", ["KSampler", "denoise 0.5", "mask", "batch of 3"])
def test_media_of_different_size_have_their_own_means(way: str) -> None:
    subject = two_media()
    assert outcome(lambda: subject, WAYS[way]) == "works"


@pytest.mark.parametrize("way", ["callbacks of a KSampler", "soft mask",
                                 "a mask for each of a batch of 3"])
def test_media_of_different_size_in_the_other_ways(way: str) -> None:
    subject = two_media()
    assert outcome(lambda: subject, OTHER_WAYS[way]) == "works"


def test_media_whose_shapes_nobody_tells_leave_their_means_out() -> None:
    """A SAMPLER learns the shapes from models that ask ComfyUI for them; the toy does not."""
    def without(subject: Subject, steps: int, denoise: float) -> Any:  # noqa: ANN401
        return preset_for(subject, random_solver(subject, steps).without(mean=True))

    subject = two_media()
    pair = Pair("without means", Plain(without), Ours(searched))
    assert outcome(lambda: subject, Way(sampler_custom, (pair,))) == "works"


# The proof can fail: what follows holds that each wrong solver is seen.

def test_a_wrong_solver_does_not_pass() -> None:
    """Another table, or rows read by position."""
    subject = FAMILIES["SD3"].build()

    def wrong(subject: Subject, steps: int, denoise: float) -> object:
        sigmas = simple(subject, steps).double()
        table = load("solver_search.tableaus").TABLEAUS["ab2"](sigmas, flow=True)
        return preset_of(table, shift=3.0, guidance=CFG)

    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, Way(ksampler, (Pair("ab2", Own(), Ours(wrong)),)))


def changed(**parts: object) -> Callable[..., Any]:
    """The searched preset with other fields."""
    def make(subject: Subject, steps: int, denoise: float) -> Any:  # noqa: ANN401
        return preset_for(subject, replace(random_solver(subject, steps), **parts))
    return make


@pytest.mark.parametrize("family", ["SD1.5", "SD3", "LTX-2"])
@pytest.mark.parametrize("forgotten", ["mean_weights", "guidance_weights", "guidance_mean_weights",
                                       "model_sigmas", "start"])
def test_a_solver_that_forgets_a_field_is_seen(family: str, forgotten: str) -> None:
    """Means as the rest, guidance as it comes, visited levels told, a start that counts as it is:
    each changes all."""
    subject = FAMILIES[family].build()
    beside = random_solver(subject, STEPS).beside
    other = {"start": torch.ones(STEPS), "model_sigmas": None}
    part = ({forgotten: other[forgotten]} if forgotten in other else
            {"beside": {name: table for name, table in beside.items() if name != forgotten}})
    pair = Pair(forgotten, SEARCHED.expected, Ours(changed(**part)))
    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, Way(ksampler, (pair,)))


def forget(monkeypatch: pytest.MonkeyPatch, name: str, other: Callable) -> None:
    """Our canvas without one of its rules."""
    monkeypatch.setattr(load("solver_search.canvas").Canvas, name, other)


@pytest.mark.parametrize("family", ON)
def test_a_masked_part_multiplied_by_the_row_sum_is_seen(family: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "ended", lambda self, solver, start, end, denoised: end)
    subject = FAMILIES[family].build()
    assert outcome(lambda: subject, replace(MASKED, pairs=MASKED.pairs[:1])) == "works"
    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, MASKED)


def test_means_painted_outside_the_mask_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "painted", lambda self, change: change)
    subject = FAMILIES["SD3"].build()
    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, OTHER_WAYS["soft mask"])


@pytest.mark.parametrize("way", ["soft mask", "a mask for each of a batch of 3"])
def test_guidance_painted_outside_the_mask_is_seen(way: str,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Means, one number for each channel, are masked as they must be."""
    forget(monkeypatch, "painted", lambda self, change: (
        change if change.shape[-1] > 1 else change * self.mask))
    subject = FAMILIES["SD3"].build()
    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, OTHER_WAYS[way])


def test_guidance_of_another_call_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What guidance added in the call before."""
    class Late(load("nodes.comfy_bridge.guiding").Guiding):
        before: torch.Tensor | None = None

        def added(self, denoised: torch.Tensor) -> torch.Tensor | None:
            found = self.before
            self.before = super().added(denoised)
            return found

    monkeypatch.setattr(load("nodes.comfy_bridge.apply"), "Guiding", Late)
    subject = FAMILIES["SD3"].build()
    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, KSAMPLER)


def test_a_picture_that_is_hardly_changed_outside_the_mask_is_seen() -> None:
    """By half of what all numbers may be off."""
    def nearly(subject: Subject, who: Who) -> Latent:
        end = MASKED.run(subject, who)
        return end if isinstance(who, Own) else end * (1 + ROUNDING / 2)

    subject = FAMILIES["SD3"].build()
    with pytest.raises(CellError, match="outside the mask"):
        outcome(lambda: subject, replace(MASKED, run=nearly))


def test_one_mean_over_all_media_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What packed latents gave before: a mean over the whole row."""
    forget(monkeypatch, "means", lambda self, x: x.mean(tuple(range(2, x.ndim)), keepdim=True))
    for subject in (FAMILIES["LTX-2"].build(), two_media()):
        assert len(shapes_of(subject.latent)) == 2
        with pytest.raises(CellError, match="off by"):
            outcome(lambda s=subject: s, KSAMPLER)


@pytest.mark.parametrize("way", ["denoised output", "callbacks of a KSampler"])
def test_a_last_callback_with_the_models_output_is_seen(way: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Euler's last output is its picture; a searched row's is not."""
    apply, outputs = load("nodes.comfy_bridge.apply"), []
    sample, run = apply.sample, apply._run

    def noting(denoise: Callable, *rest: Any, **named: Any) -> torch.Tensor:  # noqa: ANN401
        def noted(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            outputs.append(denoise(x, sigma))
            return outputs[-1]
        return sample(noted, *rest, **named)

    def telling(model: Any, x: torch.Tensor, solver: Any, extra_args: dict,  # noqa: ANN401
                callback: Callable, shapes: Any) -> torch.Tensor:  # noqa: ANN401
        return run(model, x, solver, extra_args,
                   lambda step: callback({**step, "denoised": outputs[-1]}), shapes)

    monkeypatch.setattr(apply, "sample", noting)
    monkeypatch.setattr(apply, "_run", telling)
    subject = FAMILIES["SD3"].build()
    with pytest.raises(CellError, match="a searched preset is off by"):
        outcome(lambda: subject, OTHER_WAYS[way])


def test_levels_visited_where_patches_look_for_those_told_are_seen(
        monkeypatch: pytest.MonkeyPatch) -> None:
    apply = load("nodes.comfy_bridge.apply")
    own = apply.with_levels
    monkeypatch.setattr(apply, "with_levels", lambda extra, told: own(extra, told * 1.01))
    subject = step_patch(FAMILIES["SD3"].build())
    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, KSAMPLER)


@pytest.mark.parametrize("family", ON)
def test_a_sampler_around_another_that_is_dropped_is_seen(family: str,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    samplers = load("nodes.comfy_bridge.samplers")
    monkeypatch.setattr(load("nodes.comfy_bridge.apply"), "place_in",
                        lambda sampler: samplers.Place("euler"))
    subject = FAMILIES[family].build()
    with pytest.raises(CellError, match="Euler is off by"):
        outcome(lambda: subject, OTHER_WAYS["Detail Daemon behind Use Solver"])


def test_model_sampling_nodes_after_ours_are_met_when_sampling() -> None:
    """Use Solver first, ModelSamplingSD3 behind it."""
    from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM, ModelSamplingSD3

    subject = FAMILIES["SD3"].build()
    sigmas = simple(subject).double()
    table = load("solver_search.tableaus").TABLEAUS["euler"](sigmas, flow=True)
    use = load("nodes.comfy_bridge.apply").use_preset
    used = use(subject.model, preset_of(table, shift=3.0))
    moved = ModelSamplingSD3().patch(used, 6.0)[0]
    with torch.inference_mode():
        plain = ksampler(subject)
        assert torch.equal(_sampled(subject, moved), plain)  # the preset brings its own levels

    other = FAMILIES["SD1.5"].build()
    levels = simple(other).double()
    euler = load("solver_search.tableaus").TABLEAUS["euler"](levels, flow=False)
    changed = ModelSamplingContinuousEDM().patch(use(other.model, preset_of(euler)), "eps", 120.0,
                                                 0.002)[0]
    with torch.inference_mode(), pytest.raises(ValueError, match="another noise schedule"):
        _sampled(other, changed)


def _sampled(subject: Subject, model: object) -> torch.Tensor:
    return ksampler(replace(subject, model=model))
