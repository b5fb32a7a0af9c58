"""The CFG range of a preset is what was measured, and what it costs is told before."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from .pack import load, preset_of
from .test_in_comfyui import shorten
from .world import FLOW, World, latent, prompt


@pytest.fixture
def guidance(comfy: ModuleType) -> ModuleType:
    return load("nodes.guidance")


def test_scales_lie_around_what_cfg_adds(guidance: ModuleType) -> None:
    known = guidance.RANGES
    assert known["standard"].scales(3.0) == [2.0, 2.5, 3.5, 4.0]
    assert known["quick"].scales(7.0) == [4.0, 10.0]
    for extent in known.values():
        assert min(extent.scales(1.0)) > 1  # below it there is no guidance to change
        assert all(len(extent.scales(cfg)) >= 2 for cfg in (0.0, 1.0, 1.2, 2.5, 20.0))


@pytest.mark.parametrize(("won", "low", "high"), [
    ("wwwww", 1, 5), ("lwwwl", 2, 4), ("wlwww", 3, 5), ("llwll", 3, 3), ("wwlww", None, None),
    ("lllll", None, None)])
def test_the_range_ends_at_the_first_lost_scale(guidance: ModuleType, won: str,
                                                 low: float | None, high: float | None) -> None:
    at = [guidance.AtScale(float(cfg), 0.1 if mark == "w" else 0.3, 0.2)
          for cfg, mark in enumerate(won, 1)]
    own, others = at[2], [at[4], at[0], at[3], at[1]]
    info = guidance.with_range(preset_of(table()).info, own, others)
    assert (info.guidance_low, info.guidance_high) == (low, high)
    assert info.guidance_measured.startswith("1: 0.") and info.guidance_measured.count(",") == 4


def table() -> Any:  # noqa: ANN401
    sigmas = torch.tensor([1, 0.8, 0.5, 0.2, 0]).double()
    return load("solver_search.tableaus").TABLEAUS["euler"](sigmas, flow=True)


def in_session(model: Any, cfg: float, work: Any) -> Any:  # noqa: ANN401
    session = load("nodes.comfy_bridge.session")
    guider = session.make_guider(model, prompt(FLOW, "cat, night"), prompt(FLOW), cfg)
    return session.within(guider, latent(FLOW, 4)["samples"], work, seed=0)


def test_what_is_measured_is_what_the_scale_gives(world: World, models: dict) -> None:
    """The numbers at a scale are those of a session at that scale from the start."""
    guidance, evidence, ordinary = (load(f"nodes.{name}") for name in (
        "guidance", "evidence", "comfy_bridge.ordinary"))
    extent = guidance.Range((0.5, 1.5), (), 3, evidence.Rounds(((4, 4), (8, 1))), 8, 20)
    preset = preset_of(table(), guidance=3.0)
    noise = torch.randn(8, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    items = torch.arange(8)

    def around(session: Any) -> Any:  # noqa: ANN401
        trial = evidence.make_trial(session, session.starts(noise), items, 4)
        ranking = ordinary.settings(session.sampling, 4, ("euler", "dpmpp_2m"))
        found = guidance.measure_around(session, preset, trial, ranking, extent)
        assert session.guidance == 3.0  # put back
        return found

    def alone(session: Any) -> Any:  # noqa: ANN401
        trial = evidence.make_trial(session, session.starts(noise), items, 4, calls=20)
        settings = ordinary.settings(session.sampling, 4, ("euler", "dpmpp_2m"))
        names = [s.label for s in settings]
        few = [s for s in settings if names.index(s.label) in (0, 1, 2) or
               s.sampler == "dpmpp_2m"][:6]
        return trial.solver(preset.solver, "").mean, trial.best_of(few, 4, extent.rounds).mean

    found = in_session(models[FLOW], 3.0, around)
    assert [at.cfg for at in found] == [2.0, 4.0]
    for at in found:
        error, builtin = in_session(models[FLOW], at.cfg, alone)
        assert (at.error, at.builtin) == pytest.approx((error, builtin), rel=1e-5)  # float32
    assert found[1].error > found[0].error  # more guidance, harder steps


def test_each_start_is_sampled_at_its_own_scale(world: World, models: dict) -> None:
    """Dealt among others it gets the answer, and the guidance, of a session at that scale."""
    noise = torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(4))
    scales = torch.tensor([2.0, 5.0, 2.0, 3.0])

    def answers(deal: bool) -> Any:  # noqa: ANN401
        def work(session: Any) -> Any:  # noqa: ANN401
            if deal:
                session.deal(torch.zeros(4, dtype=torch.long), scales)
            found = session.denoise(noise, torch.tensor(0.7), torch.arange(4))
            return found, session.added
        return work

    together, added = in_session(models[FLOW], 3.0, answers(True))
    for place, scale in enumerate(scales.tolist()):
        alone, more = in_session(models[FLOW], scale, answers(False))
        assert torch.allclose(together[place], alone[place], atol=2e-5)  # another batch size
        assert torch.allclose(added[place], more[place], atol=2e-5)
    assert not torch.allclose(together[1], in_session(models[FLOW], 3.0, answers(False))[0][1],
                              atol=1e-3)


def test_starts_of_a_range_are_searched_in_units_in_which_they_err_alike(world: World,
                                                                         models: dict) -> None:
    """Else those at the highest scale decide alone. The model never sees these units."""
    config = load("solver_search.config").SearchConfig(6, "fit", "quick", 0, reach=2.0)
    setup = load("nodes.search_setup").Setup(latent(FLOW, 4)["samples"], config)
    facts = load("nodes.comfy_bridge.model").facts(models[FLOW])

    def work(session: Any) -> Any:  # noqa: ANN401
        problem, items = setup.problem(session, facts), torch.arange(8)
        units, sigma = problem.balance, torch.tensor(problem.sigma_max)
        ours = problem.denoise(problem.starts[items], sigma, items), problem.guidance()
        model = session.denoise(problem.starts[items] / units[items], sigma, items), session.added
        for one, other in zip(ours, model, strict=True):
            assert torch.allclose(one, other * units[items], rtol=1e-4, atol=1e-5)  # float32
        once, twice = (problem.starts[items] / units[items] for _ in range(2))
        trial = load("nodes.evidence").Trial(session, once, items, twice, 4)
        euler = [trial.solver(setup._euler(session, n), "").ends for n in (6, 12)]
        return units.flatten(), (euler[0] - euler[1]).flatten(1).norm(dim=1), session.scales

    units, errors, scales = in_session(models[FLOW], 4.0, work)
    assert len(units) == config.sizes.searched and units.log().mean().abs() < 1e-5
    assert units[:4].equal(units[4:8]) and (units[:4].diff() < 0).all()
    assert scales[:4].tolist() == pytest.approx([2, 10 / 3, 14 / 3, 6])
    apart = [float((e[3::4] / e[::4]).log().mean().exp()) for e in (errors, errors * units[:8])]
    assert apart[0] > 10 and 0.5 < apart[1] < 2  # two starts say how errors grow: about


def test_a_search_for_a_range_is_measured_at_its_ends(
        world: World, models: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(world, monkeypatch)
    monkeypatch.setattr(world.module("nodes.proof"), "POPULAR_SAMPLERS", ("euler", "dpmpp_2m"))
    given = {"latent": latent(FLOW, 4), "steps": 4, "method": "fit", "effort": "quick", "seed": 0,
             "cfg": 2.0, "cfg_to": 5.0, "model": models[FLOW],
             "positive": prompt(FLOW, "cat, night"), "negative": prompt(FLOW)}
    with torch.inference_mode():
        out = world.of("Search").execute(**{name: [value] for name, value in given.items()})
    info = out.args[0].info
    assert info.guidance == 3.5
    if not info.builtin:
        assert [float(part.split(":")[0]) for part in info.guidance_measured.split(", ")] == [
            2.0, 3.5, 5.0]
    assert "cfg 2 to 5" in info.name
    with pytest.raises(ValueError, match="cfg_to must lie above cfg, 2, found 1"):
        world.of("Search").execute(**{n: [v] for n, v in {**given, "cfg_to": 1.0}.items()})
