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


def preset(steps: int = 2, first: float = 1.0, **info: Any) -> Any:  # noqa: ANN401
    presets, tables = load("presets.preset"), load("solver_search.tableaus").TABLEAUS
    sigmas = torch.linspace(first, 0, steps + 1, dtype=torch.float64)
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


def test_the_sentence_says_what_a_part_is_for(matching: ModuleType) -> None:
    part = preset(first=0.5, denoise=0.4, sigma_max=1.0)
    assert "image to image at denoise 0.4 and below" in matching.judge(part, facts())
    assert "image to image" not in matching.judge(preset(), facts())


def test_best_match_prefers_this_checkpoint_and_the_asked_steps(matching: ModuleType) -> None:
    mine, other, longer = preset(), preset(model_name="b.safetensors"), preset(steps=4)
    best = matching.best_match([other, mine, longer], facts(), 0)
    assert best.info == mine.info
    assert best.siblings == (longer,)
    assert matching.best_match([other, mine, longer], facts(), 4).solver is longer.solver
    assert matching.best_match([other], facts(), 0).info == other.info


def test_the_step_count_picks_the_member_of_a_family(matching: ModuleType) -> None:
    cheap, longer = preset(), preset(steps=4)
    part = preset(steps=4, first=0.5, denoise=0.5, sigma_max=1.0)
    best = matching.best_match([part, cheap, longer, preset(guidance=9.0)], facts(), 0)
    assert not best.partial
    assert best.member(4) in (longer, part)
    assert best.member(4, 1.0) is longer
    assert best.member(4, 0.55) is part
    assert best.member(17).solver is best.solver


def test_best_match_never_takes_a_foreign_family_silently(matching: ModuleType) -> None:
    with pytest.raises(matching.NoPresetError, match="made for this kind of model"):
        matching.best_match([preset(family="Flux")], facts(), 0)
    with pytest.raises(matching.NoPresetError, match="Connect a model"):
        matching.best_match([preset()], None, 0)


@pytest.mark.parametrize(("cfg", "said"), [
    (4.0, ""), (2.0, ""), (5.5, ""), (1.9, "from CFG 2 to 5.5"), (7.0, "This is CFG 7")])
def test_a_measured_range_is_kept_to(cfg: float, said: str) -> None:
    remark = load("presets.words").guidance_remark
    info = preset(guidance=4.0, guidance_low=2.0, guidance_high=5.5,
                  guidance_measured="2: 0.1 / 0.2").info
    assert said in remark(info, cfg) and bool(said) == bool(remark(info, cfg))
    assert not remark(info, None)


def test_without_a_measurement_only_its_own_cfg_is_known() -> None:
    remark = load("presets.words").guidance_remark
    unmeasured = preset(guidance=4.0)
    assert not remark(unmeasured.info, 4.0)
    assert remark(unmeasured.info, 4.2).startswith("Unknown away from CFG 4. ")
    assert unmeasured.promise.endswith("Unknown away from CFG 4.")
    lost = preset(guidance=4.0, guidance_measured="4: 0.2 / 0.1").info
    assert remark(lost, 4.0).startswith("Not better than the built-in samplers at any CFG")
    assert not remark(preset(guidance=None).info, 4.0)
