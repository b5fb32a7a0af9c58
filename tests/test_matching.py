"""Which preset suits a model, and what is said about one that suits less."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from .pack import load


@pytest.fixture(scope="module")
def matching(comfy: ModuleType) -> ModuleType:
    return load("nodes.matching")


def facts(**changes: Any) -> Any:  # noqa: ANN401
    known = {"family": "SD3", "prediction": "flow", "shift": 3.0, "sigma_min": 0.003,
             "sigma_max": 1.0, "latent_channels": 16, "file_name": "a.safetensors",
             "dtype": torch.float16}
    return load("nodes.comfy_bridge.model").ModelFacts(**{**known, **changes})


def preset(steps: int = 2, **info: Any) -> Any:  # noqa: ANN401
    presets, tables = load("presets.preset"), load("solver_search.tableaus").TABLEAUS
    sigmas = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    known = {"name": "p", "prediction": "flow", "shift": 3.0, "family": "SD3",
             "model_name": "a.safetensors"}
    told = presets.PresetInfo(**{**known, **info})
    return presets.Preset(tables["ab2"](sigmas, flow=True), told)


@pytest.mark.parametrize(("info", "model", "level"), [
    ({}, {}, 3),
    ({"model_name": "b.safetensors"}, {}, 2),
    ({"model_name": ""}, {"file_name": ""}, 2),
    ({"family": "Flux"}, {}, 1),
    ({}, {"prediction": "eps", "sigma_max": 14.6, "shift": None}, 0),
    ({}, {"sigma_max": 0.9}, 0),
])
def test_levels(matching: ModuleType, info: dict, model: dict, level: int) -> None:
    assert matching.level(preset(**info), facts(**model)) == level


def test_the_sentence_names_family_and_shift(matching: ModuleType) -> None:
    assert "Made for this checkpoint" in matching.judge(preset(), facts())
    assert "another family (Flux)" in matching.judge(preset(family="Flux"), facts())
    assert "searched at shift 3, this model has 5" in matching.judge(preset(), facts(shift=5.0))


def test_best_match_prefers_this_checkpoint_and_the_asked_steps(matching: ModuleType) -> None:
    mine, sibling, longer = preset(), preset(model_name="b.safetensors"), preset(steps=4)
    assert matching.best_match([sibling, mine, longer], facts(), 0) is mine
    assert matching.best_match([sibling, mine, longer], facts(), 4) is longer
    assert matching.best_match([sibling], facts(), 0) is sibling


def test_best_match_never_takes_a_foreign_family_silently(matching: ModuleType) -> None:
    with pytest.raises(matching.NoPresetError, match="made for this kind of model"):
        matching.best_match([preset(family="Flux")], facts(), 0)
    with pytest.raises(matching.NoPresetError, match="Connect a model"):
        matching.best_match([preset()], None, 0)


@pytest.mark.parametrize(("cfg", "warned"), [(4.0, False), (2.0, False), (1.9, True), (7.0, True)])
def test_far_cfg_is_said(comfy: ModuleType, monkeypatch: pytest.MonkeyPatch, cfg: float,
                         warned: bool) -> None:
    apply = load("nodes.comfy_bridge.apply")
    said: list[str] = []
    monkeypatch.setattr(apply, "say", said.append)
    apply._mind_guidance(cfg, 4.0)
    assert bool(said) is warned
    apply._mind_guidance(cfg, None)
    apply._mind_guidance(None, 4.0)
    assert len(said) == int(warned)
