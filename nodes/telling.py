"""What a search tells while it runs: one whole state, in an artist's words, to page and bar."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..presets.pictures import picture_text
from ..solver_search.config import METHODS
from ..solver_search.search import Event
from ..solver_search.solver import Solver
from .comfy_bridge.screen import Screen
from .estimate import Estimate, duration
from .live import Live
from .said import Said

EVERY, LINE_EVERY = 0.25, 1.0  # seconds between states, and between lines of text
POINTS = 200  # of a curve
DIGITS = 6  # of a table's numbers
STAGES = {
    "teacher": "Painting pictures slowly, to learn from them.",
    "known": "Trying the samplers you know.",
    "rows": "Fitting {steps} steps to your model.",
    "refine": "Refining {steps} steps.",
    "learn": "Learning {steps} steps.",
}
MEASURING = "Measuring the result on pictures it has never seen."
ELSEWHERE = "Measuring the result at other CFG values."


class Telling:
    """The state of one search, kept whole and sent now and then.

    Args:
        live: where the newest state is kept.
        screen: bar, pictures and pages.
        names: number of steps -> name of its preset, that of the first output first.
        method: a key of METHODS.
    """

    def __init__(self, live: Live, screen: Screen, names: Mapping[int, str], method: str) -> None:
        self.live, self.screen, self.names = live, screen, dict(names)
        self.pace = METHODS[method].pace
        self.begun, self.sent, self.lined, self.line = time.monotonic(), 0.0, 0.0, ""
        self.searched = self.measured = self.proof = self.budget = 0
        self.ends: dict[int, tuple[Tensor, Tensor]] = {}
        first = next(iter(names))
        live.begin(screen.node)
        self.state: dict[str, Any] = {
            "node": screen.node, "prompt": screen.prompt, "workflow": screen.workflow,
            "state": "estimating",
            "sentence": "Loading the model and timing it.", "steps": list(names),
            "current_steps": first, "calls": 0, "total": 0, "seconds": 0.0, "seconds_left": None,
            "estimate": None, "best": None, "baseline": None, "curve": [], "solver": None,
            "name": names[first], "saved": "", "report": None}
        self.push(force=True)

    def estimated(self, estimate: Estimate) -> None:
        """What it will cost, before it starts."""
        self.budget, self.proof = estimate.calls, estimate.proof
        self.state |= {"state": "searching", "sentence": f"This takes {estimate.text}.",
                       "total": estimate.calls + estimate.proof,
                       "seconds_left": round(estimate.seconds),
                       "estimate": {"seconds": estimate.seconds, "text": estimate.text,
                                    "calls": estimate.calls + estimate.proof,
                                    "memory_bytes": int(estimate.memory)}}
        self.begun = time.monotonic()
        self.push(force=True)

    def resumed(self, calls: int) -> None:
        """It goes on from where an earlier search had ended."""
        self.state["sentence"] = (f"Going on where it stopped: {calls:,} of "
                                  f"{self.state['total']:,} model calls.")
        self.push(force=True)

    def event(self, event: Event, steps: int) -> None:
        """An offer or a phase of the search."""
        if steps != self.state["current_steps"] and event.stage:
            self.state |= {"current_steps": steps, "name": self.names[steps], "best": None,
                           "baseline": None, "curve": [], "solver": None}
        if event.phase.endswith("measuring on unseen seeds"):
            self._measuring(MEASURING)
        elif event.phase.endswith("measuring at other CFG scales"):
            self._measuring(ELSEWHERE)
        else:
            self._searching(event, steps)
        self.push(force=event.improved and len(self.state["curve"]) < 3)

    def _measuring(self, sentence: str) -> None:
        self.budget = self.searched  # it may have ended sooner than told
        self.state |= {"state": "measuring", "sentence": sentence}

    def _searching(self, event: Event, steps: int) -> None:
        if event.builtin and event.error is not None and event.error < _error(
                self.state["baseline"]):
            self.state["baseline"] = {"error": event.error, "label": event.builtin}
        if event.improved and event.solver is not None:
            self.state |= {"best": {"error": event.best, "label": event.phase},
                           "solver": tables(event.solver)}
        if event.error is not None and event.best is not None:
            self.state["curve"] = thinned([*self.state["curve"], [event.model_calls, event.best]])
        self.state["sentence"] = STAGES[event.stage or "teacher"].format(steps=steps) + (
            self._gain())

    def _gain(self) -> str:
        """How far the best has come, where it is known."""
        known, best = _error(self.state["baseline"]), _error(self.state["best"])
        if not best < known < float("inf"):
            return ""
        return f" Already {1 - best / known:.0%} closer than the best built-in setting tried."

    def called(self, calls: int) -> None:
        """Model calls spent on searching."""
        self.searched = calls
        self.push()

    def counted(self, calls: int) -> None:
        """Model calls spent on measuring."""
        self.measured = calls
        self.push()

    def pictures(self, steps: int, now: Tensor, reference: Tensor) -> None:
        """Ends of one start: of the best solver, and of the reference."""
        changed = steps not in self.ends or self.ends[steps][1].shape != reference.shape or (
            not self.ends[steps][1].equal(reference))
        self.ends[steps] = now, reference
        self.screen.preview(now)
        for which, latent in (("now", now), ("reference", reference)):
            if which == "now" or changed:
                made = self.screen.jpeg(latent, running=True)
                if made is not None:
                    self.live.show(self.screen.node, which, made)
        self.push()

    def texts(self, steps: int) -> dict[str, str]:
        """Both pictures for the preset of so many steps, made when the model is done."""
        made = [self.screen.jpeg(x, running=False) for x in self.ends.get(steps, ())]
        if len(made) < 2 or None in made:
            return {}
        return dict(zip(("picture", "reference_picture"), map(picture_text, made), strict=True))

    def saved(self, steps: int, name: str, file: str) -> None:
        """Where the preset of so many steps is."""
        self.names[steps] = name
        if steps == self.state["current_steps"]:
            self.state |= {"name": name, "saved": file}

    def ended(self, state: str, said: Said, *, whole: bool = False) -> None:
        """The last state; `whole`: everything was done, and the bar is full."""
        self.state |= {"state": state, "sentence": said.verdict, "seconds_left": None,
                       "report": said.as_dict()}
        if whole:
            self.budget, self.proof = self.searched, self.measured
        self.push(force=True)
        if whole:
            self.screen.progress(1, 1)

    @property
    def spent(self) -> str:
        """Calls made of those told: 120 of 4,000 model calls."""
        done, total = self.searched + self.measured, self.state["total"]
        return f"{done:,} of {total:,} model calls" if total else "its first model call"

    def push(self, *, force: bool = False) -> None:
        """Keep the state; send it if the last one was some time ago."""
        now = time.monotonic()
        done = self.searched + self.measured
        total = max(self.budget + self.proof, done)
        self.state = {**self.state, "calls": done, "total": total,
                      "seconds": round(now - self.begun, 1),
                      "pictures": self.live.versions(self.screen.node)}
        running = self.state["state"] in ("searching", "measuring")
        if running and done:
            self.state["seconds_left"] = self._left(now - self.begun)
        self.live.update(self.state)
        if not force and now - self.sent < EVERY:
            return
        self.sent = now
        self.screen.send(self.state)
        if running:
            self.screen.progress(min(done, max(1, total) - 1), total)
            self._line(now)

    def _line(self, now: float) -> None:
        left = self.state["seconds_left"]
        text = self.state["sentence"] + ("" if left is None else f" About {duration(left)} left.")
        if text != self.line and now - self.lined > LINE_EVERY:
            self.line, self.lined = text, now
            self.screen.line(text)

    def _left(self, seconds: float) -> int:
        """Seconds until the end at the pace so far; a call of a gradient method takes longer."""
        done = self.searched * self.pace + self.measured
        whole = max(self.budget, self.searched) * self.pace + max(self.proof, self.measured)
        return round(seconds * (whole - done) / max(done, 1))


def tables(solver: Solver) -> dict[str, Any]:
    """A solver's numbers for a page."""
    beside = {name: _rows(solver.alone(name).weights) for name in solver.beside}
    return {"sigmas": [float(f"{s:.{DIGITS}g}") for s in solver.sigmas.tolist()],
            "weights": _rows(solver.weights), "beside": beside}


def thinned(curve: list[list[float]]) -> list[list[float]]:
    """At most POINTS of a curve: every other of the older ones is left out, never the ends."""
    return curve if len(curve) <= POINTS else [*curve[:-1:2], curve[-1]]


def _rows(weights: Tensor) -> list[list[float]]:
    return [[float(f"{w:.{DIGITS}g}") for w in row] for row in weights.tolist()]


def _error(named: dict[str, Any] | None) -> float:
    return float("inf") if named is None else named["error"]
