"""What a page complains about, and whether it is ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS = ("extensions/solver-search", "/solver_search/", "SolverSearch", "solver_search",
        "vite:preloadError")  # a script of an extension could not be loaded


@dataclass
class Console:
    """Messages and errors of a page.

    Args:
        heard: kind, text and place of each.
        expected: texts a test provokes.
    """

    heard: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def listen(self, page: Any) -> None:  # noqa: ANN401 - Playwright may be missing
        """Hear all of a page from now on."""
        page.on("console", self._message)
        page.on("pageerror", lambda error: self.heard.append(
            f"page error: {error.message}\n{error.stack}"))
        page.on("requestfailed", lambda request: self.heard.append(
            f"failed: {request.failure} {request.url}"))

    def expect(self, text: str) -> None:
        """A test provokes this complaint."""
        self.expected.append(text)

    def ours(self) -> list[str]:
        """Complaints that come from our files or name them."""
        mine = (line for line in self.heard if any(name in line for name in OURS))
        return [line for line in mine if "ERR_ABORTED" not in line
                and "api.comfy.org" not in line  # the page asks its makers of every node
                and not any(text in line for text in self.expected)]

    def _message(self, message: Any) -> None:  # noqa: ANN401
        if message.type in ("error", "warning"):
            place = message.location or {}
            self.heard.append(f"{message.type}: {message.text} ({place.get('url', '')})")
