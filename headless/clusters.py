"""Many jobs on a cluster, through submitit: an extra that nothing else needs.

submitit pickles what it is to call. This module is pickled by value, so that the machine that
runs a job imports nothing of ours; there the job is a process as everywhere.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from .exits import Exit, Refusal
from .telling import Teller

EVERY = 0.2  # seconds
MISSING = ("--submit needs submitit, which is not installed. Install it with this Python: pip "
           "install submitit.")


class Resumable:
    """A command that goes on where it was when its machine is taken away or its time is up.

    Args:
        command: program and arguments, never through a shell.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self.child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run it to its end.

        Raises:
            RuntimeError: if it fails, so that submitit counts it as failed.
        """
        self.child = subprocess.Popen(self.command)
        while (code := self.child.poll()) is None:  # wait() would lock checkpoint() out
            time.sleep(EVERY)
        if code:
            raise RuntimeError(f"The job ended with code {code}; its last line on stdout says "
                               "why.")
        return code

    def checkpoint(self) -> Any:  # noqa: ANN401  submitit's type
        """What submitit is to call on the next machine; the search keeps its best before."""
        from submitit.helpers import DelayedSubmission

        if self.child is not None:
            self.child.terminate()
            self.child.wait()
        return DelayedSubmission(type(self)(self.command))


def submit(options: argparse.Namespace, comfy: Sequence[str], told: Teller) -> int:
    """Hand the jobs over; on a cluster that is all, elsewhere wait for them.

    Returns:
        the exit code: FAILED if one was waited for and has failed.

    Raises:
        Refusal: if submitit is not there, or refuses.
    """
    try:
        import cloudpickle
        import submitit
    except ImportError as error:
        raise Refusal(Exit.REQUEST, MISSING) from error
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    executor = submitit.AutoExecutor(options.submit_folder, cluster=options.submit)
    try:
        executor.update_parameters(timeout_min=options.timeout, **_parameters(options, comfy))
        with executor.batch():
            handed = [executor.submit(Resumable(job.command(comfy))) for job in options.jobs]
    except (ValueError, TypeError, NameError, RuntimeError, OSError) as error:
        raise Refusal(Exit.REQUEST, f"submitit refuses: {error}") from error
    for job, there in zip(options.jobs, handed, strict=True):
        told.tell("submitted", job=job.number, id=there.job_id,
                  lines=[f"[{job.number}] {job.about}: job {there.job_id}"])
    if options.submit == "slurm":
        said = f"{len(handed)} jobs handed to Slurm; logs are in {options.submit_folder}."
        told.tell("end", exit=0, state="submitted", verdict=said, lines=[said])
        return int(Exit.DONE)
    return _waited(options.jobs, handed, told)


def _parameters(options: argparse.Namespace, comfy: Sequence[str]) -> dict[str, Any]:
    given = dict(option.partition("=")[::2] for option in options.submit_option)
    found = {name: int(value) if value.isdecimal() else value for name, value in given.items()}
    if options.partition:
        found["slurm_partition"] = options.partition
    if "--cpu" not in comfy:
        found.setdefault("gpus_per_node", 1)
    return found


def _waited(jobs: Sequence[Any], handed: Sequence[Any], told: Teller) -> int:
    failed = []
    for job, there in zip(jobs, handed, strict=True):
        error = there.exception()
        said = "done" if error is None else str(error).strip().split("\n")[-1]
        told.tell("job", job=job.number, state="done" if error is None else "failed",
                  verdict=said, lines=[f"[{job.number}] {said}"])
        failed += [] if error is None else [job.number]
    verdict = f"{len(jobs) - len(failed)} of {len(jobs)} jobs done."
    code = Exit.FAILED if failed else Exit.DONE
    told.tell("end", exit=int(code), state="done", verdict=verdict, failed=failed,
              lines=[verdict])
    return int(code)
