"""One model at one CFG: its reference, its opponents, and searches in processes of their own."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock
from torch import Tensor

from demo.comfyui import on_gpu

from .loading import LATENTS, ROOT, held_out_prompts, pack, prompts, search_prompts

WORK = ROOT / "output" / "benchmarks"  # references and found solvers; safe to delete
SEED = 10_000
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """What a search brought.

    Args:
        preset: the best solver.
        label: of the stage that found it.
        facts: trajectories, model_calls, seconds, peak_bytes (beside the model, None unknown).
    """

    preset: Any
    label: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A model at a CFG, measured on `seeds` noises and prompts, `batch` pictures per call.

    Without prompts of its own it is measured on those of its model that no search sees.
    """

    name: str
    model: Any
    guidance: float
    seeds: int
    batch: int = 32
    prompts: tuple[str, ...] = ()

    @property
    def latent(self) -> Tensor:
        """Zeros of the picture size."""
        return torch.zeros(self.batch, *LATENTS[self.name])

    def guider(self, lines: tuple[str, ...]) -> Any:  # noqa: ANN401
        """CFG guider on given prompts and the empty negative."""
        session = pack("nodes.comfy_bridge.session")
        return session.make_guider(self.model, prompts(self.model, lines),
                                   prompts(self.model, ()), self.guidance)

    @property
    def unseen_guider(self) -> Any:  # noqa: ANN401
        """On the prompts it is measured on."""
        return self.guider(self.prompts or held_out_prompts(self.name))

    def measure(self, work: Callable[[Any], T]) -> T:
        """Call `work` with a Trial on held-out seeds and prompts."""
        within = pack("nodes.comfy_bridge.session").within
        return within(self.unseen_guider, self.latent,
                      lambda session: work(self._trial(session)), seed=0)

    def _trial(self, session: Any) -> Any:  # noqa: ANN401
        evidence = pack("nodes.evidence")
        generator = torch.Generator().manual_seed(SEED)
        noise = torch.randn((self.seeds, *LATENTS[self.name]), generator=generator)
        items = torch.arange(self.seeds)
        if self.prompts:
            return evidence.make_trial(session, session.starts(noise), items, self.batch)
        path = WORK / "references" / f"{self.name} cfg {self.guidance:g} {self.seeds}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # cells of one model run side by side
            if path.exists():
                reference = torch.load(path, weights_only=True).to(session.device)
                return evidence.Trial(session, session.starts(noise), items, reference, self.batch)
            trial = evidence.make_trial(session, session.starts(noise), items, self.batch)
            torch.save(trial.reference.cpu(), path)
        return trial

    def found_path(self, calls: int, method: str, effort: str, denoise: float = 1.0) -> Path:
        """Where a search's solver lies."""
        part = "" if denoise >= 1 else f" denoise {denoise:g}"
        name = f"{self.name} cfg {self.guidance:g} {calls} {method} {effort}{part}"
        return WORK / "found" / f"{name}.safetensors"

    def search(self, calls: int, method: str, effort: str, denoise: float = 1.0) -> Found:
        """Search in a forked process, so that its peak memory is its own; on a GPU in this one.

        Raises:
            RuntimeError: when the search failed; its message is in the log above.
        """
        path = self.found_path(calls, method, effort, denoise)
        path.unlink(missing_ok=True)
        arguments = calls, method, effort, denoise, path
        if on_gpu():  # CUDA cannot be used after a fork
            self._search(*arguments)
        else:
            child = multiprocessing.get_context("fork").Process(target=self._forked,
                                                                args=arguments)
            child.start()
            child.join()
        if not path.exists():
            raise RuntimeError(f"{method}:{effort} found no solver")
        return load_found(path)

    def _forked(self, *arguments: Any) -> None:  # noqa: ANN401
        torch.set_num_threads(1)  # a fork has none of its parent's, and would wait for them
        self._search(*arguments)

    def _search(self, calls: int, method: str, effort: str, denoise: float, path: Path) -> None:
        before, begun = resident_bytes(), time.perf_counter()
        config = pack("solver_search.config").SearchConfig(
            calls, method, effort, seed=0, denoise=denoise)
        best: list[Any] = []
        guider = self.guider(search_prompts(self.name))
        job = pack("nodes.search_job").Job(guider, self.latent, config, self.guidance, path.stem,
                                           on_improved=best.append)
        run, = job.search()
        facts = {"trajectories": run.problem.fit, "model_calls": run.model_calls,
                 "seconds": round(time.perf_counter() - begun, 1),
                 "peak_bytes": peak_bytes() - before, "ended_by": run.ended_by,
                 "label": run.best_label, "validation": run.best_error}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(facts))
        path.write_bytes(pack("presets.file").dump(best[-1]))


def load_found(path: Path) -> Found:
    """A search's result from its files."""
    facts = json.loads(path.with_suffix(".json").read_text())
    return Found(pack("presets.file").parse(path.read_bytes()), facts.pop("label"), facts)


def peak_bytes() -> int:
    """Most memory this process has held at once (Linux: KiB in ru_maxrss)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """What this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
