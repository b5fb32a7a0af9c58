"""Which Chromium the tests drive, and how."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing beyond the loopback is asked: the page's own requests outside end at once.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


def chromium() -> str | None:
    """Path of the browser: $CHROMIUM, else the first of NAMES on the path."""
    named = os.environ.get("CHROMIUM")
    names = (named,) if named else NAMES
    return next((found for name in names if (found := shutil.which(name))), None)
