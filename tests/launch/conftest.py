"""One real ComfyUI server for all tests of this folder, in a base directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from launch.places import comfyui_folder
from launch.server import Server

QUICK = ("--disable-api-nodes",)  # hundreds of nodes that call paid services


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with ComfyUI's own nodes."""
    if not (comfyui_folder() / "main.py").is_file():
        pytest.skip("no ComfyUI: run these tests with `python run.py test`")
    with Server(tmp_path_factory.mktemp("base"), arguments=QUICK) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(server: Server) -> dict[str, Any]:
    """What the real server says about its nodes."""
    return server.client.object_info()
