"""The official templates of docs/compatibility.md, walked again, and the walk on small graphs."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from launch.workflow import Graph
from tests.templates.installed import is_api, node_classes, template_version, templates
from tests.templates.judge import BOTH, MADE_FOR, NONE, USE, Verdict, judge
from tests.templates.page import (
    PAGE,
    lost,
    origin,
    said,
    section,
    templates_section,
    with_section,
)
from tests.templates.remarks import (
    DISTILLED,
    DUAL,
    EXPERTS,
    FOREIGN,
    LEFT,
    LEVELS,
    MOST,
    NESTED,
    NOISE,
    PART,
    STAYS,
    TWO_LATENTS,
)
from tests.templates.small import BYPASSED, KSAMPLER, MUTED, graph, node, subgraph

from .pack import load

MODEL, LATENT = (1, 0, "MODEL"), (2, 0, "LATENT")
LOADER = node(1, "UNETLoader", "a.safetensors", "default")
EMPTY = node(2, "EmptyLatentImage", 512, 512, 1)


@pytest.fixture(autouse=True)
def world_there(world: ModuleType) -> None:
    """ComfyUI's nodes are imported."""


@pytest.fixture(scope="module")
def verdicts(world: ModuleType) -> dict[str, Verdict]:
    if not template_version():
        pytest.skip("this ComfyUI came without its workflow templates")
    return {name: judge(one) for name, one in templates()}


def test_no_template_has_lost_its_path(verdicts: dict[str, Verdict]) -> None:
    named = said(PAGE.read_text("utf-8"))
    assert named, f"{PAGE.name} names no template; `python run.py templates` writes them"
    assert not lost(named, verdicts)


def test_the_page_says_what_is_found(verdicts: dict[str, Verdict]) -> None:
    page = templates_section(PAGE.read_text("utf-8"))
    if origin() not in page:
        pytest.skip(f"the page is not about {origin()}")
    assert page == f"\n{section(verdicts)}\n"


def test_a_lost_path_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged again by a place_in that refuses everything."""
    before = {"a KSampler": USE, "a SamplerCustom": BOTH}
    graphs = {"a KSampler": one_ksampler(), "a SamplerCustom": custom("KSamplerSelect", "euler")}
    assert not lost(before, {name: judge(one) for name, one in graphs.items()})
    assert lost({"a KSampler": BOTH}, {"a KSampler": judge(one_ksampler())})  # half of it lost
    samplers = load("nodes.comfy_bridge.samplers")
    monkeypatch.setattr(samplers, "place_in", lambda sampler: samplers.Place(why_not="refused"))
    gone = lost(before, {name: judge(one) for name, one in graphs.items()})
    assert [line.split(":")[0] for line in gone] == list(before)
    assert "refused" in gone[0]


def test_the_section_is_replaced_kept_or_added() -> None:
    first, second = (section({"a": Verdict(path)}) for path in (USE, BOTH))
    added = with_section("# page\n", first)
    assert added.startswith("# page\n\n<!--")
    assert said(added) == {"a": USE}
    replaced = with_section(added + "after\n", second)
    assert said(replaced) == {"a": BOTH}
    assert replaced.endswith("-->\nafter\n")
    assert "# page\n" + templates_section(added) == added
    assert templates_section("# page\n") == ""


def test_a_ksampler_has_use_solver() -> None:
    found = judge(one_ksampler())
    assert (found.path, found.remarks) == (USE, [MOST])
    one = found.samplings[0]
    assert (one.name, one.asked.steps, one.asked.cfg) == ("euler", 20, 8.0)


def test_a_sampler_inside_a_subgraph_is_found_with_the_value_from_outside() -> None:
    inner = node(3, "KSampler", *KSAMPLER, model=(-10, 0, "MODEL"), steps=(-10, 1, "INT"),
                 latent_image=(-10, 2, "LATENT"))
    inside = subgraph("two", ("model", "steps", "latent"), (3, 0, "LATENT"), inner)
    outer = node(5, "two", model=MODEL, steps=(4, 0, "INT"), latent=LATENT)
    found = judge(graph(LOADER, EMPTY, node(4, "PrimitiveInt", 3, "fixed"), outer,
                        subgraphs=(inside,)))
    assert found.path == USE
    assert found.samplings[0].asked.steps == 3


@pytest.mark.parametrize("mode", [BYPASSED, MUTED])
def test_a_sampler_that_is_switched_off_has_no_path(mode: int) -> None:
    found = judge(one_ksampler(mode=mode))
    assert found.path == NONE
    assert "switched off" in found.why


def test_links_are_followed_through_a_bypassed_node_and_a_reroute() -> None:
    both = node(6, "LTXVConcatAVLatent", video_latent=LATENT, audio_latent=LATENT)
    off = node(7, "LatentUpscaleBy", "area", 2.0, mode=BYPASSED, outputs=("LATENT",),
               samples=(6, 0, "LATENT"))
    dot = node(8, "Reroute", outputs=("LATENT",), **{"": (7, 0, "LATENT")})
    found = judge(graph(LOADER, EMPTY, both, off, dot,
                        ksampler(latent_image=(8, 0, "LATENT"))))
    assert NESTED in found.remarks
    assert NESTED not in judge(one_ksampler()).remarks


@pytest.mark.parametrize(("kind", "widgets", "why"), [
    ("SamplerARVideo", (1,), "sample_ar_video is more than"),
    ("SamplerLCMUpscale", (1.5, 2, "bislerp"), "is more than"),
    ("SamplerEulerCFGpp", ("alternative",), "is more than"),
    ("KSamplerSelect", ("euler_cfg_pp",), "changes the guidance"),
    ("VOIDSampler", (), "VOID_DDIM is not one"),
])
def test_what_is_more_than_a_sampler_is_left_alone(kind: str, widgets: tuple, why: str) -> None:
    found = judge(custom(kind, *widgets))
    assert found.path == NONE
    assert why in found.why


def test_euler_cfg_pp_in_a_ksampler_is_left_alone() -> None:
    found = judge(one_ksampler(widgets=changed(sampler="euler_cfg_pp")))
    assert (found.path, found.samplings[0].name) == (NONE, "euler_cfg_pp")
    assert "changes the guidance" in found.why


def test_a_sampler_nobody_knows_is_left_alone() -> None:
    found = judge(one_ksampler(widgets=changed(sampler="someone_elses")))
    assert found.why == "someone_elses is not in ComfyUI's menu"
    assert "OtherPack" in judge(custom("OtherPack")).why


def test_a_custom_sampler_takes_both() -> None:
    found = judge(custom("KSamplerSelect", "euler"))
    assert (found.path, found.samplings[0].asked.steps) == (BOTH, 3)
    assert found.remarks == [DISTILLED, LEVELS]


def test_without_a_sampler_the_reason_is_said() -> None:
    assert judge(graph(LOADER)).why == "no sampler"
    kind = next(one for one in node_classes() if is_api(one))
    assert "API" in judge(graph(node(1, kind))).why


@pytest.mark.parametrize(("switch", "steps"), [(False, 4), (True, 40)])
def test_a_switch_is_read(switch: bool, steps: int) -> None:  # noqa: FBT001
    choice = node(6, "ComfySwitchNode", switch, on_false=(4, 0, "INT"), on_true=(5, 0, "INT"))
    found = judge(graph(LOADER, EMPTY, node(4, "PrimitiveInt", 4, "fixed"),
                        node(5, "PrimitiveInt", 40, "fixed"), choice,
                        ksampler(steps=(6, 0, "INT"))))
    assert found.samplings[0].asked.steps == steps


def test_what_is_known_only_when_it_runs_is_not_guessed() -> None:
    found = judge(graph(LOADER, EMPTY, node(4, "GetImageSize", image="IMAGE"),
                        ksampler(steps=(4, 0, "INT"))))
    assert found.samplings[0].asked.steps is None
    assert "| ? at 8 |" in section({"a": found})


@pytest.mark.parametrize(("widgets", "remark"), [
    ({"sampler": "euler_ancestral"}, NOISE), ({"steps": 4, "cfg": 1}, DISTILLED),
    ({"denoise": 0.5}, PART), ({"scheduler": "someone_elses"}, FOREIGN), ({}, MOST),
])
def test_remarks_on_a_ksampler(widgets: dict[str, Any], remark: str) -> None:
    assert remark in judge(one_ksampler(widgets=changed(**widgets))).remarks
    without = one_ksampler(widgets=changed(steps=8))
    assert judge(without).remarks == []


@pytest.mark.parametrize(("eta", "noise"), [(0, False), (1, True)])
def test_eta_zero_adds_no_noise(eta: int, noise: bool) -> None:  # noqa: FBT001
    found = judge(custom("SamplerEulerAncestral", eta, 1.0))
    assert (NOISE in found.remarks) == noise


@pytest.mark.parametrize(("loader", "remarks"), [(1, [MOST, LEFT]), (9, [MOST, EXPERTS, LEFT])])
def test_a_pair_of_models(loader: int, remarks: list[str]) -> None:
    def half(number: int, first: int, last: int, left: str, **sockets: Any) -> dict:  # noqa: ANN401
        return node(number, "KSamplerAdvanced", "enable", 7, "fixed", 20, 3.5, "euler", "simple",
                    first, last, left, **sockets)

    found = judge(graph(
        LOADER, EMPTY, node(9, "UNETLoader", "b.safetensors", "default"),
        half(3, 0, 10, "enable", model=MODEL, latent_image=LATENT),
        half(4, 10, 10000, "disable", model=(loader, 0, "MODEL"), latent_image=(3, 0, "LATENT"))))
    assert found.remarks == remarks


def test_a_guider_with_two_models_is_told() -> None:
    guider = node(5, "DualModelGuider", 7.0, model=MODEL, model_negative=MODEL)
    found = judge(custom("KSamplerSelect", "euler", guider=guider))
    assert DUAL in found.remarks
    assert found.samplings[0].asked.cfg == 7


def test_lotus_keeps_its_sampler_and_the_other_one_is_served() -> None:
    guider = node(5, "BasicGuider", model=MODEL, conditioning=(8, 0, "CONDITIONING"))
    lotus = custom("KSamplerSelect", "euler", guider=guider, more=(node(8, "LotusConditioning"),))
    assert judge(lotus).path == NONE
    assert "no noise levels" in judge(lotus).why
    both = custom("KSamplerSelect", "euler", guider=guider,
                  more=(node(8, "LotusConditioning"), ksampler(number=9)))
    assert judge(both).path == USE
    assert STAYS in judge(both).remarks


def test_the_nodes_named_here_are_comfyuis() -> None:
    import comfy.model_base

    assert {*TWO_LATENTS, *MADE_FOR} <= node_classes().keys()
    assert all(hasattr(comfy.model_base, name) for name in MADE_FOR.values())


def changed(steps: int = 20, cfg: float = 8.0, sampler: str = "euler", scheduler: str = "simple",
            denoise: float = 1.0) -> tuple:
    return (7, "fixed", steps, cfg, sampler, scheduler, denoise)


def ksampler(number: int = 3, widgets: tuple = KSAMPLER, mode: int = 0,
             **sockets: Any) -> dict:  # noqa: ANN401
    return node(number, "KSampler", *widgets, mode=mode, outputs=("LATENT",),
                **{"model": MODEL, "latent_image": LATENT, **sockets})


def one_ksampler(widgets: tuple = KSAMPLER, mode: int = 0) -> Graph:
    return graph(LOADER, EMPTY, ksampler(widgets=widgets, mode=mode))


def custom(kind: str, *widgets: Any, guider: dict | None = None,  # noqa: ANN401
           more: tuple = ()) -> Graph:
    """SamplerCustomAdvanced with a SAMPLER from a node of this type and levels typed by hand."""
    guider = guider or node(5, "BasicGuider", model=MODEL, conditioning="CONDITIONING")
    return graph(LOADER, EMPTY, node(4, kind, *widgets), guider,
                 node(6, "ManualSigmas", "0.9, 0.7, 0.4, 0.0"),
                 node(7, "SamplerCustomAdvanced", guider=(5, 0, "GUIDER"),
                      sampler=(4, 0, "SAMPLER"), sigmas=(6, 0, "SIGMAS"), latent_image=LATENT),
                 *more)
