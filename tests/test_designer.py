"""Solvers with a designer network: the engine, the file, and real models in a real ComfyUI."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.loading import load_model, prompts
from demo.tiny import write_tiny
from solver_search.clocks import flow_clock
from solver_search.designer import bend, deviations, inputs, new_designer
from solver_search.methods.dlms import DlmsSettings, dlms
from solver_search.run import Run, search
from solver_search.sample import sample
from solver_search.search import Problem, SearchError
from solver_search.solver import Solver, SolverError
from solver_search.tableaus import TABLEAUS

from .pack import load, preset_of
from .problems import mixture

FEATURES = 7


def base(flow: bool = True, steps: int = 5) -> Solver:
    top = 1.0 if flow else 14.6
    return TABLEAUS["dpmpp_2m"](torch.linspace(top, 0, steps + 1, dtype=torch.float64), flow=flow)


def with_designer(solver: Solver, *, zero: bool = False, features: int = FEATURES) -> Solver:
    inner, outer = new_designer(features, 2)
    if not zero:
        outer = 0.1 * torch.randn(outer.shape, generator=torch.Generator().manual_seed(4),
                                  dtype=torch.float64)
    return replace(solver, designer_in=inner, designer_out=outer)


class Features:
    """A denoiser that shows random projections of its output as features."""

    def __init__(self, flow: bool) -> None:
        self.known = mixture(flow=flow)
        generator = torch.Generator().manual_seed(2)
        self.projection = torch.randn(5, FEATURES, generator=generator, dtype=torch.float64)
        self.newest = torch.zeros(0)

    def denoise(self, x: Tensor, sigma: Tensor, items: Tensor | None = None) -> Tensor:
        denoised = self.known.denoise(x, sigma)
        self.newest = denoised.detach() @ self.projection
        return denoised


def starts(count: int) -> Tensor:
    return torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def run(solver: Solver, x: Tensor, flow: bool = True) -> Tensor:
    model = Features(flow)
    return sample(model.denoise, solver, x, feature=lambda: model.newest)


@pytest.mark.parametrize("flow", [True, False])
def test_a_silent_designer_changes_nothing_and_a_loud_one_does(flow: bool) -> None:
    x = starts(3) * (1 if flow else 14.6)
    plain = sample(Features(flow).denoise, base(flow), x)
    silent = run(with_designer(base(flow), zero=True), x, flow)
    # A designer works in the denoised form, the table alone in the cheaper one: float64 rounding.
    assert torch.allclose(silent, plain, atol=1e-12)
    assert (run(with_designer(base(flow)), x, flow) - plain).abs().max() > 1e-3


def test_rows_of_each_picture_still_sum_to_one() -> None:
    """With constant D every consistent solver ends at D, bent or not."""
    constant = torch.tensor([[0.3, -1.0, 2.0, 0.1, 0.0]], dtype=torch.float64)
    shown = starts(4) @ torch.ones(5, FEATURES, dtype=torch.float64)
    end = sample(lambda x, sigma: constant.expand_as(x), with_designer(base()), starts(4),
                 feature=lambda: shown)
    assert torch.allclose(end, constant.expand(4, 5), atol=1e-12)


def test_a_batch_is_its_singles() -> None:
    together = run(with_designer(base()), starts(4))
    singles = torch.cat([run(with_designer(base()), starts(4)[i:i + 1]) for i in range(4)])
    # The network runs in float32, where a product of matrices sums in another order.
    assert torch.allclose(together, singles, atol=1e-6)


def test_bending_is_the_formula() -> None:
    seen = inputs(starts(2), torch.tensor(0.5, dtype=torch.float64), 0.25)
    assert torch.allclose(seen[:, :5].mean(1), torch.zeros(2), atol=1e-6)
    assert torch.allclose(seen[:, 5:], torch.tensor([[-0.6931472, 0.25, 1.0]]).expand(2, 3))
    inner, outer = torch.ones(1, 8), torch.tensor([[2.0, 1.0], [0.0, -1.0]])
    shares = deviations(inner, outer, seen)
    hidden = torch.tanh(seen.sum(1))
    assert torch.allclose(shares, torch.stack([2 * hidden + 1, -torch.ones(2)], dim=1))
    old, middle, new = starts(6).split(2)
    expected = shares[:, :1] * (middle - new) + shares[:, 1:] * (old - new)
    assert torch.allclose(bend(shares.double(), [old, middle, new]), expected.double())


def test_without_features_or_with_foreign_ones_it_says_so() -> None:
    with pytest.raises(SolverError, match="reads features of the model"):
        sample(Features(True).denoise, with_designer(base()), starts(1))
    with pytest.raises(SolverError, match="reads 9 features, this model has 7"):
        run(with_designer(base(), features=9), starts(1))


@pytest.mark.parametrize(("change", "sentence"), [
    ({"designer_out": None}, "must come together"),
    ({"start": torch.ones(5)}, "must come together, with rows that sum"),
    ({"designer_in": torch.ones(24, 3)}, "must have shape"),
    ({"designer_out": torch.ones(2, 24)}, "must have shape"),
    ({"designer_out": torch.ones(6, 25)}, "K at most 5"),
    ({"designer_out": torch.full((2, 25), 1e4)}, "must stay within 1000"),
    ({"designer_in": torch.full((24, 10), float("nan"))}, "NaN"),
])
def test_designers_that_cannot_be_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SolverError, match=sentence):
        replace(with_designer(base()), **change)


def test_a_preset_keeps_a_designer_bit_for_bit() -> None:
    file, preset = load("presets.file"), load("presets.preset")
    solvers = load("solver_search.solver")
    numbers = dict(with_designer(base()).tensors)
    info = preset.PresetInfo(name="designed", prediction="flow", shift=3.0)
    one = preset.Preset(solvers.Solver(flow=True, **numbers), info)
    again = file.parse(file.dump(one))
    assert again.id == one.id
    for name in ("designer_in", "designer_out"):
        assert torch.equal(getattr(again.solver, name), numbers[name])
    plain = preset.Preset(solvers.Solver(base().sigmas, base().weights, True), info)
    assert plain.id != one.id and b"designer" not in file.dump(plain)


def test_learning_a_designer_improves_on_the_table_alone() -> None:
    model = Features(True)
    known = {"even": torch.linspace(1, 0, 5, dtype=torch.float64)}
    problem = Problem(model.denoise, starts(48), 16, True, 1.0, known, flow_clock(), flow_clock(),
                      feature=lambda: model.newest)
    fixed = DlmsSettings(iterations=80, learn_steps=False, learn_scales=False, learn_rows=False,
                         plms=False, designer=True)
    found = search(lambda r: dlms(r, fixed), Run(problem))
    assert found.best.designer_out.abs().max() > 0
    assert torch.allclose(found.best.weights,
                          search(lambda r: dlms(r, replace(fixed, iterations=1)),
                                 Run(problem)).best.weights)
    assert found.best_error < 0.5 * found.curve[0][1]  # found 0.14
    with pytest.raises(SearchError, match="needs features of the model"):
        search(lambda r: dlms(r, fixed), Run(replace(problem, feature=None)))


def world_model(name: str, folder: Path) -> Any:  # noqa: ANN401
    if name.startswith("demo"):
        return load_model(name)
    with torch.inference_mode():
        return importlib.import_module("comfy.sd").load_checkpoint_guess_config(
            str(write_tiny(name, folder)), output_vae=False, output_clip=False)[0]


SHAPES = {"demo_flow": (16, 8, 8), "demo_eps": (4, 8, 8), "sd3": (16, 8, 8),
          "flux_dev": (16, 8, 8), "wan": (16, 1, 8, 8)}


@pytest.mark.parametrize("name", SHAPES)
def test_real_models_show_their_middle_and_sample_with_a_designer(
        comfy: ModuleType, name: str, tmp_path: Path) -> None:
    model = world_model(name, tmp_path)
    session, apply = load("nodes.comfy_bridge.session"), load("nodes.comfy_bridge.apply")
    tableaus, solvers = load("solver_search.tableaus"), load("solver_search.solver")
    ms = model.get_model_object("model_sampling")
    top, flow = float(ms.sigma_max), name != "demo_eps"
    sigmas = torch.cat([torch.linspace(1, 0.1, 4, dtype=torch.float64) * top,
                        torch.zeros(1, dtype=torch.float64)])
    table = tableaus.TABLEAUS["dpmpp_2m"](sigmas, flow=flow)
    lines = ("cat, night", "horse, warm") if name.startswith("demo") else ("a", "b")
    guider = session.make_guider(model, *_conditions(model, name, lines), 3.0)
    latent = torch.zeros(2, *SHAPES[name])
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))

    def features(s: Any) -> Tensor:  # noqa: ANN401
        probe = s.probed()
        s.denoise(s.starts(noise), torch.tensor(top), torch.arange(2))
        return probe.feature()

    found = session.within(guider, latent, features, seed=0)
    assert found.shape[0] == 2 and found.shape[1] >= 64
    assert torch.isfinite(found).all() and not torch.allclose(found[0], found[1])
    inner, outer = new_designer(found.shape[1], 2)
    numbers = {n: getattr(table, n) for n in ("sigmas", "weights")}

    def end(outer: Tensor | None) -> Tensor:
        designer = {} if outer is None else {"designer_in": inner, "designer_out": outer}
        solver = solvers.Solver(flow=flow, **numbers, **designer)
        with torch.inference_mode():
            own = session.make_guider(model, *_conditions(model, name, lines), 3.0)
            sampler = apply.as_sampler(preset_of(solver))
            return own.sample(noise, latent, sampler, sigmas.float(), seed=1, disable_pbar=True)

    plain = end(None)
    assert torch.equal(end(outer), plain)
    assert not torch.allclose(end(outer + 0.2), plain, atol=1e-4)
    assert torch.equal(end(None), plain)  # nothing of the probe stays behind


def _conditions(model: Any, name: str, lines: tuple[str, ...]) -> tuple[list, list]:  # noqa: ANN401
    if name.startswith("demo"):
        return prompts(model, lines), prompts(model, ())
    made = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(7))
    pooled = torch.randn(2, 16, generator=torch.Generator().manual_seed(8))
    return ([[made, {"pooled_output": pooled}]],
            [[torch.zeros(1, 6, 32), {"pooled_output": torch.zeros(1, 16)}]])


def test_a_network_without_a_patch_point_says_so(comfy: ModuleType) -> None:
    features = load("nodes.comfy_bridge.features")
    with pytest.raises(features.FeatureError, match="no patch point in Linear"):
        features.Probe(torch.nn.Linear(2, 2))
