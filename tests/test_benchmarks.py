"""The benchmarks measure what they say: exact model, equal contestants, honest tables."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import ablations, cost, plots, quality, report, true_size
from benchmarks.cells import Cell
from benchmarks.features import frechet
from benchmarks.live import DeviceShare, LiveTensors
from benchmarks.loading import TRAINED, load_model, pack
from benchmarks.mixture import CHANNELS, SPREAD, mixture_model
from benchmarks.quality import RESULTS, add_row, with_span
from benchmarks.tasks import FEW, FULL, NODE_ONLY, REST, TRANSFER

FIELDS = {"model", "prediction", "guidance", "nfe", "method", "solver", "budget", "error_mean",
          "error_median", "error_ci", "frechet_reference", "frechet_data", "trajectories",
          "model_calls", "seconds", "peak_bytes", "seeds"}


@pytest.mark.parametrize("prediction", ["eps", "flow"])
def test_the_mixture_answers_with_the_gradient_of_its_density(prediction: str) -> None:
    """Tweedie: D = (x + sigma^2 grad log p) / a."""
    network = mixture_model(prediction).model.diffusion_model.double()
    x = torch.randn(3, CHANNELS[prediction], 8, 8, dtype=torch.float64,
                    generator=torch.Generator().manual_seed(0)).requires_grad_()
    sigma = torch.tensor(0.6, dtype=torch.float64)
    a = 0.4 if prediction == "flow" else 1.0
    distance = (x[:, None] - a * network.centres).flatten(2).square().sum(-1)
    density = torch.logsumexp(-distance / (2 * (a**2 * SPREAD**2 + sigma**2)), dim=1)
    (score,) = torch.autograd.grad(density.sum(), x)
    found = network.denoised(x.detach(), sigma.expand(3, 1, 1, 1))
    assert torch.allclose((x + sigma**2 * score) / a, found, atol=1e-9)  # distances of 1e2


@pytest.mark.parametrize("prediction", ["eps", "flow"])
def test_comfyui_solves_the_mixture_as_our_reference_does(prediction: str) -> None:
    cell = Cell(f"mixture_{prediction}", mixture_model(prediction), 1.0, seeds=4, batch=4)
    ordinary = pack("nodes.comfy_bridge.ordinary")

    def errors(trial: Any) -> tuple[float, float]:  # noqa: ANN401
        every = {n: next(s for s in ordinary.settings(trial.session.sampling, n, ["dpmpp_2m"])
                         if s.scheduler.startswith("beta")) for n in (10, 80)}
        return tuple(trial.setting(s, n).mean for n, s in every.items())

    few, many = cell.measure(errors)
    assert many < 0.02  # what is left of 80 steps of order 2, and of rounded model times
    assert many < few / 4


def test_contestants_of_the_overhead_sample_the_same() -> None:
    model, x = cost.NullModel(torch.randn(1, 4, 8, 8)), torch.randn(1, 4, 8, 8) * 14
    sigmas = torch.cat([torch.logspace(0, -2.7, 6, dtype=torch.float64) * 14.6146,
                        torch.zeros(1, dtype=torch.float64)])
    ends = {name: run(model, x) for name, run in cost.contestants(sigmas).items()}
    for name in ("euler", "dpmpp_2m"):
        # float32 states that begin at 14
        assert torch.allclose(ends[f"ours, {name}"], ends[f"ComfyUI {name}"], atol=1e-4)
    assert "ours, full table" in ends


def test_frechet_distance_of_known_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4000, 16, generator=generator, dtype=torch.float64)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    moved = frechet(a + 2 / 16**0.5, a)  # |shift|^2 = 4, features in units of sqrt(16)
    assert moved == pytest.approx(4 / 16, rel=0.05)  # 4000 samples
    # Twice as wide: trace(C + 4 C - 4 C) = trace C = 1 in these units.
    assert frechet(2 * (a - a.mean(0)) + a.mean(0), a) == pytest.approx(1, rel=0.05)


def made_up(**changes: object) -> dict[str, Any]:
    row = {"model": "m", "prediction": "eps", "guidance": 1.0, "nfe": 6, "method": "handcrafted",
           "solver": "euler/karras", "budget": "3 tried", "error_mean": 0.1, "error_median": 0.1,
           "error_ci": 0.01, "frechet_reference": 0.2, "frechet_data": 0.3, "trajectories": None,
           "model_calls": None, "seconds": 1.0, "peak_bytes": None, "seeds": 4}
    return {**row, **changes}


ROWS = [made_up(), made_up(nfe=12, error_mean=0.025),
        made_up(method="default", budget="thorough", error_mean=0.05, frechet_reference=0.05,
                model_calls=100)]


def test_summary_and_table_say_the_ratios() -> None:
    line = report.summary(ROWS).splitlines()[-1]
    assert line == "| m | 1 | thorough |  |  | 0.50 · 1.00 · 0.25 |  |  | 0.50 | 0.50 |"
    shared = [{**row, "share_elsewhere": share}
              for row, share in zip(ROWS, (0.02, 0.0, 0.11), strict=True)]
    assert "| 0.50 · 1.00 · 0.25 · 11 % : 2 % |" in report.summary(shared).splitlines()[-1]
    without = [{**row, "frechet_reference": None} for row in shared]
    assert "| 0.50 · 1.00 ·  · 11 % : 2 % |" in report.summary(without).splitlines()[-1]
    # log error falls linearly from 0.1 at 6 to 0.025 at 12: half of it at 9.
    assert report.equal_steps(ROWS[2], ROWS) == "9.0"
    assert report.equal_steps({**ROWS[2], "error_mean": 0.01}, ROWS) == "> 12"
    assert "| m | 1 | 6 | default | thorough |" in report.table(ROWS)


def test_node_settings_stand_beside_the_menus_and_the_default() -> None:
    rows = [*ROWS, made_up(method="node_only", solver="ER-SDE ODE/beta(0.5, 0.7)",
                           budget="600 tried", error_mean=0.04),
            made_up(method="node_only", nfe=12, budget="600 tried", error_mean=0.05),
            made_up(model="alone", method="node_only", budget="9 tried")]
    lines = report.beside_nodes(rows).splitlines()
    assert "Measured in 3 cells" in lines[0]
    assert "of the menus in 1 and below the default's thorough search in 1." in lines[0]
    assert lines[4:] == [
        "| alone | 1 | 6 | euler/karras | 9 | 0.1000 | 0.0100 |  |  |  |  |",
        "| m | 1 | 6 | ER-SDE ODE/beta(0.5, 0.7) | 600 | 0.0400 | 0.0100 | 0.1000 | 0.40 | "
        "0.0500 | 1.25 |",
        "| m | 1 | 12 | euler/karras | 600 | 0.0500 | 0.0100 | 0.0250 | 2.00 |  |  |"]
    assert report.summary(rows) == report.summary(ROWS)  # ratios are to the menus' best


def test_methods_stand_side_by_side_where_others_were_tried() -> None:
    rows = [*ROWS, made_up(model="alone", method="default", budget="quick"),
            made_up(method="default", budget="quick", transfer="searched at CFG 7"),
            made_up(method="gits", budget="4 tried"),  # the built-in list, not the search
            *(made_up(method="dss", budget="quick", nfe=n, model_calls=1000 * n)
              for n in (12, 6))]
    assert report.side_by_side(rows).splitlines()[4:] == [
        "| m | 1 | handcrafted |  |  | 0.1000 | 0.0250 |",
        "| m | 1 | default | thorough | 100 | 0.0500 |  |",
        "| m | 1 | dss | quick | 6,000 to 12,000 | 0.1000 | 0.1000 |"]


def test_a_row_replaces_the_older_one_of_its_kind(tmp_path: Path) -> None:
    for row in (*ROWS, made_up(error_mean=0.2), made_up(transfer="searched at CFG 7")):
        add_row(row, tmp_path)
    rows = json.loads((tmp_path / "quality.json").read_text())["rows"]
    assert len(rows) == 4
    add_row(made_up(budget="4 tried", error_mean=0.3), tmp_path)  # one more was tried
    assert len(json.loads((tmp_path / "quality.json").read_text())["rows"]) == 4
    assert 0.2 in [r["error_mean"] for r in rows]


def test_plots_are_drawn_from_results(tmp_path: Path) -> None:
    for row in ROWS:
        add_row(row, tmp_path)
    overhead = [{"sampler": "a", "latent": "1x4", "calls": 6, "microseconds": 3.0}]
    (tmp_path / "cost.json").write_text(json.dumps({"overhead": overhead}))
    plots.main(tmp_path)
    names = sorted(p.name for p in (tmp_path / "plots").iterdir())
    assert names == ["budget m.png", "error m.png", "overhead.png"]


def test_committed_results_have_every_field_and_the_table_is_theirs() -> None:
    rows = json.loads((RESULTS / "quality.json").read_text())["rows"]
    for row in rows:
        assert FIELDS <= set(row) <= {*FIELDS, "transfer", "error_span", "share_elsewhere"}
        assert row["error_mean"] > 0 and math.isfinite(row["error_mean"])
    text = (RESULTS / "quality.md").read_text()
    assert report.table(rows) in text
    assert report.side_by_side(rows) in text
    assert report.beside_nodes(rows) in text
    known = {"handcrafted", "node_only", "published", "ays", "gits", "optimal_steps", "default"}
    methods = set(pack("solver_search.config").METHODS)
    assert {r["method"] for r in rows} <= known | methods


def test_parts_of_the_cost_that_are_not_asked_for_stay(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    def family(effort: str) -> dict[str, Any]:
        return {"effort": effort, "calls": 2983, "measuring": 3717, "told_calls": 7219,
                "processor": 25.2, "told_processor": 27.4, "inside": 0.77, "seconds": 181.0}

    rows = [{"sampler": name, "latent": "1x4", "calls": 6, "microseconds": time,
             "quartiles": [time, time]} for name, time in (("ComfyUI dpmpp_2m", 70.0),
                                                           ("ours, full table", 35.0))]
    monkeypatch.setattr(cost, "family", family)
    monkeypatch.setitem(cost.MEASURES, "overhead", lambda: rows)
    for arguments in (["families", "--efforts", "standard"], ["overhead"],
                      ["families", "--efforts", "quick"]):
        cost.main(["--parts", *arguments], tmp_path)
    known = json.loads((tmp_path / "cost.json").read_text())
    assert [row["effort"] for row in known["families"]] == ["quick", "standard"]
    assert known["overhead"] == rows
    text = (tmp_path / "cost.md").read_text()
    assert "| quick | 2,983 | 3,717 | 7,219 | 25 | 27 | 77% | 181 |" in text
    assert "| 1x4 | 6 | ours, full table | 35.0 | 35.0 to 35.0 | 0.50 |" in text


def test_committed_tables_of_cost_and_true_size_are_those_of_their_numbers() -> None:
    known = json.loads((RESULTS / "cost.json").read_text())
    assert {row["effort"] for row in known["families"]} >= {"quick"}
    assert (RESULTS / "cost.md").read_text() == cost.table(known)
    rows = json.loads((RESULTS / "true_size.json").read_text())["rows"]
    assert {("sd15", 16), ("sd15", 64)} <= {(row["network"], row["side"]) for row in rows}
    assert (RESULTS / "true_size.md").read_text() == true_size.table(rows)
    for row in rows:  # what is told lies within a factor of two of what happens
        assert 0.5 < row["told_each"] / row["seconds_each"] < 2
        assert 0.5 < row["told_bytes"] / row["peak_bytes"] < 2


@pytest.mark.parametrize("name", ["demo_flow", "mixture_eps"])
def test_a_cell_searches_in_a_process_of_its_own(name: str) -> None:
    cell = Cell(name, load_model(name), 1.0, seeds=4, batch=8)
    found = cell.search(4, "gits", "quick")
    assert found.preset.solver.nfe == 4
    assert found.facts["model_calls"] > 0 and found.facts["peak_bytes"] > 0
    measured = cell.measure(lambda trial: trial.solver(found.preset.solver, "gits"))
    assert len(measured.errors) == 4 and measured.mean < 1
    again, outside = cell.measure(lambda trial: with_span(trial, found.preset.solver, "gits"))
    assert torch.allclose(again.errors, measured.errors, atol=1e-6)  # float32
    assert 0 < outside <= measured.mean  # the best last row is at least as good


def test_live_tensors_counts_what_is_alive_at_once() -> None:
    with LiveTensors() as live:
        a = torch.zeros(1000)
        b = a[:10]  # a view holds no bytes of its own
        for _ in range(3):
            c = a + 1  # the former is dropped only when the next is there
        assert (live.now, live.peak) == (8000, 12000)
        del a, c
        assert live.now == 4000  # the view keeps its whole storage
        del b
        assert live.now == 0


def test_the_device_share_is_that_of_one_call() -> None:
    kept = []
    with LiveTensors() as live:
        share = DeviceShare(live, lambda session, x: (x + 1) * 2)
        for _ in range(5):
            kept.append(share(None, torch.zeros(1000)))
        assert share.peak == 3 * 4000  # the input, the sum and the product
        assert live.peak >= 6 * 4000


def test_every_task_of_the_full_run_is_one_cell_with_methods_that_exist() -> None:
    config = pack("solver_search.config")
    for task in (*FULL, *REST, *NODE_ONLY, *TRANSFER, *FEW):
        plan = quality._plan(task)
        assert len(plan.models) == len(plan.guidances) == len(plan.calls) == 1
        assert plan.methods or plan.transfer or plan.node_only
        for method, effort in plan.methods:
            config.SearchConfig(plan.calls[0], method, effort)
    goal = {(m, cfg, n) for m in TRAINED for cfg in (1.0, 3.0, 7.0) for n in (4, 5, 6, 8, 10)}
    ours = {(p.models[0], p.guidances[0], p.calls[0]) for p in map(quality._plan, FULL)
            if ("fit", "thorough") in p.methods and p.opponents}
    assert goal <= ours


@pytest.mark.parametrize("method", ablations.VARIANTS)
def test_an_ablation_changes_what_it_says_and_nothing_stays(method: str) -> None:
    config = pack("solver_search.config")
    known = dict(config.METHODS)
    cell = Cell("mixture_flow", mixture_model("flow"), 1.0, seeds=4, batch=4)
    seen = []
    whole, *others = ablations.VARIANTS[method].values()
    assert whole == {}
    for changes in (whole, *others):  # every name is a field of the method's settings
        seen.append(replace(known[method].settings(config.SearchConfig(6, method)), **changes))
    assert len(set(seen)) == len(seen)
    rows = [ablations.measured(cell, method, name, changes, "quick") for name, changes in (
        ("whole", whole), ("changed", others[-1]))]
    assert rows[0]["error_mean"] != rows[1]["error_mean"]
    assert all(r["model_calls"] <= 1500 and math.isfinite(r["error_start"]) for r in rows)
    assert config.METHODS == known
    assert ablations.table(rows).splitlines()[-2].split(" | ")[-2] == "1.00"


def test_every_row_is_made_by_a_task_and_kept_to_its_budget() -> None:
    planned = {(p.models[0], p.guidances[0], p.calls[0], quality.NAMES.get(method, method), effort)
               for p in map(quality._plan, (*FULL, *REST)) for method, effort in p.methods}
    rows = [r for r in json.loads((RESULTS / "quality.json").read_text())["rows"]
            if r["budget"] in report.BUDGETS and "transfer" not in r]
    assert {(*report.cell(r), r["method"], r["budget"]) for r in rows} <= planned
    efforts = pack("solver_search.config").EFFORTS
    assert all(r["model_calls"] <= efforts[r["budget"]].model_calls for r in rows)


def test_every_node_only_row_is_made_by_a_task() -> None:
    planned = {(p.models[0], p.guidances[0], p.calls[0]) for p in map(quality._plan, NODE_ONLY)
               if p.node_only}
    rows = json.loads((RESULTS / "quality.json").read_text())["rows"]
    menu = {report.cell(r): r["seeds"] for r in rows if r["method"] == "handcrafted"}
    found = {report.cell(r): r["seeds"] for r in rows if r["method"] == "node_only"}
    assert set(found) <= planned
    assert all(seeds >= menu[cell] for cell, seeds in found.items())  # beside the menus' best


def test_cells_where_another_search_did_better_are_named() -> None:
    others = [made_up(method="default", budget="quick"),
              made_up(method="dss", budget="quick", error_mean=0.09),
              made_up(method="s4s", budget="quick", error_mean=0.2),
              made_up(method="dss", budget="standard", error_mean=0.01)]
    text = report.beaten([*ROWS, *others]).splitlines()
    assert text[0].startswith("2 rows of other search methods")
    assert text[4:] == ["| m | 1 | 6 | quick | dss | 0.0900 | 0.1000 | 0.0100 |"]
