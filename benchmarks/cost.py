"""What sampling and searching cost beside the model's own calls.

    python run.py bench cost [--parts overhead searches families ranks] [--efforts quick ...]

Overhead: time per step with a model that answers at once, ours and ComfyUI's in turns on the same
latents. Search: seconds per model call by batch and size, and most bytes of tensors alive at once
over those of plain sampling with the same batch. Families: what several numbers of steps cost that
are searched together, measuring included, and how much of that time the model takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from demo.prompts import SEARCH_PROMPTS

from . import ranks
from .live import DeviceShare, LiveTensors
from .loading import load_model, pack, prompts

RESULTS = Path(__file__).parent / "results"
SHAPES = ((1, 4, 64, 64), (1, 16, 128, 128), (4, 4, 128, 128))
CALLS = (6, 10, 20)
ROUNDS = 30
FAMILY = (6, 5, 8, 10)
EFFORTS = ("quick", "standard", "thorough")


class NullModel:
    """Answers a fixed tensor at once, half of it from guidance; has what sampler functions ask of
    a model."""

    def __init__(self, answer: Tensor) -> None:
        self.answer, self.positive = answer, answer / 2
        ms = load_model("mixture_eps").model.model_sampling
        inner = SimpleNamespace(model_sampling=ms, model_patcher=SimpleNamespace(
            get_model_object=lambda name: ms))
        self.inner_model = SimpleNamespace(inner_model=inner, cfg=1.0, model_sampling=ms,
                                           model_patcher=inner.model_patcher)

    def __call__(self, x: Tensor, sigma: Tensor, **named: object) -> Tensor:
        for watch in named.get("model_options", {}).get("sampler_post_cfg_function", []):
            watch({"denoised": self.answer, "cond_denoised": self.positive})
        return self.answer


def contestants(sigmas: Tensor) -> dict[str, Callable[[NullModel, Tensor], Tensor]]:
    """ComfyUI's samplers and our loop with the same tables, and with a full table."""
    run_builtin = pack("nodes.comfy_bridge.builtin").run_builtin
    run_ours = pack("nodes.comfy_bridge.apply").sample_solver_search
    tableaus = pack("solver_search.tableaus").TABLEAUS
    dense = pack("solver_search.forms").from_weights(
        sigmas, torch.tril(torch.ones(len(sigmas) - 1, len(sigmas) - 1, dtype=torch.float64))
        / torch.arange(1, len(sigmas), dtype=torch.float64)[:, None], flow=False)
    solvers = {name: tableaus[name](sigmas, flow=False) for name in ("euler", "dpmpp_2m")}
    found: dict[str, Callable[[NullModel, Tensor], Tensor]] = {}
    for name in solvers:
        found[f"ComfyUI {name}"] = lambda m, x, n=name: run_builtin(n, m, x, sigmas.float(), {})
    beside = dict.fromkeys(pack("solver_search.solver").BASIS, dense.weights)
    every = {**solvers, "full table": dense, "four full tables": replace(dense, beside=beside)}
    for name, solver in every.items():
        found[f"ours, {name}"] = lambda m, x, s=solver: run_ours(
            m, x.clone(), s.sigmas.float(), choose=lambda guider, sigmas: s)
    return found


def overhead() -> list[dict[str, Any]]:
    """Median microseconds per step of each contestant, in turns."""
    rows = []
    for shape in SHAPES:
        for calls in CALLS:
            ms = NullModel(torch.zeros(shape)).inner_model.inner_model.model_sampling
            sigmas = torch.cat([torch.logspace(0, -2.7, calls, dtype=torch.float64)
                                * float(ms.sigma_max), torch.zeros(1, dtype=torch.float64)])
            model, x = NullModel(torch.randn(shape)), torch.randn(shape) * 14
            times = _in_turns(contestants(sigmas), model, x)
            rows += [{"sampler": name, "latent": "x".join(map(str, shape)), "calls": calls,
                      "microseconds": round(1e6 * statistics.median(t) / calls, 1),
                      "quartiles": [round(1e6 * q / calls, 1)
                                    for q in statistics.quantiles(t, n=4)[::2]]}
                     for name, t in times.items()]
    return rows


def _in_turns(known: dict[str, Callable], model: NullModel, x: Tensor) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in known}
    for _ in range(ROUNDS):
        for name, run in known.items():
            begun = time.process_time()
            run(model, x)
            times[name].append(time.process_time() - begun)
    return times


def searches() -> list[dict[str, Any]]:
    """Peak memory and seconds of plain sampling and of a search, by batch and size."""
    model = load_model("demo_flow")
    rows = []
    for side, batch in ((8, 8), (16, 8), (32, 4), (32, 8)):
        for calls in (6, 8):
            plain = _measured(_sample, model, side, batch, calls)
            search = _measured(_search, model, side, batch, calls)
            most = plain["peak_bytes"]
            rows.append({"side": side, "batch": batch, "calls": calls, "plain": plain,
                         "search": search, "trajectory_bytes": trajectory_bytes(side),
                         "memory_ratio": round(search["peak_bytes"] / most, 2),
                         "device_ratio": round(search["device_bytes"] / most, 2)})
    return rows


def family(effort: str) -> dict[str, Any]:
    """A whole search for FAMILY together, measured on unseen seeds as the node does."""
    model, spent, measured = load_model("demo_flow"), [0], [0]
    told: list[Any] = []
    inside = Inside()
    model.set_model_unet_function_wrapper(inside)
    pack("nodes.estimate").time = SimpleNamespace(perf_counter=time.process_time)
    first, *others = FAMILY
    config = pack("solver_search.config").SearchConfig(first, "fit", effort)
    job = pack("nodes.search_job").Job(
        _guider(model), torch.zeros(8, 16, 8, 8), config, 3.0, "cost",
        {steps: f"cost {steps}" for steps in others},
        on_call=lambda calls: spent.__setitem__(0, calls),
        on_measured=lambda calls: measured.__setitem__(0, calls),
        on_estimate=lambda estimate: told.append((
            estimate, time.perf_counter(), time.process_time(), inside.seconds)))
    job.run()
    ended, worked, (estimate, begun, began, before) = (
        time.perf_counter(), time.process_time(), told[0])
    return {"effort": effort, "steps": FAMILY, "calls": spent[0], "measuring": measured[0],
            "told_calls": estimate.calls + estimate.proof, "seconds": round(ended - begun, 1),
            "told_processor": round(estimate.seconds, 1), "processor": round(worked - began, 1),
            "inside": round((inside.seconds - before) / (worked - began), 3)}


class Inside:
    """Processor seconds spent in the network."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, network: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        """As ComfyUI calls a wrapper of the network."""
        begun = time.process_time()
        answer = network(given["input"], given["timestep"], **given["c"])
        self.seconds += time.process_time() - begun
        return answer


def trajectory_bytes(side: int) -> int:
    """Teacher states and directions of a quick search; they lie in main memory, float32."""
    sizes = pack("solver_search.config").EFFORTS["quick"]
    return sizes.fit * (2 * sizes.teacher_calls + 1) * 16 * side * side * 4


def _measured(work: Callable, *arguments: object) -> dict[str, Any]:
    """Seconds, then, in a run of their own, bytes: all tensors, and those of model calls."""
    begun = time.perf_counter()
    calls = work(*arguments)
    seconds = time.perf_counter() - begun
    session = pack("nodes.comfy_bridge.session").Session
    plain = session.denoise
    with LiveTensors() as live:
        share = DeviceShare(live, plain)
        session.denoise = lambda self, x, sigma, items: share(self, x, sigma, items)
        try:
            work(*arguments)
        finally:
            session.denoise = plain
    return {"model_calls": calls, "seconds": round(seconds, 2), "peak_bytes": live.peak,
            "device_bytes": share.peak}


def _guider(model: Any) -> Any:  # noqa: ANN401
    return pack("nodes.comfy_bridge.session").make_guider(
        model, prompts(model, SEARCH_PROMPTS), prompts(model, ()), 3.0)


def _sample(model: Any, side: int, batch: int, calls: int) -> int:  # noqa: ANN401
    """Plain sampling of one batch."""
    evidence, session = pack("nodes.evidence"), pack("nodes.comfy_bridge.session")
    ordinary = pack("nodes.comfy_bridge.ordinary")
    latent = torch.zeros(batch, 16, side, side)

    def work(s: Any) -> None:  # noqa: ANN401
        setting = ordinary.settings(s.sampling, calls, ["dpmpp_2m"])[0]
        starts = s.starts(torch.randn(latent.shape))
        evidence.run_setting(s, setting, starts, torch.arange(batch))

    session.within(_guider(model), latent, work, seed=0)
    return batch * calls


def _search(model: Any, side: int, batch: int, calls: int) -> int:  # noqa: ANN401
    config = pack("solver_search.config").SearchConfig(calls, "fit", "quick")
    job = pack("nodes.search_job").Job(_guider(model), torch.zeros(batch, 16, side, side), config,
                                       3.0, "cost")
    return job.search()[0].model_calls


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown."""
    lines = ["# Cost", "", *_family_lines(results["families"]), *ranks.lines(results["ranks"]),
             *_overhead_lines(results["overhead"]), *_search_lines(results["searches"])]
    return "\n".join(lines) + "\n"


def _family_lines(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{', '.join(map(str, FAMILY))} steps searched together and measured on unseen "
            "seeds (demo_flow, CFG 3, 8 x 8 latents, 8 pictures a call, one core; the network of "
            "this small model answers in milliseconds, so less of the time is its own than with a "
            "real one). Model calls do not depend on the machine; seconds by the clock do, and "
            "on what else it does; processor seconds are the search's alone, told ones included.",
            "", "| effort | calls of the search | of measuring | told at most | processor seconds "
            "| told at most | in the network | seconds by the clock |", "|" + "---|" * 8,
            *(f"| {r['effort']} | {r['calls']:,} | {r['measuring']:,} | {r['told_calls']:,} | "
              f"{r['processor']:.0f} | {r['told_processor']:.0f} | {r['inside']:.0%} | "
              f"{r['seconds']:.0f} |" for r in rows)]


def _overhead_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["", "Beside the model, per step; the model answers at once. Median of runs in turns "
             "on one core, in microseconds of the processor, and against ComfyUI's dpmpp_2m.", "",
             "| latent | calls | sampler | microseconds | quartiles | of dpmpp_2m |",
             "|" + "---|" * 6]
    known = {(r["latent"], r["calls"]): r["microseconds"] for r in rows
             if r["sampler"] == "ComfyUI dpmpp_2m"}
    return lines + [
        f"| {r['latent']} | {r['calls']} | {r['sampler']} | {r['microseconds']} | "
        f"{r['quartiles'][0]} to {r['quartiles'][1]} | "
        f"{r['microseconds'] / known[r['latent'], r['calls']]:.2f} |" for r in rows]


def _search_lines(rows: list[dict[str, Any]]) -> list[str]:
    return ["", "A quick search of the default method against plain sampling with the same "
            "batch (demo_flow, CFG 3); memory is what tensors hold at once beside the loaded "
            "model. States and trajectories of a search lie in main memory; on a GPU only its "
            "model calls take device memory: the second ratio. Plain sampling is all there.", "",
            "| latent side | batch | calls | plain MB | search MB | of it trajectories | ratio "
            "| on the device | search: model calls | ms per model call, plain | search |",
            "|" + "---|" * 11,
            *(f"| {r['side']} | {r['batch']} | {r['calls']} | "
              f"{r['plain']['peak_bytes'] / 1e6:.0f} | {r['search']['peak_bytes'] / 1e6:.0f} | "
              f"{r['trajectory_bytes'] / 1e6:.0f} | {r['memory_ratio']} | {r['device_ratio']} | "
              f"{r['search']['model_calls']} | {_each(r['plain'])} | {_each(r['search'])} |"
              for r in rows)]


def _each(result: dict[str, Any]) -> str:
    return f"{1e3 * result['seconds'] / result['model_calls']:.2f}"


def main(arguments: Sequence[str] = (), folder: Path = RESULTS) -> None:
    """Measure what is asked for and write cost.json and cost.md; every family as it is done."""
    options = _parser().parse_args(arguments)
    for part in options.parts:
        if part != "families":
            _write(folder, {part: MEASURES[part]()})
            continue
        for effort in options.efforts:
            others = [r for r in _known(folder)["families"] if r["effort"] != effort]
            rows = sorted([*others, family(effort)], key=lambda r: EFFORTS.index(r["effort"]))
            _write(folder, {part: rows})


MEASURES = {"families": None, "ranks": ranks.measured, "overhead": overhead,
            "searches": searches}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("run.py bench cost")
    parser.add_argument("--parts", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--efforts", nargs="+", choices=EFFORTS, default=list(EFFORTS))
    return parser


def _known(folder: Path) -> dict[str, list[dict[str, Any]]]:
    path = folder / "cost.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return {part: found.get(part, []) for part in MEASURES}


def _write(folder: Path, measured: dict[str, list[dict[str, Any]]]) -> None:
    """Both files, with what was measured before."""
    results = _known(folder) | measured
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cost.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "cost.md").write_text(table(results))


if __name__ == "__main__":
    main()
