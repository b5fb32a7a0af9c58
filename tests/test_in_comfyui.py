"""The nodes in a real ComfyUI process, on the demo checkpoints."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from demo.comfy_nodes.words import pooled_rows, token_rows
from launch.places import ROOT

from .pack import preset_of
from .searches import with_means
from .world import EPS, FLOW, ROUNDING, World, ksampler, latent, prompt


def search(world: World, model: Any, checkpoint: str = FLOW, **more: Any) -> Any:  # noqa: ANN401
    wanted = {"latent": latent(checkpoint), "steps": 4, "method": "fit", "effort": "quick",
              "seed": 3, "name": "test", "cfg": 4.0, "model": model,
              "positive": prompt(checkpoint, "cat, night", "horse, warm"),
              "negative": prompt(checkpoint), "again": True}  # other files search alike
    with torch.inference_mode():
        given = {**wanted, **more}
        return world.of("Search").execute(**{
            name: None if value is None else [value] for name, value in given.items()})


def shorten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less work in a quick search: six starts, one iteration, two seeds of evidence."""
    config = world.module("solver_search.config")
    short = config.replace(config.EFFORTS["quick"], fit=4, held_out=2, model_calls=600,
                           teacher_calls=16, compared=4, iterations=1, evidence=2)
    monkeypatch.setitem(config.EFFORTS, "quick", short)


def flags(model: Any) -> list:  # noqa: ANN401
    inner = model.model
    return [[(n, p.requires_grad, p.dtype, p.device) for n, p in inner.named_parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in inner.modules()],
            sorted(model.object_patches), sorted(model.patches), dict(model.wrappers),
            sorted(model.model_options)]


@pytest.fixture(autouse=True, scope="module")
def small_evidence(world: World) -> Iterator[None]:
    """Short searches, measured against two samplers, and at one more CFG scale."""
    guidance = world.module("nodes.guidance")
    with pytest.MonkeyPatch.context() as patch:
        shorten(world, patch)
        patch.setitem(guidance.RANGES, "quick", replace(
            guidance.RANGES["quick"], around=(1.5,), above_one=(2.0,), calls=20))
        for module in ("nodes.evidence", "nodes.proof"):
            patch.setattr(world.module(module), "POPULAR_SAMPLERS", ("euler", "dpmpp_2m"))
        yield


@pytest.mark.parametrize("method", ["fit", "dss"])
def test_a_search_leaves_model_and_process_as_they_were(world: World, models: dict,
                                                         method: str) -> None:
    import comfy.model_management as management
    import comfy.samplers

    lists = [list(comfy.samplers.SAMPLER_NAMES), list(comfy.samplers.SCHEDULER_NAMES),
             list(comfy.samplers.KSAMPLER_NAMES)]
    model = models[FLOW]
    before, known = ksampler(world, model, FLOW), flags(model)
    search(world, model, method=method, name=f"clean {method}", seed=1)
    assert flags(model) == known
    assert not management.in_training
    assert torch.equal(ksampler(world, model, FLOW), before)
    assert lists == [list(comfy.samplers.SAMPLER_NAMES), list(comfy.samplers.SCHEDULER_NAMES),
                     list(comfy.samplers.KSAMPLER_NAMES)]


def test_cancel_keeps_the_best_and_leaves_no_trace(world: World, models: dict,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as management

    model, known = models[FLOW], flags(models[FLOW])
    telling = world.module("nodes.telling")
    after_cancel = 0
    called, pictures = telling.Telling.called, telling.Telling.pictures

    def count(self: Any, calls: int) -> None:  # noqa: ANN401
        nonlocal after_cancel
        called(self, calls)
        after_cancel += management.processing_interrupted()

    def cancel_after_improvement(self: Any, *given: Any) -> None:  # noqa: ANN401
        pictures(self, *given)
        management.interrupt_current_processing(True)

    monkeypatch.setattr(telling.Telling, "called", count)
    monkeypatch.setattr(telling.Telling, "pictures", cancel_after_improvement)
    with pytest.raises(management.InterruptProcessingException):
        search(world, model, name="cancelled", seed=2)
    management.interrupt_current_processing(False)
    assert after_cancel <= 1
    store = world.module("presets.store")
    kept = store.read(world.folder / "cancelled.safetensors")
    assert (kept.solver.nfe, kept.info.state) == (4, "unfinished")
    state = next(s for s in world.module("nodes.live").LIVE.states() if s["node"] == "1")
    assert state["state"] == "stopped" and "'cancelled'" in state["sentence"]
    assert flags(model) == known


@pytest.fixture(scope="module")
def preset(world: World, models: dict) -> Any:  # noqa: ANN401
    return search(world, models[FLOW], name="shared").args[0]


def test_the_report_is_true_and_the_preset_is_listed(world: World, preset: Any) -> None:  # noqa: ANN401
    assert preset.info.model_name == "demo_flow.safetensors"
    assert (preset.info.family, preset.info.prediction, preset.info.shift) == ("SD3", "flow", 3.0)
    assert (preset.info.guidance, preset.info.width, preset.info.height) == (4.0, 8, 8)
    assert preset.info.error is not None
    assert preset.info.baseline_error is not None
    schema = world.of("Load").define_schema()
    assert "shared.safetensors" in schema.inputs[0].options
    stored = world.module("presets.store").read(world.folder / "shared.safetensors")
    assert stored.id == preset.id


def test_a_guider_gives_the_same_solver_as_its_parts(world: World, models: dict,
                                                      preset: Any) -> None:  # noqa: ANN401
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(models[FLOW])
    guider.set_conds(prompt(FLOW, "cat, night", "horse, warm"), prompt(FLOW))
    guider.set_cfg(4.0)
    again = search(world, None, guider=guider, positive=None, negative=None,
                   name="guided", again=True).args[0]
    assert again.id == preset.id


def test_ksampler_and_custom_sampling_agree(world: World, models: dict,
                                            preset: Any) -> None:  # noqa: ANN401
    used = world.of("Use").execute(models[FLOW], preset).args[0]
    sampler, sigmas = world.of("Sampler").execute(preset).args
    through_custom = custom(models[FLOW], sampler, sigmas)
    assert torch.equal(ksampler(world, used, FLOW), through_custom)
    assert not torch.equal(ksampler(world, models[FLOW], FLOW), through_custom)


def custom(model: Any, sampler: Any, sigmas: Tensor) -> Tensor:  # noqa: ANN401
    import comfy.sample
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompt(FLOW, "cat, night"), prompt(FLOW))
    guider.set_cfg(4.0)
    noise = SimpleNamespace(seed=5, generate_noise=lambda image: comfy.sample.prepare_noise(
        image["samples"], 5))
    with torch.inference_mode():
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas,
                                             latent(FLOW, 2)).args[0]["samples"]


@pytest.mark.parametrize("name", [FLOW, EPS])
def test_a_step_without_a_model_call_is_one_anywhere(world: World, models: dict,
                                                     name: str) -> None:
    """DLMS's analytic first step: seven noise levels, five calls, by KSampler's five or six."""
    forms, apply = world.module("solver_search.forms"), world.module("nodes.comfy_bridge.apply")
    ms = models[name].get_model_object("model_sampling")
    top = float(ms.sigma_max)
    sigmas = top * torch.tensor([1, 0.8, 0.6, 0.4, 0.2, 0.05, 0]).double() ** (
        1 if name == FLOW else 2)
    rows = torch.eye(6, dtype=torch.float64)
    rows[0, 0] = 0
    solver = forms.from_denoised_rows(sigmas, rows, flow=name == FLOW, start=torch.ones(6))
    preset = preset_of(solver, world.module("presets.preset"))
    assert preset.solver.nfe == 5
    shown: list[int] = []
    used = apply.use_preset(models[name], preset)
    used.set_model_unet_function_wrapper(
        lambda call, given: (shown.append(1), call(given["input"], given["timestep"],
                                                   **given["c"]))[1])
    ends = ksampler(world, used, name)
    assert len(shown) == 5
    assert torch.isfinite(ends).all()
    if name == FLOW:
        through = custom(models[name], apply.as_sampler(preset), apply.as_sigmas(solver))
        assert torch.equal(ends, through)
    later = apply.use_preset(models[name], preset)  # the last part: its rows bend toward ab2
    part = ksampler(world, later, name, denoise=0.5)
    assert torch.isfinite(part).all()


def test_means_keep_their_own_rows_in_every_sampler(world: World, models: dict) -> None:
    tableaus, apply = (world.module(f"{name}") for name in ("solver_search.tableaus",
                                                            "nodes.comfy_bridge.apply"))
    sigmas = torch.tensor([1, 0.8, 0.6, 0.4, 0.2, 0.05, 0]).double()
    rest, means = (tableaus.TABLEAUS[name](sigmas, flow=True) for name in ("ab2", "euler"))
    presets = world.module("presets.preset")
    ends = [ksampler(world, apply.use_preset(models[FLOW], preset_of(s, presets)), FLOW)
            for s in (rest, means, with_means(rest, means))]
    both = preset_of(with_means(rest, means), presets)
    through = custom(models[FLOW], apply.as_sampler(both), apply.as_sigmas(both.solver))
    assert torch.equal(ends[2], through)
    assert all(not torch.allclose(ends[2], other, atol=1e-3) for other in ends[:2])
    part = ksampler(world, apply.use_preset(models[FLOW], both), FLOW, denoise=0.5)
    assert torch.isfinite(part).all()
    pictures = world.module("nodes.pictures")  # the plot has a panel more
    wide, narrow = (pictures.solver_picture(s) for s in (both.solver, rest))
    assert wide.width == narrow.width + pictures.PANEL


def test_euler_as_a_table_is_comfyuis_euler(world: World, models: dict) -> None:
    import comfy.samplers

    ms = models[FLOW].get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(ms, "simple", 6)
    table = world.module("solver_search.tableaus").TABLEAUS["euler"](sigmas.double(), flow=True)
    apply = world.module("nodes.comfy_bridge.apply")
    preset = preset_of(table, world.module("presets.preset"))
    ours = custom(models[FLOW], apply.as_sampler(preset), apply.as_sigmas(table))
    assert torch.equal(ours, ksampler(world, models[FLOW], FLOW))


@pytest.mark.parametrize("name", [FLOW, EPS])
@pytest.mark.parametrize("setting", [("euler", "simple"), ("dpmpp_2m", "karras"),
                                     ("uni_pc", "normal"), ("heun", "beta")])
def test_opponents_are_what_a_ksampler_gives(world: World, models: dict, name: str,
                                             setting: tuple[str, str]) -> None:
    ordinary = world.module("nodes.comfy_bridge.ordinary")
    session = world.module("nodes.comfy_bridge.session")
    import comfy.sample

    guider = session.make_guider(models[name], prompt(name, "cat, night"), prompt(name), 4.0)
    noise = comfy.sample.prepare_noise(latent(name, 2)["samples"], 5)

    def work(inside: Any) -> Tensor:  # noqa: ANN401
        own = ordinary.flow_shift(inside.sampling)
        label = "/".join(setting) + (f"@{own:.4g}" if own else "")
        calls = 11 if setting[0] == "heun" else 6
        choice = next(s for s in ordinary.settings(inside.sampling, calls, setting[:1])
                      if s.label == label)
        ends = ordinary.run_setting(inside, choice, inside.starts(noise), torch.arange(2))
        return inside.latent(ends)

    ours = session.within(guider, latent(name, 2)["samples"], work, seed=5)
    theirs = ksampler(world, models[name], name, *setting)
    assert torch.allclose(ours, theirs, atol=ROUNDING * 20 * float(theirs.abs().max()))


def test_steps_are_counted_in_model_calls(world: World) -> None:
    ordinary = world.module("nodes.comfy_bridge.ordinary")
    found = [ordinary.steps_for_calls(s, 6) for s in ("euler", "heun", "dpm_2")]
    assert found == [6, 3, 3]


def test_each_start_keeps_its_own_prompt(world: World, models: dict) -> None:
    session = world.module("nodes.comfy_bridge.session")
    lines = ("cat, night", "horse, warm", "eye, mint")
    guider = session.make_guider(models[FLOW], prompt(FLOW, *lines), prompt(FLOW), 4.0)
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor(0.6)

    def together(inside: Any) -> Tensor:  # noqa: ANN401
        return inside.denoise(x.expand(4, -1, -1, -1), sigma, torch.tensor([2, 0, 4, 2]))

    batch = session.within(guider, latent(FLOW, 4)["samples"], together, seed=0)
    for row, line in zip(batch, (lines[2], lines[0], lines[1], lines[2]), strict=True):
        alone = session.make_guider(models[FLOW], prompt(FLOW, line), prompt(FLOW), 4.0)
        single = session.within(alone, latent(FLOW, 1)["samples"],
                                lambda inside: inside.denoise(x, sigma, torch.tensor([0])), seed=0)
        assert torch.allclose(row, single[0], atol=2e-5)  # float32 matmul in another batch size
    assert (batch[0] - batch[1]).abs().max() > 0.01


def test_smooth_time_keeps_the_models_own_times(world: World, models: dict) -> None:
    model = world.module("nodes.comfy_bridge.model")
    ms = models[EPS].get_model_object("model_sampling")
    smooth = model.smooth_time(ms)
    assert torch.allclose(smooth.timestep(ms.sigmas), torch.arange(1000.0), atol=2e-2)
    sigma = torch.tensor([2.0], requires_grad=True)
    slope = torch.autograd.grad(smooth.timestep(sigma).sum(), sigma)[0]
    near = (smooth.timestep(torch.tensor([2.02])) - smooth.timestep(torch.tensor([1.98]))) / 0.04
    assert torch.allclose(slope, near, rtol=0.05)  # piecewise linear in log sigma
    assert ms.timestep(torch.tensor([2.0])).dtype == torch.int64


def test_a_search_on_a_discrete_model_works(world: World, models: dict,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(world, monkeypatch)
    found = search(world, models[EPS], EPS, name="eps", latent=latent(EPS, 4), cfg=1.0).args[0]
    assert (found.info.prediction, found.info.shift) == ("eps", None)
    assert float(found.solver.sigmas[0]) == pytest.approx(14.6146, rel=1e-4)
    assert 0 < found.info.error < 1


def test_models_of_another_kind_are_refused(world: World, models: dict,
                                            preset: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="eps or v model"):
        world.of("Use").execute(models[EPS], preset)


def test_bad_names_are_refused_before_anything_runs(world: World) -> None:
    assert world.of("Search").validate_inputs(name=[""]) is True
    assert "characters" in world.of("Search").validate_inputs(name=["x" * 99])
    assert isinstance(world.of("Search").validate_inputs(name=["../up"]), str)


def test_save_renames_and_never_overwrites_unasked(world: World, preset: Any) -> None:  # noqa: ANN401
    node = world.of("Save")
    renamed = node.execute(preset, "renamed", author="me", notes="for cats").args[0]
    assert (renamed.info.author, renamed.id) == ("me", preset.id)
    with pytest.raises(ValueError, match="already there"):
        node.execute(preset, "renamed")
    node.execute(preset, "renamed", overwrite=True)


def test_save_states_the_hash_of_the_whole_checkpoint_when_asked(
        world: World, models: dict, preset: Any,  # noqa: ANN401
        monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    path = ROOT / "demo" / "checkpoints" / f"{FLOW}.safetensors"
    known = world.module("nodes.comfy_bridge.model").facts(models[FLOW])
    made_here = replace(preset.info, model_name=known.file_name, header_hash=known.header_hash,
                        model_bytes=known.file_bytes)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints",
                        ([str(path.parent)], {".safetensors"}))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    assert made_here.model_bytes == path.stat().st_size
    node, again = world.of("Save"), {"checkpoint_hash": True, "overwrite": True}
    plain = node.execute(replace(preset, info=made_here), "hashed", overwrite=True)
    assert plain.args[0].info.model_hash == ""
    hashed = node.execute(replace(preset, info=made_here), "hashed", **again)
    assert hashed.args[0].info.model_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    for other in ({"header_hash": "0" * 64}, {"model_bytes": 5}, {"model_name": "gone.ckpt"}):
        elsewhere = replace(preset, info=replace(made_here, **other))
        answer = node.execute(elsewhere, "hashed", **again)
        assert answer.args[0].info.model_hash == ""
        assert "is not here" in str(answer.ui)


def test_every_input_and_output_has_an_artists_sentence(world: World) -> None:
    ours = {k: n for k, n in world.nodes.NODE_CLASS_MAPPINGS.items()
            if k.startswith("SolverSearch_")}
    assert len(ours) == 7
    for node in ours.values():
        schema = node.define_schema()
        assert schema.category == "model/sampling/solver search"
        assert schema.description.endswith(".")
        for socket in [*schema.inputs, *schema.outputs]:
            assert socket.tooltip, f"{schema.node_id}: {socket.id}"


@pytest.mark.parametrize(("kind", "shape", "prediction"), [
    ("flux_dev", (16, 8, 8), "flow"), ("flux_schnell", (16, 8, 8), "flow"),
    ("wan", (16, 1, 8, 8), "flow"), ("cogvideox", (16, 1, 8, 8), "v"),
])
def test_other_families_run_tables_as_comfyui_runs_euler(
        world: World, tmp_path: Path, kind: str, shape: tuple[int, ...], prediction: str) -> None:
    """Random weights: this proves plumbing (guidance, 3-D latents, v-prediction), not quality."""
    import comfy.samplers

    from demo.tiny import CONTEXT, POOLED, write_tiny

    sd = importlib.import_module("comfy.sd")
    with torch.inference_mode():
        model = sd.load_checkpoint_guess_config(str(write_tiny(kind, tmp_path)), output_vae=False,
                                                output_clip=False)[0]
    bridge = world.module("nodes.comfy_bridge.model")
    assert bridge.facts(model).prediction == prediction
    ms = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(ms, "simple", 4)
    table = world.module("solver_search.tableaus").TABLEAUS["euler"](
        sigmas.double(), flow=prediction == "flow")
    used = world.module("nodes.comfy_bridge.apply").use_preset(
        model, preset_of(table, world.module("presets.preset")))
    words = [[token_rows(["cat, night"], CONTEXT),
              {"pooled_output": pooled_rows(["cat, night"], POOLED)}]]
    pictures = []
    with torch.inference_mode():
        for chosen in (model, used):
            pictures.append(world.nodes.common_ksampler(
                chosen, 5, 4, 3.0, "euler", "simple", words, words,
                {"samples": torch.zeros(1, *shape)})[0]["samples"])
    assert torch.isfinite(pictures[0]).all()
    assert torch.equal(*pictures)
