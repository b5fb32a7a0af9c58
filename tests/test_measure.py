"""Measured on this machine: what is kept, who reads it, and what it changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from .pack import load
from .world import FLOW, ROOT, World, latent, prompt

NAME = "Demo flow 6 steps"


@pytest.fixture
def figures() -> Any:  # noqa: ANN401
    return load("presets.figures")


def info(**more: Any) -> Any:  # noqa: ANN401
    known = {"model_name": "a.safetensors", "family": "SD3", "guidance": 4.0, "error": 0.1,
             "error_interval": 0.01, "baseline": "euler/beta", "baseline_error": 0.2,
             "baseline_interval": 0.01, "difference_interval": 0.01, "held_out_seeds": 8, **more}
    return load("presets.info").PresetInfo(name="x", prediction="flow", **known)


def test_figures_come_back_exactly_the_newest_first(figures: Any, tmp_path: Path) -> None:  # noqa: ANN401
    ledger, first = figures.Ledger(), figures.figures_of("0" * 16, info(error=1 / 3))
    ledger.add(tmp_path, [first])
    other = figures.figures_of("0" * 16, info(guidance=7.0))
    ledger.add(tmp_path, [other])
    assert ledger.of(tmp_path) == {"0" * 16: (other, first)}
    assert figures.Ledger().of(tmp_path) == {"0" * 16: (other, first)}
    again = figures.figures_of("0" * 16, info(error=0.5))  # the same setting: only the newest
    ledger.add(tmp_path, [again])
    assert figures.Ledger().of(tmp_path) == {"0" * 16: (again, other)}


def test_what_only_the_author_says_is_not_kept(figures: Any, tmp_path: Path) -> None:  # noqa: ANN401
    said = figures.figures_of("0" * 16, info(author="Ada", notes="secret", search_key="ab"))
    figures.Ledger().add(tmp_path, [said])
    text = (tmp_path / figures.FILE).read_text()
    assert "Ada" not in text and "secret" not in text and "search_key" not in text


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"format": "other", "version": "1", "measured": []}',
    '{"format": "solver-search-measured", "version": "2", "measured": []}',
    '{"format": "solver-search-measured", "version": "1", "measured": {}}',
    '{"format": "solver-search-measured", "version": "1", "measured": [1]}',
    '{"format": "solver-search-measured", "version": "1", "measured": [{"id": "../../x"}]}',
    '{"format": "solver-search-measured", "version": "1", "measured": [{"id": 3}]}',
    '{"format": "solver-search-measured", "version": "1", "measured":'
    ' [{"id": "0000000000000000", "error": "NaN"}]}',
    '{"format": "solver-search-measured", "version": "1", "measured":'
    ' [{"id": "0000000000000000", "baseline": "turned \\u202e"}]}',
    "x" * (2 << 20), "[" * 100_000])
def test_a_broken_file_gets_a_sentence_and_is_put_aside(figures: Any, tmp_path: Path,  # noqa: ANN401
                                                        text: str) -> None:
    (tmp_path / figures.FILE).write_text(text)
    ledger = figures.Ledger()
    with pytest.raises(load("presets.fields").PresetError, match="next measurement"):
        ledger.of(tmp_path)
    assert ledger.of(tmp_path) == {}  # said once
    new = figures.figures_of("0" * 16, info())
    ledger.add(tmp_path, [new])
    assert ledger.of(tmp_path) == {"0" * 16: (new,)}
    assert (tmp_path / figures.ASIDE).read_text() == text


def test_the_file_stays_bounded(figures: Any, tmp_path: Path) -> None:  # noqa: ANN401
    some = [figures.figures_of(f"{i:016x}", info(baseline="b" * 200, reference="r" * 200))
            for i in range(3000)]
    figures.Ledger().add(tmp_path, some)
    kept = figures.Ledger().of(tmp_path)
    assert (tmp_path / figures.FILE).stat().st_size <= 1 << 20
    assert 500 < len(kept) <= figures.ROOM
    assert set(kept) == {each.preset for each in some[: len(kept)]}


@pytest.fixture
def own(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own folder for measurements."""
    measured = world.module("nodes.measured")
    monkeypatch.setattr(measured, "own_folder", lambda: tmp_path)
    yield tmp_path


@pytest.fixture(scope="module")
def ours(world: World) -> Any:  # noqa: ANN401
    return world.module("presets.store").read(ROOT / "demo" / "presets" / f"{NAME}.safetensors")


def measure(world: World, model: Any, solver: Any, **more: Any) -> Any:  # noqa: ANN401
    given = {"cfg": 2.5, "seeds": 6, "positive": prompt(FLOW, "cat, night"),
             "negative": prompt(FLOW), "latent": latent(FLOW), **more}
    with torch.inference_mode():
        return world.of("Measure").execute(solver=solver, model=model, **given)


def test_measuring_keeps_figures_and_leaves_the_file_alone(world: World, models: dict, own: Path,
                                                           ours: Any) -> None:  # noqa: ANN401
    bar: list[tuple[float, float]] = []
    screen = world.module("nodes.comfy_bridge.screen").Screen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "progress", lambda self, done, total: bar.append((done, total)))
        found = measure(world, models[FLOW], ours)
    measured = world.module("nodes.measured")
    facts = world.module("nodes.comfy_bridge.model").facts
    kept, = measured.all_figures()[ours.id]
    known = kept.info
    assert (known.guidance, known.held_out_seeds, known.width, known.height) == (2.5, 6, 8, 8)
    assert known.header_hash == facts(models[FLOW]).header_hash
    assert 0 < known.error < known.baseline_error  # the demo's preset is good on its own model
    assert known.baseline.endswith("built-in settings") and known.error_median is not None
    assert known.error_elsewhere is not None and known.difference_interval is not None
    assert found.ui["solver_search"][0]["measured"] == ours.id
    assert "closer than the best built-in" in found.args[0]
    assert bar[-1][0] == bar[-1][1] and bar[-2][0] > 0.5 * bar[-1][1]
    assert sorted(path.name for path in own.iterdir()) == ["measured.json"]


def test_other_models_and_image_to_image_are_refused_before_anything_is_sampled(
        world: World, models: dict, own: Path, ours: Any) -> None:  # noqa: ANN401
    other = world.module("presets.store").read(
        ROOT / "presets" / "library" / "DSS DiT VP 6.safetensors")
    with pytest.raises(ValueError, match="flow model"):
        measure(world, models[FLOW], other)
    part = replace(ours, info=replace(ours.info, denoise=0.5))
    with pytest.raises(ValueError, match="image to image"):
        measure(world, models[FLOW], part)
    with pytest.raises(ValueError, match="guider"):
        measure(world, None, ours)
    assert list(own.iterdir()) == []


def test_a_guider_can_be_measured_with(world: World, models: dict, own: Path,
                                       ours: Any) -> None:  # noqa: ANN401
    guider = world.module("nodes.comfy_bridge.session").make_guider(
        models[FLOW], prompt(FLOW, "cat, night"), prompt(FLOW), 4.5)
    measure(world, None, ours, guider=guider, positive=None, negative=None, seeds=2)
    assert world.module("nodes.measured").all_figures()[ours.id][0].info.guidance == 4.5


def test_a_comparison_keeps_figures_but_not_on_seeds_of_the_search(
        world: World, models: dict, own: Path, ours: Any) -> None:  # noqa: ANN401
    compare, module = world.of("Compare"), world.module("nodes.compare")
    assert compare is not None
    contenders = world.module("nodes.contenders")
    measured = world.module("nodes.evidence").Measured

    def way(label: str, errors: list[float], kind: str) -> Any:  # noqa: ANN401
        return contenders.Way(measured(label, torch.zeros(3), torch.tensor(errors), 6), kind, 5)
    results = contenders.Results([way("b", [2.0, 4.0, 3.0], "builtin"),
                                  way(NAME, [1.0, 2.0, 1.5], "solver")], [], [], None)
    facts = world.module("nodes.comfy_bridge.model").facts(models[FLOW])
    empty = torch.zeros(1, 16, 8, 8)

    def kept(seed: int) -> list:
        plan = contenders.Comparison([ours], 3, seed, 1, "")
        return module.measured(plan, results, facts, empty, 2.5)
    found, = kept(1000)
    assert (found.info.error, found.info.baseline_error) == (1.5, 3.0)
    assert found.info.baseline == "b, the best of 5 built-in settings"
    assert kept(ours.info.seed) == [] if ours.info.seed is not None else kept(1000)


def test_own_figures_count_more_than_the_authors_word(world: World, models: dict,
                                                      ours: Any) -> None:  # noqa: ANN401
    matching, figures = world.module("nodes.matching"), world.module("presets.figures")
    facts = world.module("nodes.comfy_bridge.model").facts(models[FLOW])
    stranger = replace(ours, info=replace(ours.info, name="stranger", model_name="other",
                                          header_hash="ab"), solver=replace(
        ours.solver, sigmas=ours.solver.sigmas * torch.tensor([1, .99, .99, .99, .99, .99, 1])))
    claimed = replace(ours, info=replace(ours.info, header_hash=facts.header_hash))
    assert matching.best_match([stranger, claimed], facts, 0) .id == claimed.id

    def measured(preset: Any, error: float) -> dict:  # noqa: ANN401
        own = replace(preset.info, model_name=facts.file_name, header_hash=facts.header_hash,
                      family=facts.family, patches=facts.patches, guidance=2.5, error=error,
                      baseline_error=0.1, difference_interval=0.01)
        return {preset.id: (figures.figures_of(preset.id, own),)}
    good, bad = measured(stranger, 0.05), measured(claimed, 0.2)
    best = matching.best_match([stranger, claimed], facts, 0, measured={**good, **bad})
    assert best.info.name == "stranger"
    said = matching.verdict(stranger, facts, good[stranger.id][0].info)
    assert said.verdict == ("Measured on this checkpoint, on this machine: error 50% lower than "
                            "the best built-in sampler.")
    worse = matching.verdict(stranger, facts, measured(stranger, 0.2)[stranger.id][0].info)
    assert "is better, by 100%" in worse.verdict


def test_a_browser_gets_the_figures_with_the_card(world: World, ours: Any) -> None:  # noqa: ANN401
    figures, cards = world.module("presets.figures"), world.module("nodes.cards")
    some = tuple(figures.figures_of(ours.id, info(guidance=float(i))) for i in range(20))
    told = cards.card(ours, None, pictures=False, figures={ours.id: some})["here"]
    assert [each["guidance"] for each in told] == list(map(float, range(8)))
    assert told[0]["model"] == "a.safetensors" and told[0]["baseline"] == "euler/beta"
    assert json.loads(json.dumps(told)) == told
    assert cards.card(ours, None, pictures=False)["here"] == []


def test_own_searches_are_measured_here(world: World, own: Path, tmp_path: Path,
                                        ours: Any) -> None:  # noqa: ANN401
    saving = world.module("nodes.saving").Saving(tmp_path)
    plain = replace(ours, info=replace(ours.info, error=None))
    saving.keep(plain)
    assert world.module("nodes.measured").all_figures() == {}
    saving.keep(ours)
    assert world.module("nodes.measured").all_figures()[ours.id][0].info.error == ours.info.error
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    world.module("nodes.saving").Saving(elsewhere, figures=False).keep(ours)
    assert [path.suffix for path in elsewhere.iterdir()] == [".safetensors"]
