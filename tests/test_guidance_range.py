"""The CFG range of a preset is what was measured, and what it costs is told before."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from .matrix.families import FAMILIES
from .pack import load, preset_of
from .world import FLOW, World, latent, prompt


@pytest.fixture
def guidance(comfy: ModuleType) -> ModuleType:
    return load("nodes.guidance")


def test_scales_lie_around_what_cfg_adds(guidance: ModuleType) -> None:
    assert guidance.scales(3.0) == [2.0, 2.5, 3.5, 4.0]
    assert guidance.scales(7.0) == [4.0, 5.5, 8.5, 10.0]
    assert min(guidance.scales(1.0)) > 1  # below it there is no guidance to change
    assert all(len(guidance.scales(cfg)) >= 3 for cfg in (0.0, 1.0, 1.2, 2.5, 20.0))


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


def test_what_is_measured_is_what_the_scale_gives(world: World, models: dict,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers at a scale are those of a session at that scale from the start."""
    guidance, evidence, ordinary = (load(f"nodes.{name}") for name in (
        "guidance", "evidence", "comfy_bridge.ordinary"))
    monkeypatch.setattr(guidance, "CALLS", 20)
    monkeypatch.setattr(guidance, "AROUND", (0.5, 1.5))
    preset = preset_of(table(), guidance=3.0)
    noise = torch.randn(8, 16, 8, 8, generator=torch.Generator().manual_seed(3))
    items = torch.arange(8)

    def around(session: Any) -> Any:  # noqa: ANN401
        trial = evidence.make_trial(session, session.starts(noise), items, 4)
        ranking = ordinary.settings(session.sampling, 4, ("euler", "dpmpp_2m"))
        found = guidance.measure_around(session, preset, trial, ranking)
        assert session.guidance == 3.0  # put back
        return found

    def alone(session: Any) -> Any:  # noqa: ANN401
        trial = evidence.make_trial(session, session.starts(noise), items, 4, calls=guidance.CALLS)
        settings = ordinary.settings(session.sampling, 4, ("euler", "dpmpp_2m"))
        names = [s.label for s in settings]
        few = [s for s in settings if names.index(s.label) in (0, 1, 2) or
               s.sampler == "dpmpp_2m"][:6]
        return trial.solver(preset.solver, "").mean, trial.best_of(few, 4, guidance.STAGES).mean

    found = in_session(models[FLOW], 3.0, around)
    assert [at.cfg for at in found] == [2.0, 4.0]
    for at in found:
        error, builtin = in_session(models[FLOW], at.cfg, alone)
        assert (at.error, at.builtin) == pytest.approx((error, builtin), rel=1e-5)  # float32
    assert found[1].error > found[0].error  # more guidance, harder steps


@pytest.mark.parametrize("kind", ["CFGGuider", "BasicGuider", "DualCFGGuider", "CFG 1"])
def test_the_calls_of_the_evidence_are_counted(world: World, models: dict, kind: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """What a search says it will spend on evidence is what it spends, at every CFG scale."""
    from .matrix.ways import GUIDERS

    sessions, config = load("nodes.comfy_bridge.session"), load("solver_search.config")
    effort = config.replace(config.EFFORTS["quick"], evidence=8)
    monkeypatch.setitem(config.EFFORTS, "quick", effort)
    for module in ("nodes.evidence", "nodes.proof"):
        monkeypatch.setattr(load(module), "POPULAR_SAMPLERS", ("euler", "dpmpp_2m"))
    subject = FAMILIES["SD3"].build()
    guider = (sessions.make_guider(subject.model, subject.positive, subject.negative, 1.0)
              if kind == "CFG 1" else GUIDERS[kind](subject, subject.model))
    setup = load("nodes.search_setup").Setup(torch.zeros(4, *subject.latent.shape[1:]),
                                             config.SearchConfig(4, effort="quick"))
    preset, spent = preset_of(table(), guidance=3.0), [0]
    original = sessions.Session.denoise

    def counted(self: Any, x: Any, sigma: Any, items: Any) -> Any:  # noqa: ANN401
        spent[0] += len(x)
        return original(self, x, sigma, items)

    monkeypatch.setattr(sessions.Session, "denoise", counted)
    proof = load("nodes.proof")

    def work(session: Any) -> tuple[int, Any]:  # noqa: ANN401
        told = proof.proof_calls(session, [4], effort.evidence, 1.0, thorough=False)
        trial = setup.trial(session)
        info, ranking = proof.prove(trial, preset, thorough=False)
        if session.guidance is not None:
            info = proof.ranged(session, load("presets.preset").Preset(preset.solver, info),
                                trial, ranking)
        return told, info

    told, info = sessions.within(guider, setup.latent, work, seed=0)
    assert spent[0] == told
    assert bool(info.guidance_measured) is (kind in ("CFGGuider", "CFG 1"))
