"""Many jobs on this machine: one process for each GPU, one on the processor.

A job that fails is told at the end; the others go on. A signal is handed on to the jobs that run,
which keep their best, and no further one is begun.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .exits import Exit
from .jobs import Job
from .signals import Listener
from .telling import Teller

GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
COUNT = "import torch; print(torch.cuda.device_count())"
MINUTE = 60.0
LONGEST = 2**24  # bytes of one event


@dataclass
class Runner:
    """The jobs of one manifest.

    Args:
        waiting: jobs that have not begun.
        comfy: arguments for ComfyUI.
        told: of every event, with the job's number.
        logs: name of the log files, without the job's number.
    """

    waiting: list[Job]
    comfy: Sequence[str]
    told: Teller
    logs: str
    running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    ends: dict[int, dict[str, Any]] = field(default_factory=dict)
    spoken: dict[int, float] = field(default_factory=dict)
    stopping: bool = False

    async def work(self, gpu: str) -> None:
        """Do jobs on one GPU, "" for whatever there is, until none is left."""
        while self.waiting and not self.stopping:
            job = self.waiting.pop(0)
            where = f" on GPU {gpu}" if gpu else ""
            self.told.tell("job", job=job.number, gpu=gpu, state="begun",
                           lines=[f"[{job.number}] {job.about}{where} ..."])
            self.ends[job.number] = end = await self._one(job, gpu)
            self.told.tell("job", job=job.number, gpu=gpu, **end,
                           lines=[f"[{job.number}] {end['verdict']}"])

    def stop(self) -> bool:
        """Hand a signal on; whether a job is there that can keep its best."""
        self.stopping = True
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGTERM)
        return bool(self.running)

    async def _one(self, job: Job, gpu: str) -> dict[str, Any]:
        """How a job ended: exit, state, verdict."""
        end = {"state": "failed", "verdict": ""}
        try:
            with _log(job, self.logs) as log:
                process = await _begun(job.command(self.comfy), gpu, log.fileno())
                self.running[job.number] = process
                if self.stopping:
                    self.stop()
                async for line in process.stdout:
                    end = self._heard(job, line) or end
                code = await process.wait()
        except OSError as error:
            return {"exit": int(Exit.SAVING), "state": "failed", "verdict": str(error)}
        finally:
            self.running.pop(job.number, None)
        said = end["verdict"] or f"It ended with code {code} and no word; see {log.name}."
        return {"exit": code, "state": end["state"] if end["verdict"] else "failed",
                "verdict": said}

    def _heard(self, job: Job, line: bytes) -> dict[str, Any] | None:
        """Hand on an event; the last one says how the job ended."""
        try:
            event = json.loads(line)
            kind = event.pop("event")
        except (ValueError, KeyError, AttributeError):
            return None
        if kind == "end":
            return {"state": event["state"], "verdict": event["verdict"],
                    "presets": event.get("presets", [])}
        self.told.tell(kind, **{**event, "job": job.number}, lines=self._now_and_then(job, event))
        return None

    def _now_and_then(self, job: Job, event: dict[str, Any]) -> list[str]:
        """For people: how far a job is, once a minute."""
        now, left = time.monotonic(), event.get("seconds_left")
        if left is None or now - self.spoken.setdefault(job.number, now) < MINUTE:
            return []
        self.spoken[job.number] = now
        return [f"[{job.number}] {event['calls']:,} of {event['total']:,} model calls, about "
                f"{math.ceil(left / MINUTE)} min left"]


def run_all(options: argparse.Namespace, comfy: list[str], told: Teller,
            listener: Listener) -> int:
    """Do every job.

    Returns:
        the exit code: FAILED if one has failed.
    """
    gpus = _gpus(options.gpus, comfy)
    runner = Runner(list(options.jobs), comfy, told, options.manifest.stem)
    listener.stop = runner.stop
    told.tell("manifest", jobs=len(options.jobs), gpus=gpus)
    asyncio.run(_everywhere(runner, gpus))
    failed = {n: end for n, end in runner.ends.items() if end["exit"]}
    done, whole = len(runner.ends) - len(failed), len(options.jobs)
    verdict = f"{done} of {whole} jobs done" + (f", {len(failed)} failed:" if failed else ".")
    lines = [f"  [{n}] code {end['exit']}: {end['verdict']}" for n, end in sorted(failed.items())]
    left = [job.number for job in runner.waiting]
    if left:
        lines.append(f"  Not begun: {', '.join(map(str, left))}. Started again, they are.")
    code = Exit.FAILED if failed else Exit.DONE
    told.tell("end", exit=int(code), state="stopped" if left else "done", verdict=verdict,
              failed=sorted(failed), not_begun=left, lines=[verdict, *lines])
    return int(code)


async def _everywhere(runner: Runner, gpus: Sequence[str]) -> None:
    await asyncio.gather(*(runner.work(gpu) for gpu in gpus))


def _gpus(given: str, comfy: Sequence[str]) -> list[str]:
    """Names of the GPUs to use, as CUDA_VISIBLE_DEVICES has them; [""] is one process, which
    takes what it finds."""
    if given:
        return [gpu.strip() for gpu in given.split(",") if gpu.strip()]
    if "--cpu" in comfy:
        return [""]
    found = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True,
                           check=False).stdout.strip()
    count = int(found) if found.isdecimal() else 0
    seen = [gpu for gpu in os.environ.get(GPU_VARIABLES[0], "").split(",") if gpu.strip()]
    return (seen or [str(n) for n in range(count)])[:count] or [""]


def _log(job: Job, name: str) -> Any:  # noqa: ANN401  a file
    folder = job.options.out or Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / f"{name} job {job.number}.log").open("ab")
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}.") from error


async def _begun(command: Sequence[str], gpu: str, log: int) -> asyncio.subprocess.Process:
    """The job's process, in a group of its own: Ctrl-C reaches it through us, and once."""
    environment = {**os.environ, **dict.fromkeys(GPU_VARIABLES if gpu else (), gpu)}
    group = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
    return await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
        env=environment, start_new_session=os.name != "nt", creationflags=group, limit=LONGEST)
