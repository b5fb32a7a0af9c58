"""Searches with networks at their true size: what was told before, and what happened.

    python run.py bench true-size [--device cuda] [--models sd15 sdxl] [--how plain lowvram]
                                  [--calls 24] [--sides 16]

Weights are random, so nothing is learned: time and memory are what is measured. A search is
stopped after some model calls, or, where these pay for it, carried through; the five calls by
which it sees whether a model answers alike are left out. On the CPU all seconds are those of the
processor, told ones included: other work on the machine does not change these. Into
results/true_size.json and .md; each in a process of its own. Cells that are there are kept.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from demo.comfyui import load_comfy

from .loading import ROOT, pack
from .true_networks import NETWORKS, write_random

RESULTS = Path(__file__).parent / "results"
CFG = 4.0
HOW = {"plain": {}, "lowvram": {"lowvram": True}, "fp8": {"fp8_e4m3fn_unet": True},
       "compile": {}}  # options of ComfyUI's command line
TICK = 0.005  # seconds between looks at this process's memory
HEAD = """# Networks at their true size

Random weights, 16 bits in the file, CFG 4, `quick`, method fit, 6 steps. *told* is the node's
estimate before the search; *calls* were made after it (a stopped search), one picture each. On the
CPU all seconds are those of the processor. Memory is beside the weights.

| network | device | latents | batch | calls | seconds a call | told | ratio | in model calls \
| peak GB | told | ratio |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass
class Watch:
    """Stands before the network: when its calls begin and how long they take.

    Args:
        device: of the network.
        memory: told when the first call begins.
        seconds: spent in calls.
        batches: pictures of each call, one half of them without the prompt.
    """

    device: torch.device
    memory: Memory
    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)

    def __call__(self, network: Callable[..., Tensor], given: dict[str, Any]) -> Tensor:
        """As ComfyUI calls a wrapper of the network."""
        if not self.batches:
            self.memory.begin()
        self.batches.append(len(given["input"]))
        begun = self._now()
        answer = network(given["input"], given["timestep"], **given["c"])
        self.seconds += self._now() - begun
        return answer

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return clock_of(self.device)()


class Memory:
    """Most bytes held beside what was held when it began: of the device, else of this process."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.before, self.most = device, 0, 0
        self._end = threading.Event()

    def begin(self) -> None:
        """From now on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
            return
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed counts as free
        self.before = self.most = anonymous_bytes()
        threading.Thread(target=self._look, daemon=True).start()

    def peak(self) -> int:
        """Most bytes until now."""
        self._end.set()
        if self.device.type == "cuda":
            self.most = torch.cuda.max_memory_allocated(self.device)
        return self.most - self.before

    def _look(self) -> None:
        while not self._end.wait(TICK):
            self.most = max(self.most, anonymous_bytes())


def clock_of(device: torch.device) -> Callable[[], float]:
    """Of the processor where that is what computes."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def anonymous_bytes() -> int:
    """What this process holds, mapped files left out (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@dataclass(frozen=True)
class Cell:
    """One search.

    Args:
        network: a key of NETWORKS.
        side: of the latents.
        batch: pictures in a model call.
        calls: after which the search is stopped.
        device: cpu or cuda.
        how: a key of HOW.
    """

    network: str
    side: int
    batch: int
    calls: int
    device: str = "cpu"
    how: str = "plain"

    @property
    def key(self) -> tuple:
        """What makes it the same cell again."""
        return self.network, self.side, self.batch, self.device, self.how


# Small pictures, and those the network was trained at.
CELLS = [Cell("sd15", 16, 4, 24), Cell("sd15", 64, 1, 4), Cell("sdxl", 16, 4, 12),
         Cell("sdxl", 64, 1, 4), Cell("sdxl", 128, 1, 3)]


def load(cell: Cell, file: Path) -> Any:  # noqa: ANN401  comfy's own type
    """MODEL of a file, loaded as ComfyUI started with the options of `cell.how` does."""
    args = load_comfy("comfy.cli_args").args
    args.cpu, args.force_fp32, args.fp32_unet = cell.device == "cpu", False, False
    for name, value in HOW[cell.how].items():
        setattr(args, name, value)
    more = {} if cell.how == "fp8" else {"dtype": torch.float16}
    with torch.inference_mode():
        model = load_comfy("comfy.sd").load_checkpoint_guess_config(
            str(file), output_vae=False, output_clip=False, model_options=more)[0]
    if cell.how == "compile":
        load_comfy("comfy_api.torch_helpers").set_torch_compile_wrapper(model, backend="inductor")
    return model


def measured(cell: Cell, file: Path) -> dict[str, Any]:
    """What a search told and took."""
    model, network = load(cell, file), NETWORKS[cell.network]
    device = torch.device(model.load_device)
    memory, clock = Memory(device), clock_of(device)
    watch = Watch(device, memory)
    pack("nodes.estimate").time = SimpleNamespace(perf_counter=clock)
    pack("nodes.search_job").check_memoryless = lambda *_: None
    guider = pack("nodes.comfy_bridge.session").make_guider(
        model, network.prompt(1), network.prompt(2), CFG)
    moved = _moved(guider, network.latent(cell.side, 1)) if device.type == "cuda" else None
    model.set_model_unet_function_wrapper(watch)
    told: list[tuple[Any, float, float, int]] = []
    spent = [0]
    job = pack("nodes.search_job").Job(
        guider, network.latent(cell.side, cell.batch),
        pack("solver_search.config").SearchConfig(6, "fit", "quick"), CFG, "true size",
        on_call=lambda calls: spent.__setitem__(0, calls), stop=lambda: spent[0] >= cell.calls,
        on_estimate=lambda estimate: told.append((
            estimate, clock(), watch.seconds, len(watch.batches))))
    try:
        job.search()
    except pack("solver_search.search").SearchStopped:
        pass  # before it had any solver: enough to measure
    ended, (estimate, begun, inside, made) = clock(), told[0]
    return row(cell, estimate, spent[0], ended - begun, watch.seconds - inside, memory.peak()) | {
        "batches": sorted(set(watch.batches[made:])), "moved": moved}


def _moved(guider: Any, latent: Tensor) -> float:  # noqa: ANN401  comfy's own type
    """By how much an answer changes while others are asked between; compiles what is compiled."""
    def work(session: Any) -> float:  # noqa: ANN401
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
        return pack("nodes.repeatable").largest_change(session, session.starts(noise))

    return pack("nodes.comfy_bridge.session").within(guider, latent, work, seed=0)


def row(cell: Cell, estimate: Any, calls: int, seconds: float, inside: float,  # noqa: ANN401
        peak: int) -> dict[str, Any]:
    """One line of the table."""
    each = estimate.seconds / (estimate.calls + estimate.proof)
    return asdict(cell) | {
        "calls": calls, "seconds_each": seconds / calls, "told_each": each,
        "inside": inside / seconds, "peak_bytes": peak, "told_bytes": estimate.memory,
        "told": estimate.text}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        f"| {r['network']}{'' if r['how'] == 'plain' else ', ' + r['how']} | {r['device']} | "
        f"{r['side']} x {r['side']} | {r['batch']} | {r['calls']} | {r['seconds_each']:.3g} | "
        f"{r['told_each']:.3g} | {r['told_each'] / r['seconds_each']:.2f} | {r['inside']:.1%} | "
        f"{r['peak_bytes'] / 1e9:.2f} | {r['told_bytes'] / 1e9:.2f} | "
        f"{r['told_bytes'] / r['peak_bytes']:.2f} |" for r in rows]
    return HEAD + "\n".join(lines) + "\n"


def write(rows: dict[tuple, dict[str, Any]]) -> None:
    """Both files."""
    found = [rows[key] for key in sorted(rows, key=lambda k: (list(NETWORKS).index(k[0]), k[1:]))]
    (RESULTS / "true_size.json").write_text(json.dumps({"rows": found}, indent=1) + "\n")
    (RESULTS / "true_size.md").write_text(table(found))


def known() -> dict[tuple, dict[str, Any]]:
    """What is in the results."""
    path = RESULTS / "true_size.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return {tuple(r[k] for k in ("network", "side", "batch", "device", "how")): r for r in rows}


def main(arguments: list[str]) -> None:
    """Measure what is asked for."""
    options = _parser().parse_args(arguments)
    if options.one:
        cell = Cell(**json.loads(options.one))
        sys.stdout.write("\n" + json.dumps(measured(cell, options.file)) + "\n")
        return
    wanted = [cell for cell in _cells(options) if cell.key not in known() or options.again]
    for network in dict.fromkeys(cell.network for cell in wanted):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            file = Path(folder) / f"{network}.safetensors"
            write_random(network, file)
            for cell in (c for c in wanted if c.network == network):
                write(known() | {cell.key: _alone(cell, file)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("run.py bench true-size")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--models", nargs="+", choices=list(NETWORKS))
    parser.add_argument("--how", nargs="+", choices=list(HOW), default=["plain"])
    parser.add_argument("--sides", nargs="+", type=int, help="only these sides of the latents")
    parser.add_argument("--calls", type=int, help="model calls after which a search is stopped")
    parser.add_argument("--again", action="store_true", help="also what is in the results")
    parser.add_argument("--folder", type=Path, help="for a checkpoint of up to 24 GB")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    return parser


def _cells(options: argparse.Namespace) -> list[Cell]:
    cells = CELLS if options.device == "cpu" else [
        Cell(name, side, 1, 400, "cuda") for name, network in NETWORKS.items()
        for side in (network.size // 2, network.size)]
    every = [replace(cell, how=how) for cell in cells for how in options.how]
    chosen = [c for c in every if (not options.models or c.network in options.models)
              and (not options.sides or c.side in options.sides)]
    return [Cell(**asdict(c) | {"calls": options.calls or c.calls}) for c in chosen]


def _alone(cell: Cell, file: Path) -> dict[str, Any]:
    """In a process of its own, whose memory is its own."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks", "true-size", "--one", json.dumps(asdict(cell)),
         "--file", str(file)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout.splitlines()[-1])
