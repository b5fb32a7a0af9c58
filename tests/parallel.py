"""How tests are dealt to processes that run side by side (pytest-xdist).

A file stays together, since its tests share what is costly to make; so does a folder that has
one server for all of its tests.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

ONE_SERVER = ("tests/browser/", "tests/launch/")


class Places(LoadScopeScheduling):
    """Deals whole files, and whole folders of ONE_SERVER, in the order of collection."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False  # else those of most tests come first
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return place_of(nodeid)


def place_of(nodeid: str) -> str:
    """What a test is kept together with."""
    file = nodeid.split("::", 1)[0]
    return next((folder for folder in ONE_SERVER if file.startswith(folder)), file)
