"""Use Solver beside samplers of other kinds: replaced, entered or left, and what is said of it."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from .graphs import STEPS, euler, run, sampler_of, use
from .matrix.families import Subject
from .matrix.searched import searched, simple
from .matrix.ways import half_mask, picture
from .pack import load
from .world import FLOW, latent, prompt

pytestmark = pytest.mark.usefixtures("as_a_node")


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
