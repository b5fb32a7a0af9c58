"""The opponents are complete: every sampler of ComfyUI is tried or left out for what it does."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from .world import CHANNELS, EPS, FLOW, ROUNDING, World, latent, prompt

TRIED = {"euler", "heun", "heunpp2", "exp_heun_2_x0", "dpm_2", "lms", "dpm_fast", "dpmpp_2m",
         "ipndm", "ipndm_v", "deis", "res_multistep", "gradient_estimation", "ddim", "uni_pc",
         "uni_pc_bh2"}
NOISY = {"euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "res_multistep_ancestral",
         "dpmpp_sde", "dpmpp_sde_gpu", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpmpp_2m_sde_heun",
         "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "exp_heun_2_x0_sde",
         "ddpm", "lcm", "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece"}
GUIDING = {"euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2s_ancestral_cfg_pp",
           "dpmpp_2m_cfg_pp", "res_multistep_cfg_pp", "res_multistep_ancestral_cfg_pp",
           "gradient_estimation_cfg_pp"}


@pytest.fixture
def builtin(world: World) -> Iterator[ModuleType]:
    module = world.module("nodes.comfy_bridge.builtin")
    yield module
    module.why_left_out.cache_clear()


def sibling(module: ModuleType, name: str) -> ModuleType:
    """A module beside another one of the loaded pack."""
    return importlib.import_module(f"{module.__package__}.{name}")


def test_every_builtin_sampler_is_tried_or_left_out_for_what_it_does(
        builtin: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    import comfy.samplers

    builtin.why_left_out.cache_clear()
    with caplog.at_level(logging.WARNING, "solver-search"):
        found = {name: builtin.why_left_out(name) for name in comfy.samplers.SAMPLER_NAMES}
    assert not caplog.records
    expected = {**dict.fromkeys(TRIED, ""), **dict.fromkeys(NOISY, "adds noise"),
                **dict.fromkeys(GUIDING, "changes the guidance"),
                "dpm_adaptive": "adaptive, no fixed number of calls"}
    assert {name: found[name] for name in expected} == expected
    reasons = set(expected.values()) | {"ours"}  # a newer ComfyUI may have more samplers
    assert set(found.values()) <= reasons
    assert set(builtin.deterministic_samplers()) == {n for n, why in found.items() if not why}


def euler(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor, extra_args: dict,
          callback: object = None, disable: object = None) -> Tensor:
    """A plain sampler to make others of."""
    for i in range(len(sigmas) - 1):
        d = (x - model(x, sigmas[i] * x.new_ones(len(x)), **extra_args)) / sigmas[i]
        x = x + d * (sigmas[i + 1] - sigmas[i])
    return x


def guiding(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor, extra_args: dict,
            callback: object = None, disable: object = None) -> Tensor:
    """Steps along the unconditional answer, as the CFG++ kind does."""
    import comfy.model_patcher

    seen = []

    def read(args: dict) -> Tensor:
        seen.append(args["uncond_denoised"])
        return args["denoised"]

    options = comfy.model_patcher.set_model_options_post_cfg_function(
        extra_args.get("model_options", {}).copy(), read, disable_cfg1_optimization=True)
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i] * x.new_ones(len(x)),
                         **{**extra_args, "model_options": options})
        x = denoised + (x - seen[-1]) / sigmas[i] * sigmas[i + 1]
    return x


def noisy(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor, **more: Any) -> Tensor:  # noqa: ANN401
    return euler(model, x, sigmas, more["extra_args"]) + torch.randn_like(x)


def broken(model: Callable[..., Tensor], x: Tensor, sigmas: Tensor, **more: object) -> Tensor:
    raise NotImplementedError("only for video")


def register(monkeypatch: pytest.MonkeyPatch, name: str, sample: Callable[..., Tensor]) -> None:
    """A sampler in ComfyUI's menu, as a newer version of it would have."""
    import comfy.samplers
    from comfy.k_diffusion import sampling

    monkeypatch.setattr(sample, "__module__", sampling.__name__)
    monkeypatch.setattr(sampling, f"sample_{name}", sample, raising=False)
    monkeypatch.setattr(comfy.samplers, "SAMPLER_NAMES", [*comfy.samplers.SAMPLER_NAMES, name])


@pytest.mark.parametrize("name, sample, reason", [
    ("cfgpp_ud10_ab", guiding, "changes the guidance"),
    ("plain_words", guiding, "changes the guidance"),
    ("not_cfg_pp", euler, ""),
    ("dpm_adaptive_sde", euler, ""),
    ("quiet", noisy, "adds noise"),
])
def test_a_new_sampler_is_judged_by_what_it_does(
        builtin: ModuleType, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture, name: str, sample: Callable[..., Tensor],
        reason: str) -> None:
    import comfy.samplers

    register(monkeypatch, name, sample)
    samplers = sibling(builtin, "samplers")
    with caplog.at_level(logging.WARNING, "solver-search"):
        assert builtin.why_left_out(name) == reason
        assert (name in builtin.deterministic_samplers()) == (reason == "")
        place = samplers.place_in(comfy.samplers.sampler_object(name))
    assert not caplog.records
    assert samplers.changes_guidance(name) == bool(place.why_not) == (reason.startswith("changes"))
    assert samplers.adds_noise(name) == (reason == "adds noise")


def test_a_sampler_that_fails_is_named_once(builtin: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                            caplog: pytest.LogCaptureFixture) -> None:
    register(monkeypatch, "broken", broken)
    with caplog.at_level(logging.WARNING, "solver-search"):
        assert builtin.why_left_out("broken") == "fails: only for video"
        assert "broken" not in builtin.deterministic_samplers()
    assert len(caplog.records) == 1 and "only for video" in caplog.text


def test_noise_is_told_of_the_names_an_artist_sees(builtin: ModuleType) -> None:
    samplers = sibling(builtin, "samplers")
    assert [samplers.adds_noise(name) for name in (
        "euler_ancestral", "dpmpp_2m_sde_gpu", "dpm_adaptive", "euler", "euler_cfg_pp")] == [
        True, True, False, False, False]


def test_trying_leaves_every_random_state_alone(builtin: ModuleType,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens while a picture is sampled."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    builtin.why_left_out.cache_clear()
    assert builtin.why_left_out("euler_ancestral") == "adds noise"
    assert builtin.why_left_out("ddpm") == "adds noise"
    assert torch.equal(torch.get_rng_state(), before) and not seeded


def sampling_of(models: dict, name: str) -> Any:  # noqa: ANN401
    return models[name].get_model_object("model_sampling")


@pytest.mark.parametrize("name", [FLOW, EPS])
def test_every_node_sampler_is_made_and_adds_no_noise(world: World, models: dict,
                                                      builtin: ModuleType, name: str) -> None:
    node_only = world.module("nodes.comfy_bridge.node_only")
    patcher = builtin.patcher_of(sampling_of(models, name))
    made = dict(node_only._made(node_only.SAMPLERS, model=patcher))
    assert list(made) == [recipe.label for recipe in node_only.SAMPLERS]
    assert {label: builtin.why_unfit(sampler) for label, sampler in made.items()} == (
        dict.fromkeys(made, ""))
    loud = [node_only.Recipe(r.label, r.node, {**r.inputs, "eta": 1.0}) for r in node_only.SAMPLERS
            if "eta" in r.inputs and r.node != "SamplerER_SDE"]  # ODE has no eta
    assert len(loud) > 8
    for _, sampler in node_only._made(loud, model=patcher):
        assert builtin.why_unfit(sampler) == "adds noise"


def test_a_sampler_of_the_menu_under_another_name_is_not_tried_again(world: World,
                                                                     models: dict) -> None:
    """At eta 0 DPM++ 2M SDE is dpmpp_2m on eps models; on flow models only it knows alpha."""
    node_only = world.module("nodes.comfy_bridge.node_only")
    tried = {name: {s.sampler for s in node_only.node_settings(sampling_of(models, name), 6)}
             for name in (FLOW, EPS)}
    assert "DPM++ 2M SDE eta 0" in tried[FLOW] - tried[EPS]
    assert {"ER-SDE ODE", "DPM++ 3M SDE eta 0", "SA-Solver eta 0"} <= tried[FLOW] & tried[EPS]
    assert {"euler", "ipndm", "lms"} <= tried[FLOW] & tried[EPS]
    assert "ddim" not in tried[FLOW] | tried[EPS]  # euler


@pytest.mark.parametrize("denoise", [1.0, 0.5])
@pytest.mark.parametrize("name", [FLOW, EPS])
def test_node_settings_are_usable_new_and_within_their_calls(
        world: World, models: dict, builtin: ModuleType, name: str, denoise: float) -> None:
    node_only = world.module("nodes.comfy_bridge.node_only")
    ordinary = world.module("nodes.comfy_bridge.ordinary")
    ms = sampling_of(models, name)
    found = node_only.node_settings(ms, 6, denoise)
    menu = {s.label for s in ordinary.settings(ms, 6, ordinary.deterministic_samplers(), denoise)}
    assert 200 < len(found) < 1000
    labels = [s.label for s in found]
    assert len(set(labels)) == len(labels) and not set(labels) & menu
    top = ordinary.first_sigma(ms, denoise)
    for s in found:
        assert (s.sigmas.diff() < 0).all() and s.sigmas[0] <= top * 1.0001, s.label
        assert s.sigmas[-1] == 0 or s.scheduler.startswith("laplace"), s.label
        assert 3 < builtin.calls_of(s.made, s.sigmas) <= 6, s.label


def test_node_schedules_are_the_curves_they_are_called(world: World, models: dict) -> None:
    node_only = world.module("nodes.comfy_bridge.node_only")
    ms = sampling_of(models, EPS)
    top, low = float(ms.sigma_max), float(ms.sigma_min)
    found = node_only.node_schedules(ms, 6)
    ramp = torch.linspace(0, 1, 6, dtype=torch.float64)
    karras = (top ** (1 / 3) + ramp * (low ** (1 / 3) - top ** (1 / 3))) ** 3
    assert torch.allclose(found["karras(3)"][:-1], karras, rtol=1e-5)  # float32
    (vp,) = [sigmas for label, sigmas in found.items() if label.startswith("vp(")]
    assert float(vp[0]) == pytest.approx(top, rel=1e-4)  # float32 of exp(5)
    assert float(vp[-2]) == pytest.approx(low, rel=1e-3)  # float32 of a small t
    assert 0 < float(found["laplace(0, 0.5)"][-1]) < low
    # The middle of a Laplace law is its mu; the last sigma comes of the node's own 1e-5.
    assert float(found["laplace(0, 0.5)"][3]) == pytest.approx(math.exp(0), rel=1e-4)
    flow = node_only.node_schedules(sampling_of(models, FLOW), 6)
    assert float(flow["ltxv(shift 3, to 0.1)"][-2]) == pytest.approx(0.1, rel=1e-4)
    assert not any(label.startswith("vp(") for label in flow)


@pytest.mark.parametrize("name, label, calls", [
    (FLOW, "ER-SDE ODE/beta(0.5, 0.7)@3", 6), (FLOW, "SA-Solver PECE eta 0/simple@3", 9),
    (EPS, "ER-SDE ODE/karras(3)", 6), (EPS, "euler/laplace(0, 0.5)", 6)])
def test_a_node_setting_is_what_sampler_custom_gives(world: World, models: dict, name: str,
                                                     label: str, calls: int) -> None:
    import comfy.sample
    from comfy_extras import nodes_custom_sampler as custom

    node_only = world.module("nodes.comfy_bridge.node_only")
    session = world.module("nodes.comfy_bridge.session")
    model = models[name]
    sampler, sigmas = by_hand(custom, model, label)
    noise = comfy.sample.prepare_noise(latent(name, 2)["samples"], 5)
    conditions = prompt(name, "cat, night"), prompt(name)
    guider = session.make_guider(model, *conditions, 4.0)

    def work(inside: Any) -> Tensor:  # noqa: ANN401
        ordinary = world.module("nodes.comfy_bridge.ordinary")
        (choice,) = [s for s in node_only.node_settings(inside.sampling, calls)
                     if s.label == label]
        assert torch.allclose(choice.sigmas.float(), sigmas, rtol=1e-6)
        ends = ordinary.run_setting(inside, choice, inside.starts(noise), torch.arange(2))
        # SamplerCustom divides by what the last sigma leaves of a flow model's picture.
        return inside.latent(ends)

    ours = session.within(guider, latent(name, 2)["samples"], work, seed=5)
    with torch.inference_mode():
        theirs = custom.SamplerCustom.execute(model, True, 5, 4.0, *conditions, sampler, sigmas,
                                              latent(name, 2)).args[0]["samples"]
    assert torch.allclose(ours, theirs, atol=ROUNDING * 20 * float(theirs.abs().max()))


def by_hand(custom: ModuleType, model: Any, label: str) -> tuple[Any, Tensor]:  # noqa: ANN401
    """What an artist puts into the nodes for a label."""
    ms = model.get_model_object("model_sampling")
    top, low = float(ms.sigma_max), float(ms.sigma_min)
    samplers = {
        "ER-SDE ODE": lambda: custom.SamplerER_SDE.execute("ODE", 3, 1.0, 1.0),
        "SA-Solver PECE eta 0": lambda: custom.SamplerSASolver.execute(
            model, 0.0, 0.2, 0.8, 1.0, 3, 4, True, False),
        "euler": lambda: custom.KSamplerSelect.execute("euler")}
    curves = {
        "beta(0.5, 0.7)@3": lambda: custom.BetaSamplingScheduler.execute(model, 6, 0.5, 0.7),
        "simple@3": lambda: custom.BasicScheduler.execute(model, "simple", 5, 1.0),
        "karras(3)": lambda: custom.KarrasScheduler.execute(6, top, low, 3.0),
        "laplace(0, 0.5)": lambda: custom.LaplaceScheduler.execute(7, top, 0.0, 0.0, 0.5)}
    sampler, curve = label.split("/")
    return samplers[sampler]().args[0], curves[curve]().args[0]


def test_compare_shows_the_best_node_setting_in_a_row_of_its_own(
        world: World, models: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders, compared = (world.module(f"nodes.{name}") for name in ("contenders", "compared"))
    session = world.module("nodes.comfy_bridge.session")
    solver = sibling(world.module("presets.preset"), "published").published()[0]
    real = contenders.node_settings

    def few(ms: Any, calls: int, denoise: float) -> list:  # noqa: ANN401
        return [s for s in real(ms, calls, denoise) if s.sampler == "ER-SDE ODE"][-3:]

    monkeypatch.setattr(contenders, "node_settings", few)
    monkeypatch.setattr(contenders, "deterministic_samplers", lambda: ("euler",))
    guider = session.make_guider(models[FLOW], prompt(FLOW, "cat"), prompt(FLOW), 2.0)
    size = torch.zeros(2, CHANNELS[FLOW], 8, 8)

    def rows(opponents: str) -> list[tuple[str, str, int]]:
        plan = contenders.Comparison([solver], 2, 1000, 2, opponents)
        found = session.within(guider, size, plan.run, seed=0)
        assert len(found.pictures) == len(found.ways) + 1
        few_or_none = compared.tried(found, "node_only")
        assert ("need nodes" in compared.table(found)) == (few_or_none > 0)
        return [(way.measured.label.split("/")[0], way.kind, way.tried) for way in found.ways]

    menu, ours = rows(contenders.EVERYTHING)
    assert menu[:2] == ("euler", "builtin")
    assert rows(contenders.NODE_ONLY) == [menu, ("ER-SDE ODE", "node_only", 3), ours]


def test_workflows_saved_before_keep_their_opponents(world: World) -> None:
    inputs = {i.id: i for i in world.of("Compare").define_schema().inputs}
    assert inputs["opponents"].options[:2] == ["popular samplers, all schedules",
                                               "all built-in samplers and schedules"]
    assert inputs["opponents"].default == "popular samplers, all schedules"
