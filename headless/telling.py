"""What the command tells while it works: JSON lines, or a bar and sentences on a terminal.

Events are listed in docs/headless.md. stdout holds them and nothing else: whatever ComfyUI or a
pack prints goes to stderr, with the log.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol, TextIO

EVERY = 5.0  # seconds between two lines of progress in which nothing new happened
BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} model calls{postfix}"
Event = dict[str, Any]


class Teller(Protocol):
    """Whoever is told."""

    def tell(self, event: str, lines: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401
        """Something happened, once: data for scripts, `lines` for people."""

    def progress(self, state: Event) -> None:
        """The newest state of a search, several times a second."""

    def close(self) -> None:
        """Nothing more comes."""


def teller(*, lines: bool, silent: bool = False) -> Teller:
    """Who is told: a terminal, or whoever reads our lines; `silent`: nobody."""
    if silent:
        return Nobody()
    if not lines and sys.stdout.isatty():
        return Terminal(sys.stdout)
    return Lines(own_stdout())


def own_stdout() -> TextIO:
    """stdout for us alone: what others write there goes to stderr from now on."""
    sys.stdout.flush()
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return ours


class Nobody:
    """Not a word on stdout, from whatever runs here."""

    def __init__(self) -> None:
        own_stdout().close()

    def tell(self, event: str, lines: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401
        """See Teller."""

    def progress(self, state: Event) -> None:
        """See Teller."""

    def close(self) -> None:
        """See Teller."""


class Lines:
    """JSON lines, each with `event` and `time` (seconds since 1970)."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.told, self.last = stream, 0.0, ()

    def tell(self, event: str, lines: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401
        """See Teller."""
        said = {"event": event, "time": round(time.time(), 3), **more}
        self.stream.write(json.dumps(said) + "\n")
        self.stream.flush()

    def progress(self, state: Event) -> None:
        """See Teller: whenever stage or best change, else every few seconds."""
        best, now = state["best"], time.monotonic()
        new = (state["state"], state["current_steps"], None if best is None else best["error"])
        if new == self.last and now - self.told < EVERY:
            return
        self.last, self.told = new, now
        self.tell("progress", **briefly(state))

    def close(self) -> None:
        """See Teller."""
        self.stream.close()


def briefly(state: Event) -> Event:
    """A search's state without its tables and curves."""
    kept = ("state", "sentence", "calls", "total", "seconds", "seconds_left", "baseline", "best")
    return {"steps": state["current_steps"], **{name: state[name] for name in kept}}


def gain(state: Event) -> str:
    """How far the best has come: 34% closer; "" where that is not known."""
    best, known = state["best"], state["baseline"]
    if best is None or known is None or not best["error"] < known["error"]:
        return ""
    return f"{1 - best['error'] / known['error']:.0%} closer"


class Terminal:
    """Sentences, and below them a bar."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.bar, self.doing = stream, None, ""

    def tell(self, event: str, lines: Sequence[str] = (), **more: Any) -> None:  # noqa: ANN401
        """See Teller."""
        if event == "end":
            self.close()
        for line in lines:
            self._write(line)

    def progress(self, state: Event) -> None:
        """See Teller."""
        doing = state["sentence"].partition(". ")[0].rstrip(".")  # without what changes
        if doing != self.doing and state["state"] in ("searching", "measuring"):
            self.doing = doing
            self._write(f"{doing}.")
        if not state["total"]:
            return
        bar = self._bar(state["total"])
        bar.total, left = state["total"], state["seconds_left"]
        known = "" if left is None else f"about {bar.format_interval(left)} left"
        bar.set_postfix_str(", ".join(filter(None, (known, gain(state)))), refresh=False)
        bar.update(state["calls"] - bar.n)

    def close(self) -> None:
        """See Teller."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _bar(self, total: int) -> Any:  # noqa: ANN401  tqdm comes with ComfyUI
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, file=self.stream, bar_format=BAR, dynamic_ncols=True,
                            leave=False)
        return self.bar

    def _write(self, text: str) -> None:
        if self.bar is None:
            self.stream.write(text + "\n")
            self.stream.flush()
        else:
            self.bar.write(text, file=self.stream)
