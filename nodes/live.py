"""What running searches show: their newest states and pictures, and the wish to stop one.

Pure state, read by the routes (another thread) and written by the searches: every change puts a
new object in the place of the old one, so that a reader meets one or the other.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

MOST = 16
RUNNING = ("estimating", "searching", "measuring")
WHICH = ("now", "reference")
State = dict[str, Any]


@dataclass
class Watched:
    """One search: its newest state, its pictures as JPEG, and whether it shall stop."""

    state: State = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WHICH, 0))
    stop: bool = False

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state.get("state") in RUNNING


class Live:
    """The newest searches by their node.

    Args:
        most: how many are kept; the oldest are forgotten first.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.watched: OrderedDict[str, Watched] = OrderedDict()

    def begin(self, node: str) -> None:
        """A search begins on this node: what an earlier one left there is forgotten."""
        self.watched.pop(node, None)
        self.watched[node] = Watched()
        while len(self.watched) > self.most:
            self.watched.popitem(last=False)

    def update(self, state: State) -> None:
        """Keep a search's newest state, whole; `state["node"]` says whose."""
        node = str(state["node"])
        if node not in self.watched:
            self.begin(node)
        self.watched[node].state = state

    def show(self, node: str, which: str, jpeg: bytes) -> int:
        """Keep a picture; returns its version."""
        watched = self.watched[node]
        watched.pictures = {**watched.pictures, which: jpeg}
        watched.versions = {**watched.versions, which: watched.versions[which] + 1}
        return watched.versions[which]

    def versions(self, node: str) -> dict[str, int]:
        """Versions of both pictures; 0: there is none."""
        found = self.watched.get(node)
        return dict.fromkeys(WHICH, 0) if found is None else found.versions

    def states(self) -> list[State]:
        """The newest state of each search, the newest search last."""
        return [watched.state for watched in list(self.watched.values()) if watched.state]

    def picture(self, node: str, which: str) -> bytes | None:
        """The newest picture as JPEG, if there is one."""
        found = self.watched.get(node)
        return None if found is None else found.pictures.get(which)

    def stop(self, node: str) -> bool:
        """Ask a search to end and keep what it has; False: none is running there."""
        found = self.watched.get(node)
        if found is None or not found.running:
            return False
        found.stop = True
        return True

    def wanted_stop(self, node: str) -> bool:
        """Whether somebody asked for that."""
        found = self.watched.get(node)
        return found is not None and found.stop


LIVE = Live()
