"""The routes on a real server with ComfyUI's own guard before them, and what attackers send."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from .pack import load
from .world import World

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))
OURS = {"X-Solver-Search": "1"}
WORKFLOW = '{"nodes": [], "version": 0.4}'


def preset_bytes(sigma: float = 1.0, name: str = "Euler", **info: Any) -> bytes:  # noqa: ANN401
    """A one-step flow preset's file."""
    preset, solver = load("presets.preset"), load("solver_search.solver").Solver
    table = solver(torch.tensor([sigma, 0.0]), torch.tensor([[1.0]]), True)
    known = preset.PresetInfo(name=name, prediction="flow", shift=3.0, **info)
    return load("presets.file").dump(preset.Preset(table, known), WORKFLOW)


@pytest.fixture
def own(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty own folder beside the library."""
    import folder_paths

    folders = world.module("nodes.comfy_bridge.folders")
    place = tmp_path / "solver_presets"
    place.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "solver_presets",
                        ([str(place), str(folders.LIBRARY)], {".safetensors"}))
    monkeypatch.setattr(folders, "own_folder", lambda: place)
    monkeypatch.setattr(world.module("nodes.routes"), "own_folder", lambda: place)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folders, "SHELF", world.module("presets.shelf").Shelf())
    return place


@pytest.fixture
def ask(world: World, own: Path) -> Callable[..., tuple[int, Any, dict[str, str]]]:
    """Sends one request to a server with our routes; returns status, body and headers."""
    bridge, routes = world.module("nodes.comfy_bridge.web"), world.module("nodes.routes").ROUTES
    guard = importlib.import_module("server").create_origin_only_middleware()

    async def one(method: str, path: str, **more: Any) -> Any:  # noqa: ANN401
        app = web.Application(middlewares=[guard])
        app.add_routes([web.route(r.method, bridge.PREFIX + r.path, bridge.handler(r))
                        for r in routes])
        async with TestClient(TestServer(app)) as client:
            response = await client.request(method, bridge.PREFIX + path, **more)
            body = await response.read()
            plain = response.content_type == "application/json"
            return response.status, json.loads(body) if plain else body, response.headers

    return lambda *a, **more: asyncio.run(one(*a, **more))


def post(ask: Callable, path: str, data: Any = None, **headers: str) -> Any:  # noqa: ANN401
    body = json.dumps(data) if isinstance(data, (dict, list)) else data
    return ask("POST", path, data=body, headers={**OURS, **headers})[:2]


def test_a_list_has_own_and_library_and_names_what_is_broken(ask: Callable, own: Path) -> None:
    (own / "a.safetensors").write_bytes(preset_bytes(picture=load("presets.pictures")
                                                     .picture_text(JPEG)))
    (own / "bad.safetensors").write_bytes(b"bad")
    status, found, _ = ask("GET", "/presets")
    assert status == 200 and len(found["presets"]) == 20
    first = found["presets"][0]
    assert first["file"] == "a.safetensors" and first["own"] and first["pictures"]
    assert first["steps"] == 1 and first["promise"] == "Not measured on this model."
    assert not any(card["own"] for card in found["presets"][1:])
    assert [b["file"] for b in found["broken"]] == ["bad.safetensors"]


def test_one_preset_says_everything_it_holds(ask: Callable, own: Path) -> None:
    (own / "a.safetensors").write_bytes(preset_bytes(author="Ada"))
    status, found, _ = ask("GET", "/preset?file=a.safetensors")
    assert status == 200 and found["sigmas"] == [1.0, 0.0] and found["weights"] == [[1.0]]
    assert found["holds"]["workflow"] and found["holds"]["facts"]["author"] == "Ada"
    assert found["holds"]["tensors"] == {"sigmas": [2], "weights": [1, 1]}
    assert found["ordinary"]["simple"] == [1.0, 0.0]
    assert str(own) not in json.dumps(found)


@pytest.mark.parametrize("file", ["../a.safetensors", "/etc/passwd", "..%2fa", "a", "%00", ""])
@pytest.mark.parametrize("path", ["/preset", "/picture", "/share", "/export"])
def test_only_listed_names_are_read(ask: Callable, own: Path, path: str, file: str) -> None:
    (own.parent / "a.safetensors").write_bytes(preset_bytes())
    status, found, _ = ask("GET", f"{path}?file={file}")
    assert status == 404 and "There is no preset" in found["error"]


def test_pictures_and_files_come_as_they_are(ask: Callable, own: Path) -> None:
    data = preset_bytes(picture=load("presets.pictures").picture_text(JPEG))
    (own / "a b.safetensors").write_bytes(data)
    status, body, headers = ask("GET", "/picture?file=a b.safetensors&which=preset")
    assert (status, body, headers["Content-Type"]) == (200, JPEG, "image/jpeg")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask("GET", "/picture?file=a b.safetensors&which=reference")[0] == 404
    status, body, headers = ask("GET", "/share?file=a b.safetensors&with=pictures&with=workflow")
    assert (status, body) == (200, data)
    assert headers["Content-Disposition"].endswith("a%20b.safetensors")


def test_what_tells_of_a_person_is_shared_only_if_it_is_named(
        ask: Callable, own: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file, figures = load("presets.file"), load("presets.figures")
    picture = load("presets.pictures").picture_text(JPEG)
    data = preset_bytes(author="Ada", notes="for you", picture=picture, measured="x: 1")
    metadata, arrays = load("presets.container").unpack(data, file.TENSORS)
    data = load("presets.container").pack({**metadata, "tracker": "Ada's host"}, arrays)
    (own / "a.safetensors").write_bytes(data)

    def holds(query: str) -> tuple[Any, Any]:
        status, body, _ = ask("GET", f"/share?file=a.safetensors{query}")
        assert status == 200
        whole = file.contents(body)
        return whole.preset.info, whole
    info, whole = holds("")
    assert (info.author, info.notes, info.picture, info.measured) == ("", "", "", "")
    assert not whole.workflow and whole.others == () and whole.preset.id == file.parse(data).id
    for part, value in (("author", "Ada"), ("notes", "for you"), ("measured", "x: 1")):
        info, _ = holds(f"&with={part}")
        assert getattr(info, part) == value
        assert [info.author, info.notes, info.measured].count("") == 2
    assert holds("&with=workflow")[1].workflow
    assert holds("&with=others")[1].others == ("tracker",)
    everything = "".join(f"&with={part}" for part in (*file.PARTS, "others"))
    assert ask("GET", f"/share?file=a.safetensors{everything}")[1] == data
    found = zipfile.ZipFile(io.BytesIO(ask("GET", "/export?file=a.safetensors")[1]))
    assert file.parse(found.read("a.safetensors")).info.author == ""
    measured = world.module("nodes.measured")
    monkeypatch.setattr(measured, "own_folder", lambda: own)
    one = load("presets.info").PresetInfo(
        name="x", prediction="flow", model_name="m.safetensors", guidance=4.0, error=0.1,
        baseline="euler", baseline_error=0.2, held_out_seeds=8, created="2026-11-27")
    figures.Ledger().add(own, [figures.figures_of(file.parse(data).id, one)])
    assert "m.safetensors" not in repr(holds("&with=measured")[0])
    line = "m.safetensors, CFG 4: error 0.1 against 0.2 (euler), 8 seeds, 2026-11-27"
    assert holds("&with=own")[0].measured == "x: 1\n" + line
    assert (own / "a.safetensors").read_bytes() == data


def test_installing_keeps_the_bytes_and_never_overwrites(ask: Callable, own: Path) -> None:
    data, other = preset_bytes(), preset_bytes(0.5)
    assert post(ask, "/inspect", data)[1]["name"] == "Euler" and not any(own.iterdir())
    assert post(ask, "/install", data) == (200, {"file": "Euler.safetensors", "already": False})
    assert (own / "Euler.safetensors").read_bytes() == data
    assert post(ask, "/install", data) == (200, {"file": "Euler.safetensors", "already": True})
    status, found = post(ask, "/install", other)
    assert status == 409 and "other numbers" in found["error"] and found["free"] == "Euler 2"
    assert post(ask, "/install?name=Euler", other)[1]["file"] == "Euler 2.safetensors"
    assert (own / "Euler.safetensors").read_bytes() == data


def test_renaming_keeps_numbers_and_workflow(ask: Callable, own: Path) -> None:
    post(ask, "/install", preset_bytes())
    before = ask("GET", "/preset?file=Euler.safetensors")[1]
    assert post(ask, "/rename", {"file": "Euler.safetensors", "name": "Mine"}) == (
        200, {"file": "Mine.safetensors"})
    after = ask("GET", "/preset?file=Mine.safetensors")[1]
    assert (after["name"], after["id"]) == ("Mine", before["id"]) and after["holds"]["workflow"]
    assert [p.name for p in own.iterdir()] == ["Mine.safetensors"]
    post(ask, "/install?name=B", preset_bytes(0.5))
    assert post(ask, "/rename", {"file": "B.safetensors", "name": "Mine"})[0] == 409
    assert post(ask, "/rename", {"file": "B.safetensors", "name": "../x"})[0] == 400


def test_what_is_deleted_comes_back(ask: Callable, own: Path) -> None:
    data = preset_bytes()
    post(ask, "/install", data)
    status, found = post(ask, "/delete", {"file": "Euler.safetensors"})
    assert status == 200 and not (own / "Euler.safetensors").exists()
    assert len(ask("GET", "/presets")[1]["presets"]) == 19
    assert post(ask, "/restore", found) == (200, {"file": "Euler.safetensors"})
    assert (own / "Euler.safetensors").read_bytes() == data
    assert post(ask, "/restore", found)[0] == 400
    assert post(ask, "/restore", {"bin": "../../Euler"})[0] == 400


def test_the_bin_holds_fifty(ask: Callable, own: Path) -> None:
    bins, store = load("presets.bin"), load("presets.store")
    for number in range(bins.ROOM + 2):
        path = store.save_bytes(own, preset_bytes(), name=str(number), overwrite=False)
        bins.throw_away(own, path)
    left = sorted(p.name for p in (own / ".bin").iterdir())
    assert len(left) == bins.ROOM and left[0].endswith(" 2.deleted")


def test_the_library_stays_as_it_is(ask: Callable, own: Path) -> None:
    name = "DSS SiT flow 6.safetensors"
    assert post(ask, "/delete", {"file": name})[0] == 403
    assert post(ask, "/rename", {"file": name, "name": "x"})[0] == 403
    assert post(ask, "/install?name=DSS SiT flow 6", preset_bytes())[1]["file"] == (
        "DSS SiT flow 6 2.safetensors")


def test_links_are_never_changed(ask: Callable, own: Path) -> None:
    outside = own.parent / "precious.safetensors"
    outside.write_bytes(preset_bytes())
    (own / "a.safetensors").symlink_to(outside)
    assert post(ask, "/delete", {"file": "a.safetensors"})[0] == 400
    assert post(ask, "/rename", {"file": "a.safetensors", "name": "b"})[0] == 400
    assert outside.read_bytes() == preset_bytes() and (own / "a.safetensors").is_symlink()


def test_pipes_and_broken_links_are_not_listed(ask: Callable, own: Path) -> None:
    os.mkfifo(own / "pipe.safetensors")
    (own / "gone.safetensors").symlink_to(own / "nothing")
    (own / "loop.safetensors").symlink_to(own / "loop.safetensors")
    (own / "folder.safetensors").mkdir()
    assert len(ask("GET", "/presets")[1]["presets"]) == 19


def test_a_collection_goes_out(ask: Callable, own: Path) -> None:
    for number, sigma in enumerate((1.0, 0.5)):
        post(ask, f"/install?name=p{number}", preset_bytes(sigma))
    status, data, _ = ask("GET", "/export?file=p0.safetensors&file=p1.safetensors")
    assert status == 200 and zipfile.ZipFile(io.BytesIO(data)).namelist() == [
        "p0.safetensors", "p1.safetensors"]


CHANGES = ["/inspect", "/install", "/rename", "/delete", "/restore", "/live/stop"]


@pytest.mark.parametrize("path", CHANGES)
def test_changes_need_the_header_and_our_own_page(ask: Callable, path: str) -> None:
    assert ask("POST", path, data=b"{}")[0] == 403
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", ""):
        assert post(ask, path, b"{}", Origin=origin)[0] == 403, origin
    assert post(ask, path, b"x" * ((1 << 20) + 1))[0] in (400, 413)
    assert ask("GET", path)[0] == 405


@pytest.mark.parametrize("path", [p for p in CHANGES if p not in ("/inspect", "/install")])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"file": 1}', b"[" * 9000])
def test_hostile_bodies_get_a_sentence(ask: Callable, path: str, body: bytes) -> None:
    status, found = post(ask, path, body)
    assert status == 400 and found["error"].endswith(".")


def test_a_large_body_is_not_read_to_its_end(ask: Callable) -> None:
    status, found = post(ask, "/install", b"x" * (3 << 20))
    assert status == 413 and "At most 1048576 bytes" in found["error"]


def test_asking_for_live_searches_is_hello(ask: Callable, world: World) -> None:
    live = world.module("nodes.live").LIVE
    live.watched.clear()  # searches of other tests
    assert ask("GET", "/live?client=abc")[1] == {"searches": []}
    live.update({"node": "7", "state": "searching"})
    assert ask("GET", "/live")[1] == {"searches": [{"node": "7", "state": "searching"}]}
    live.watched.clear()
    bridge: ModuleType = world.module("nodes.comfy_bridge.web")
    assert bridge.shows_ours("abc") and not bridge.shows_ours("abd")
    for number in range(bridge.MAX_CLIENTS):
        bridge.hello(str(number))
    assert not bridge.shows_ours("abc")
    assert ask("GET", "/live/picture?node=1&which=now")[0] == 404
    assert post(ask, "/live/stop", {"node": "1"}) == (200, {"stopping": False})
