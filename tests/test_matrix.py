"""Every cell of docs/compatibility.md, tried again."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from tests.matrix.families import FAMILIES, Subject
from tests.matrix.features import FEATURES
from tests.matrix.outcome import CellError, outcome
from tests.matrix.searched import CFG, simple
from tests.matrix.table import PAGE, Cells, family_cells, feature_cells, page
from tests.matrix.ways import WAYS, Pair, Way, ksampler
from tests.matrix.who import Ours, Own

from .pack import load, preset_of

SEEN: list[Cells] = [{}, {}]


@pytest.fixture(autouse=True)
def world_there(world: ModuleType) -> None:
    """ComfyUI's nodes are imported."""


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    cells = family_cells(name)
    SEEN[0].update(cells)
    assert len(cells) == len(WAYS)


@pytest.mark.parametrize("name", FEATURES)
def test_feature(name: str) -> None:
    SEEN[1].update(feature_cells(name))


def test_the_page_says_what_was_seen() -> None:
    if len(SEEN[0]) < len(FAMILIES) * len(WAYS) or len({f for f, _ in SEEN[1]}) < len(FEATURES):
        pytest.skip("only part of the matrix was run")
    assert PAGE.read_text() == page(*SEEN)


def test_a_wrong_solver_does_not_pass() -> None:
    """The proof can fail: another table, or rows read by position, is caught."""
    subject = FAMILIES["SD3"].build()

    def wrong(subject: Subject, steps: int, denoise: float) -> object:
        sigmas = simple(subject, steps).double()
        table = load("solver_search.tableaus").TABLEAUS["ab2"](sigmas, flow=True)
        return preset_of(table, shift=3.0, guidance=CFG)

    with pytest.raises(CellError, match="off by"):
        outcome(lambda: subject, Way(ksampler, (Pair("ab2", Own(), Ours(wrong)),)))


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


def _sampled(subject: object, model: object) -> torch.Tensor:
    from dataclasses import replace

    return ksampler(replace(subject, model=model))
