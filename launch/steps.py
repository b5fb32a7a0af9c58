"""Steps that heal themselves: a stamp is written only after its step has succeeded.

A stamp lies inside the thing it vouches for and holds a fingerprint of the step's pins, so a
step is done exactly if its product is there, finished, and made from today's pins.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Tick = Callable[[], None]


@dataclass(frozen=True)
class Step:
    """One long piece of set-up.

    Args:
        title: what the console shows.
        stamp: file written when the step has succeeded.
        pins: everything the product depends on; a change makes the step run again.
        work: does it; calls its argument now and then so that the seconds can move.
    """

    title: str
    stamp: Path
    pins: str
    work: Callable[[Tick], None]

    @property
    def fingerprint(self) -> str:
        """Hash of the pins."""
        return hashlib.sha256(self.pins.encode()).hexdigest()

    @property
    def done(self) -> bool:
        """Whether the stamp is there and made from the same pins."""
        return self.stamp.is_file() and self.stamp.read_text().strip() == self.fingerprint

    def mark(self) -> None:
        """Write the stamp at once or not at all."""
        partial = self.stamp.with_name(self.stamp.name + ".partial")
        partial.write_text(self.fingerprint + "\n")
        os.replace(partial, self.stamp)


def say(text: str) -> None:
    """Write to the console without waiting for a full buffer."""
    sys.stdout.write(text)
    sys.stdout.flush()


def run_steps(steps: Sequence[Step]) -> int:
    """Run the steps that are not done, in order, one console line each.

    Returns:
        How many steps ran.
    """
    ran = 0
    for number, step in enumerate(steps, 1):
        if not step.done:
            _run(step, f"[{number}/{len(steps)}] {step.title} ... ")
            ran += 1
    return ran


def _run(step: Step, head: str) -> None:
    started = time.monotonic()
    step.stamp.unlink(missing_ok=True)
    say(head)

    def tick() -> None:
        if sys.stdout.isatty():
            say(f"\r{head}{time.monotonic() - started:.0f} s")

    try:
        step.work(tick)
        step.mark()
    except BaseException:
        say("\n")
        raise
    clear = f"\r{head}" if sys.stdout.isatty() else ""
    say(f"{clear}{time.monotonic() - started:.0f} s\n")
