"""One real server and one browser for all tests of this folder, a page for each test.

Both end with the folder: while Playwright runs in a thread, asyncio.run of another test cannot.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.base import prepare_base
from launch.places import FRONT_END_VARIABLE, comfyui_folder
from launch.server import Server

from .chromium import ARGUMENTS, chromium
from .console import Console
from .page import FrontEnd

playwright = pytest.importorskip("playwright.sync_api")
VIEW = {"width": 1600, "height": 1000}
PATIENCE = 30_000  # ms; two busy cores
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.ColorPalette": "dark",
    "Comfy.Locale": "en",
    "Comfy.Notification.ShowVersionUpdates": False,
}


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with this pack and the demo models."""
    if not (comfyui_folder() / "main.py").is_file():
        pytest.skip("no ComfyUI: run these tests with `python run.py test`")
    base = prepare_base(tmp_path_factory.mktemp("browser"))
    front_end = os.environ.get(FRONT_END_VARIABLE)
    more = ("--front-end-root", front_end) if front_end else ()
    with Server(base, arguments=("--disable-api-nodes", *more)) as running:
        yield running


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[playwright.BrowserContext]:
    """A browser that keeps its cache from test to test, and on disk: only from there it takes
    compiled scripts, which saves a sixth of opening a page."""
    found = chromium()
    if found is None:
        sentence = "No Chromium was found: install it, or set CHROMIUM to its path."
        required = os.environ.get("SOLVER_SEARCH_BROWSER") == "required"
        (pytest.fail if required else pytest.skip)(sentence)
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser cache"), executable_path=found,
            args=list(ARGUMENTS), viewport=VIEW, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture
def console() -> Iterator[Console]:
    """What the page complains about; a complaint of ours fails the test."""
    heard = Console()
    yield heard
    assert heard.ours() == []


@pytest.fixture
def settings() -> dict[str, object]:
    """ComfyUI's settings a test starts with; a test may override this fixture."""
    return {}


@pytest.fixture(params=["classic", "nodes 2"])
def renderer(request: pytest.FixtureRequest, settings: dict[str, object]) -> str:
    """For tests of what stands on a node: both renderers."""
    settings["Comfy.VueNodes.Enabled"] = request.param == "nodes 2"
    return request.param


def save_settings(server: Server, settings: dict[str, object]) -> None:
    """As the page does it."""
    body = json.dumps(settings).encode()
    request = urllib.request.Request(f"{server.address}/api/settings", body,
                                     {"Content-Type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


@pytest.fixture
def front(server: Server, browser: playwright.BrowserContext, console: Console,
          request: pytest.FixtureRequest, settings: dict[str, object]) -> Iterator[FrontEnd]:
    """ComfyUI's page, just opened, nothing kept from before."""
    if "renderer" in request.fixturenames:
        request.getfixturevalue("renderer")
    save_settings(server, {**SETTINGS, **settings})
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    console.listen(page)
    front = FrontEnd(page, server)
    try:
        front.visit()
        yield front
    finally:
        page.close()
        stop(server)


@pytest.fixture
def presets(server: Server) -> Iterator[Path]:
    """The folder of own presets; what a test leaves there is removed."""
    folder = server.base / "models" / "solver_presets"
    before = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    yield folder
    for path in folder.glob("*.safetensors"):
        if path.name not in before:
            path.unlink()
    for name, data in before.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.unlink(missing_ok=True)
            path.write_bytes(data)


def stop(server: Server) -> None:
    """Nothing goes on in the server after a test."""
    server.client._post("/queue", {"clear": True})
    server.client.interrupt()
