"""A searched preset in other people's graphs: each fault that was met there, and a neighbour."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from .matrix.families import FAMILIES, Subject
from .matrix.searched import preset_for, random_solver, searched, simple
from .matrix.ways import half_mask, picture
from .pack import load
from .world import EPS, FLOW, latent, prompt

STEPS = 6


@pytest.fixture(autouse=True)
def no_grad(world: ModuleType) -> Any:  # noqa: ANN401
    with torch.inference_mode():
        yield


@pytest.fixture(params=[FLOW, EPS])
def subject(request: pytest.FixtureRequest, models: dict) -> Subject:
    """A trained demo model."""
    name = request.param
    return Subject(models[name], prompt(name, "cat, night"), prompt(name),
                   latent(name, 1)["samples"])


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said on the running node."""
    lines: list[str] = []
    monkeypatch.setattr(load("nodes.comfy_bridge.apply"), "say", lines.append)
    return lines


def use(model: Any, preset: Any) -> Any:  # noqa: ANN401
    return load("nodes.comfy_bridge.apply").use_preset(model, preset)


def run(subject: Subject, model: Any, sampler: Any, sigmas: Tensor,  # noqa: ANN401
        latent: Tensor | None = None, mask: Tensor | None = None,
        seen: list | None = None, seed: int = 5) -> Tensor:
    """What SamplerCustom gives, with every callback in `seen`."""
    import comfy.sample
    import comfy.samplers

    start = subject.latent if latent is None else latent
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(subject.positive, subject.negative)
    guider.set_cfg(3.0)

    def callback(step: int, x0: Tensor, x: Tensor, total: int) -> None:
        if seen is not None:
            seen.append((step, x0.clone(), total))

    return guider.sample(comfy.sample.prepare_noise(start, seed), start, sampler, sigmas,
                         denoise_mask=mask, callback=callback, seed=seed)


def ksampler(subject: Subject, model: Any, steps: int, sampler: str = "euler",  # noqa: ANN401
             scheduler: str = "simple", **more: Any) -> Tensor:  # noqa: ANN401
    import nodes

    given = {"latent": {"samples": subject.latent}, **more}
    return nodes.common_ksampler(model, 5, steps, 3.0, sampler, scheduler, subject.positive,
                                 subject.negative, **given)[0]["samples"]


def euler() -> Any:  # noqa: ANN401
    import comfy.samplers

    return comfy.samplers.sampler_object("euler")


def sampler_of(preset: Any) -> tuple[Any, Tensor]:  # noqa: ANN401
    apply = load("nodes.comfy_bridge.apply")
    return apply.as_sampler(preset), preset.solver.sigmas.float()


@pytest.mark.parametrize("denoise", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("passes", [1, 5])
def test_what_a_mask_keeps_stays_to_the_bit(subject: Subject, denoise: float,
                                             passes: int) -> None:
    """Case 02: the unmasked part changed by 0.94 % in one pass and by 4.8 % in five."""
    begun, mask = picture(subject), half_mask(subject)
    kept, used = (mask == 0).expand(begun.shape), use(subject.model, searched(subject, STEPS))
    ends = []
    for model in (used, subject.model):
        end = begun
        for _ in range(passes):
            end = ksampler(subject, model, STEPS, denoise=denoise,
                           latent={"samples": end, "noise_mask": mask})
        ends.append(end)
    ours, theirs = ((end - begun)[kept].abs().max() for end in ends)
    assert float(ours) <= float(theirs)  # what is left is process_latent_in and out
    assert float((ends[0] - begun)[~kept].abs().max()) > 0.01


@pytest.mark.parametrize("mask", [0.0, 0.3, 0.5, 1.0])
def test_a_soft_mask_mixes_the_end_with_the_picture(mask: float) -> None:
    """Where a mask is m everywhere the end is m of the solver's own and 1 - m of the picture."""
    canvas, loop = load("solver_search.canvas"), load("solver_search.sample")
    subject = FAMILIES["SD3"].build()
    solver = random_solver(subject, STEPS).without_means()
    generator = torch.Generator().manual_seed(1)
    x, kept, *outs = torch.randn(STEPS + 2, 2, 3, 4, 4, generator=generator, dtype=torch.float64)
    left, again = iter(outs), iter(outs)
    own = loop.sample(lambda state, sigma: next(left), solver, x)
    mixed = loop.sample(lambda state, sigma: mask * next(again) + (1 - mask) * kept,
                        solver, x, canvas=canvas.Canvas((), torch.full_like(x, mask), kept))
    assert torch.allclose(mixed, mask * own + (1 - mask) * kept, atol=1e-12)  # float64


def test_the_last_x0_is_the_picture(subject: Subject) -> None:
    """Case 01: nodes that keep the last x0 lost the last row."""
    preset = searched(subject, STEPS)
    sampler, sigmas = sampler_of(preset)
    for model, chosen, asked in ((subject.model, sampler, sigmas),
                                 (use(subject.model, preset), euler(), simple(subject, STEPS))):
        seen: list = []
        out = run(subject, model, chosen, asked, seen=seen)
        assert [step for step, _, _ in seen] == list(range(STEPS))
        last = subject.model.model.process_latent_out(seen[-1][1])
        assert torch.equal(last, out)
        assert not torch.allclose(seen[-2][1], out, atol=1e-3)


def test_a_run_that_stops_early_shows_the_models_guess(subject: Subject) -> None:
    """The neighbour of case 01: with noise left over x0 is not the state."""
    sampler, sigmas = sampler_of(searched(subject, STEPS))
    whole: list = []
    part: list = []
    run(subject, subject.model, sampler, sigmas, seen=whole)
    run(subject, subject.model, sampler, sigmas[:3], seen=part)
    assert torch.equal(part[0][1], whole[0][1])  # the same first model output
    assert len(part) == 2


def looked_up(model: Any) -> tuple[Any, list[int]]:  # noqa: ANN401
    """The model, and the place in sample_sigmas at which each call found its level (-1: none)."""
    found: list[int] = []

    def look(call: Callable, given: dict[str, Any]) -> Tensor:
        options = given["c"]["transformer_options"]
        same = (options["sigmas"][0] == options["sample_sigmas"]).nonzero().flatten().tolist()
        found.append(same[0] if same else -1)
        return call(given["input"], given["timestep"], **given["c"])

    watched = model.clone()
    watched.set_model_unet_function_wrapper(look)
    return watched, found


@pytest.mark.parametrize("steps", [4, 6, 9])
def test_patches_find_the_level_of_every_call(subject: Subject, steps: int) -> None:
    """Case 03: found at 0 of 6 calls."""
    preset = searched(subject, steps)
    assert preset.solver.model_sigmas is not None
    watched, found = looked_up(use(subject.model, preset))
    run(subject, watched, euler(), simple(subject, steps))
    assert found == list(range(steps))
    watched, found = looked_up(subject.model)
    sampler, sigmas = sampler_of(preset)
    run(subject, watched, sampler, sigmas[2:])
    assert found == list(range(steps - 2))


def test_context_windows_move_on_with_the_steps() -> None:
    """Case 03 on Wan: windows that shift with the step stayed at the first."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode as Windows

    wan = FAMILIES["Wan 2.1"].build()
    long = Subject(wan.model, wan.positive, wan.negative, torch.zeros(1, 16, 11, 8, 8))
    made = Windows.execute(long.model, 17, 4, "standard_uniform", 1, False, "pyramid", True)
    handler = made.args[0].model_options["context_handler"]
    steps: list[int] = []
    found = handler.get_context_windows
    handler.get_context_windows = lambda *given: (steps.append(handler._step), found(*given))[1]
    run(long, use(made.args[0], searched(long, STEPS)), euler(), simple(long, STEPS))
    assert sorted(set(steps)) == list(range(STEPS))


def test_a_measured_cfg_range_is_said_where_it_ends(subject: Subject, said: list[str]) -> None:
    """Case 04: CFG 4.2 was advised where Euler was better."""
    preset = searched(subject, STEPS)
    ranged = replace(preset, info=replace(
        preset.info, guidance_low=2.0, guidance_high=3.0, guidance_measured="2: 0.1 / 0.2"))
    for known, low, expected in ((ranged, 2.5, ""), (ranged, 3.0, ""),
                                 (ranged, 3.01, "from CFG 2 to 3, as measured"),
                                 (preset, 3.0, ""), (preset, 3.1, "Unknown away from CFG 3.")):
        said.clear()
        nodes = importlib.import_module("nodes")
        nodes.common_ksampler(use(subject.model, known), 5, STEPS, low, "euler", "simple",
                              subject.positive, subject.negative, {"samples": subject.latent})
        assert len(said) == 1
        assert expected in said[0] and ("CFG" in said[0]) == bool(expected)


def less_sigma(model: Any, x: Tensor, sigmas: Tensor, *, wrapped: Any,  # noqa: ANN401
               **named: Any) -> Tensor:  # noqa: ANN401
    """What Detail Daemon does: the model is told less noise than there is."""
    def told(state: Tensor, sigma: Tensor, **extra: Any) -> Tensor:  # noqa: ANN401
        return model(state, sigma * 0.9, **extra)

    told.inner_model, told.sigmas = model.inner_model, sigmas
    return wrapped.sampler_function(told, x, sigmas, **named, **wrapped.extra_options)


def test_a_sampler_around_another_keeps_its_place(subject: Subject, said: list[str]) -> None:
    """Case 05: Detail Daemon was gone to the bit."""
    import comfy.samplers

    preset = searched(subject, STEPS)
    plain = run(subject, use(subject.model, preset), euler(), simple(subject, STEPS))
    around = comfy.samplers.KSAMPLER(less_sigma, {"wrapped": euler()})
    ours = run(subject, use(subject.model, preset), around, simple(subject, STEPS))
    own, sigmas = sampler_of(preset)
    by_hand = run(subject, subject.model,
                  comfy.samplers.KSAMPLER(less_sigma, {"wrapped": own}), sigmas)
    assert torch.equal(ours, by_hand)
    assert not torch.allclose(ours, plain, atol=1e-3)
    assert any("'test' samples inside less_sigma instead of euler." in line for line in said)
    assert around.extra_options["wrapped"].sampler_function is euler().sampler_function


def test_samplers_around_samplers_keep_their_places(subject: Subject) -> None:
    """The neighbour of case 05: two of them around one."""
    import comfy.samplers

    own, sigmas = sampler_of(searched(subject, STEPS))
    ends = []
    for model, inner, levels in (
            (use(subject.model, searched(subject, STEPS)), euler(), simple(subject, STEPS)),
            (subject.model, own, sigmas)):
        for _ in range(2):
            inner = comfy.samplers.KSAMPLER(less_sigma, {"wrapped": inner})
        ends.append(run(subject, model, inner, levels))
    assert torch.equal(*ends)


def test_a_mask_behind_a_sampler_around_another_keeps_its_picture(subject: Subject) -> None:
    """There the picture is not to be had from the model but from what it returns."""
    import comfy.samplers

    begun, mask = picture(subject), half_mask(subject)
    around = comfy.samplers.KSAMPLER(less_sigma, {"wrapped": euler()})
    ends = [run(subject, model, around, simple(subject, STEPS), begun, mask)
            for model in (use(subject.model, searched(subject, STEPS)), subject.model)]
    kept = (mask == 0).expand(begun.shape)
    ours, theirs = ((end - begun)[kept].abs().max() for end in ends)
    assert float(ours) <= float(theirs)


def foreign(model: Any, x: Tensor, sigmas: Tensor, **named: Any) -> Tensor:  # noqa: ANN401
    """A sampler of another pack, with options of its own."""
    return x * 0.5


def left_alone() -> dict[str, tuple[Any, str]]:
    """Samplers that are more than a plain one, and what is said of each."""
    import comfy.samplers
    from comfy_extras.nodes_advanced_samplers import sample_lcm_upscale

    return {
        "another pack's": (comfy.samplers.KSAMPLER(foreign, {"eta": 0.5}), "foreign is more"),
        "video": (comfy.samplers.ksampler("ar_video", {"num_frame_per_block": 1}), "ar_video"),
        "upscale": (comfy.samplers.KSAMPLER(sample_lcm_upscale), "sample_lcm_upscale is more"),
        "guidance": (comfy.samplers.sampler_object("euler_cfg_pp"), "changes the guidance"),
        "no function": (SimpleNamespace(), "SimpleNamespace"),
        "a way of its own": (type("Restarting", (comfy.samplers.KSAMPLER,), {})(
            comfy.samplers.sampler_object("euler").sampler_function), "Restarting"),
    }


@pytest.mark.parametrize("kind", ["another pack's", "video", "upscale", "guidance",
                                  "no function", "a way of its own"])
def test_what_is_more_than_a_sampler_stays(subject: Subject, said: list[str], kind: str) -> None:
    """Case 05: SamplerARVideo was replaced."""
    sampler, sentence = left_alone()[kind]
    sigmas = simple(subject, STEPS)
    met: list = []

    def outer(executor: Any, noise: Tensor, start: Tensor, given: Any,  # noqa: ANN401
              levels: Tensor, *rest: Any, **named: Any) -> Tensor:  # noqa: ANN401
        met.append((given, levels))
        return start

    import comfy.patcher_extension

    model = use(subject.model, searched(subject, STEPS))
    kinds = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
    model.add_wrapper_with_key(kinds, "innermost", outer)
    run(subject, model, sampler, sigmas)
    assert met == [(sampler, sigmas)]
    assert len(said) == 1 and said[0].startswith("Use Solver does nothing here")
    assert sentence in said[0]


def test_a_solver_sampler_behind_use_solver_stays(subject: Subject, said: list[str]) -> None:
    """Of two solvers the one at the sampler node is meant."""
    near, sigmas = sampler_of(searched(subject, 4))
    model = use(subject.model, searched(subject, STEPS))
    ours = run(subject, model, near, sigmas)
    assert "a solver already" in said[0]
    assert torch.equal(ours, run(subject, subject.model, near, sigmas))


@pytest.mark.parametrize(("name", "noisy"), [("euler", False), ("dpm_adaptive", False),
                                             ("euler_ancestral", True), ("er_sde", True),
                                             ("dpmpp_2m_sde_gpu", True), ("lcm", True)])
def test_plain_samplers_are_replaced_and_noise_is_named(models: dict, said: list[str], name: str,
                                                         noisy: bool) -> None:
    import comfy.samplers

    subject = Subject(models[FLOW], prompt(FLOW, "cat, night"), prompt(FLOW),
                      latent(FLOW, 1)["samples"])
    model = use(subject.model, searched(subject, STEPS))
    given = comfy.samplers.sampler_object(name)
    ours = run(subject, model, given, simple(subject, STEPS))
    assert torch.equal(ours, run(subject, model, euler(), simple(subject, STEPS)))
    assert f"'test' samples instead of {name}" in said[0]
    assert ("adds noise" in said[0]) is noisy


def test_noise_that_a_node_has_switched_off_is_not_named(comfy: ModuleType) -> None:
    from comfy_extras.nodes_custom_sampler import SamplerER_SDE, SamplerEulerAncestral

    place_in = load("nodes.comfy_bridge.samplers").place_in
    for made, name, noisy in (
            (SamplerEulerAncestral.execute(0.0, 1.0), "euler_ancestral", False),
            (SamplerEulerAncestral.execute(1.0, 1.0), "euler_ancestral", True),
            (SamplerER_SDE.execute("ODE", 3, 0.0, 1.0), "er_sde", False),
            (SamplerER_SDE.execute("ER-SDE", 3, 1.0, 1.0), "er_sde", True)):
        place = place_in(made.args[0])
        assert (place.name, place.noisy, place.why_not) == (name, noisy, "")


@pytest.mark.parametrize("cut", [0, STEPS])
def test_lists_of_one_entry_pass_the_latent_through(subject: Subject, cut: int) -> None:
    """Case 06: an error."""
    from comfy_extras.nodes_custom_sampler import SplitSigmas

    preset = searched(subject, STEPS)
    sampler, sigmas = sampler_of(preset)
    for model, chosen, levels in ((subject.model, sampler, sigmas),
                                  (use(subject.model, preset), euler(), simple(subject, STEPS))):
        single = SplitSigmas.execute(levels, cut).args[1 if cut else 0]
        assert len(single) == 1
        begun = picture(subject)
        ours = run(subject, model, chosen, single, begun)
        assert torch.equal(ours, run(subject, subject.model, euler(), single, begun))


@pytest.mark.parametrize("steps", [5, 6, 8, 10, 20])
def test_ddim_uniform_keeps_the_searched_rows(subject: Subject, steps: int) -> None:
    """Case 08: its list begins 1 to 20 % of the way below the top, or has a step more."""
    preset = searched(subject, steps)
    model = use(subject.model, preset)
    ours = ksampler(subject, model, steps, "euler", "ddim_uniform")
    assert torch.equal(ours, ksampler(subject, model, steps, "euler", "simple"))
    dropped = ksampler(subject, model, steps, "uni_pc", "ddim_uniform")
    assert torch.equal(ours, dropped)


def test_a_part_of_ddim_uniform_stays_a_part(subject: Subject) -> None:
    """The neighbour of case 08: denoise 0.5 is no whole list."""
    levels = load("nodes.comfy_bridge.levels")
    ms = subject.model.get_model_object("model_sampling")
    import comfy.samplers

    for steps in (4, 6, 10):
        longer = comfy.samplers.calculate_sigmas(ms, "ddim_uniform", 2 * steps)
        assert levels.whole_list_steps(ms, longer) == 2 * steps
        assert levels.whole_list_steps(ms, longer[-(steps + 1):]) == 0
        assert levels.whole_list_steps(ms, simple(subject, steps)) == 0


def test_a_solver_sampler_lays_its_rows_into_ddim_uniform(subject: Subject,
                                                           said: list[str]) -> None:
    """There the noise is already added at the list's own first level."""
    import comfy.samplers

    ms = subject.model.get_model_object("model_sampling")
    sampler, _ = sampler_of(searched(subject, 6))
    calls: list = []
    run(subject, subject.model, sampler, comfy.samplers.calculate_sigmas(ms, "ddim_uniform", 6),
        seen=calls)
    assert len(calls) == 6
    assert "a plain rule" not in "".join(said)


@pytest.mark.parametrize("first", [999.0, 136.0, 16.0])
def test_noise_above_the_models_range_is_refused(models: dict, first: float) -> None:
    """Case 09: six calls for one, without a word."""
    from comfy_extras.nodes_custom_sampler import SetFirstSigma

    subject = Subject(models[EPS], prompt(EPS, "cat, night"), prompt(EPS),
                      latent(EPS, 1)["samples"])
    preset = searched(subject, STEPS)
    sampler, sigmas = sampler_of(preset)
    for model, chosen, levels in ((subject.model, sampler, sigmas),
                                  (use(subject.model, preset), euler(), simple(subject, 1))):
        moved = SetFirstSigma.execute(levels, first).args[0]
        with pytest.raises(ValueError, match="above this model's highest, 14.61"):
            run(subject, model, chosen, moved)


@pytest.mark.parametrize("start", [0, 2])
def test_unsampling_is_told_the_way_out(subject: Subject, start: int) -> None:
    """Case 10: refused by a sentence that named none."""
    preset = searched(subject, STEPS)
    rising = simple(subject, STEPS).flip(0)[start:].clamp_min(1e-4)
    with pytest.raises(ValueError, match="model from before Use Solver"):
        run(subject, use(subject.model, preset), euler(), rising)


def test_the_sampler_functions_name_is_a_contract(subject: Subject, world: Any) -> None:  # noqa: ANN401
    """Step caches of other packs know samplers by it."""
    import comfy.patcher_extension

    preset, met = searched(subject, STEPS), []
    model = use(subject.model, preset)
    model.add_wrapper_with_key(
        comfy.patcher_extension.WrappersMP.OUTER_SAMPLE, "look",
        lambda executor, noise, start, sampler, *rest, **named: (
            met.append(sampler.sampler_function.__name__), start)[1])
    run(subject, model, euler(), simple(subject, STEPS))
    names = {*met, sampler_of(preset)[0].sampler_function.__name__,
             load("nodes.dropdown").sample_solver_search.__name__}
    assert names == {"sample_solver_search"} == {load("nodes.comfy_bridge.samplers").FUNCTION}


def test_unknown_media_leave_the_means_out_and_say_so(said: list[str]) -> None:
    """The neighbour of case 07: a packed state and a model that does not tell its shapes."""
    subject = FAMILIES["SD3"].build()
    solver = random_solver(subject, STEPS)
    preset = preset_for(subject, solver)
    guider = SimpleNamespace(conds={}, cfg=3.0, inner_model=subject.model.model)

    def model(x: Tensor, sigma: Tensor, **named: Any) -> Tensor:  # noqa: ANN401
        return x * 0.3

    model.inner_model = guider
    sampler, sigmas = sampler_of(preset)
    x = torch.randn(1, 1, 60, generator=torch.Generator().manual_seed(1))
    out = sampler.sampler_function(model, x, sigmas, {}, None, True, **sampler.extra_options)
    plain = load("solver_search.sample").sample(lambda s, sigma: s * 0.3, solver.without_means(),
                                                x)
    assert torch.equal(out, plain)
    assert "mean colours are left out" in said[-1]
