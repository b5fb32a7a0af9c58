"""Presets and running searches over HTTP: what a browser may ask and change.

A preset is named by the name under which it is listed, never by a path. What is written goes
into people's own folder through `presets.store`. docs/security.md says what is guarded against.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from ..presets import bin as bins
from ..presets.container import MAX_BYTES, load_object
from ..presets.fields import PresetError
from ..presets.file import contents, shared
from ..presets.parcels import parcel
from ..presets.pictures import media_type, picture_bytes
from ..presets.preset import Preset
from ..presets.shelf import Listed, Shelf
from ..presets.store import (
    SUFFIX,
    TakenError,
    check_name,
    fitting_name,
    free_name,
    read,
    read_bytes,
    rename,
    save_bytes,
)
from .cards import card, detail
from .comfy_bridge.folders import own_folder, preset_files, shelf
from .comfy_bridge.web import Answer, Call, Refusal, Reply, Route, hello, presets_changed
from .live import LIVE
from .measured import Known, all_figures, own_lines

BINARY, JSON = "application/octet-stream", "application/json"
WHICH = {"preset": "picture", "reference": "reference_picture"}
SMALL = 16 << 10  # bytes of a JSON body


def _guarded(answer: Answer) -> Answer:
    """Turns what presets and the disk refuse into a status and a sentence."""
    @wraps(answer)
    def guarded(call: Call) -> dict[str, Any] | Reply:
        try:
            return answer(call)
        except TakenError as error:
            raise Refusal(409, str(error)) from error
        except PresetError as error:
            raise Refusal(400, str(error)) from error
        except OSError as error:
            raise Refusal(507, f"The disk refuses: {error.strerror}. Make room, or check that "
                               "models/solver_presets can be written.") from error
    return guarded


class Listing:
    """The answer to GET /presets, spelled anew only when a file or a figure has changed."""

    def __init__(self) -> None:
        self._of: tuple[Any, Any] = (None, None)
        self._reply = Reply(b"", JSON)

    def __call__(self, call: Call) -> Reply:
        """GET /presets."""
        found, figures = shelf(), all_figures()
        of = found.entries, figures
        if not all(new is old for new, old in zip(of, self._of, strict=True)):
            self._reply = Reply(json.dumps(_listed(found, figures)).encode(), JSON)
            self._of = of
        return self._reply


def _listed(found: Shelf, figures: Known) -> dict[str, Any]:
    cards = [card(entry.preset, entry.file, pictures=entry.pictures, figures=figures)
             for entry in found.entries.values() if entry.preset is not None]
    broken = [{"file": name, "error": error} for name, error in found.broken.items()]
    return {"presets": cards, "broken": broken}


def one_preset(call: Call) -> dict[str, Any]:
    """GET /preset?file=: a card and everything that the file holds."""
    file = _file(call.get("file"))
    return detail(contents(read_bytes(Path(file.path))), file, all_figures())


def picture(call: Call) -> Reply:
    """GET /picture?file=&which=preset|reference."""
    which = WHICH.get(call.get("which") or "preset")
    if which is None:
        raise Refusal(400, "which must be preset or reference.")
    data = picture_bytes(getattr(read(Path(_file(call.get("file")).path)).info, which))
    if not data:
        raise Refusal(404, "This preset has no such picture.")
    return Reply(data, media_type(data))


def share(call: Call) -> Reply:
    """GET /share?file=&with=: the file to give away; `with`: see `_for_others`."""
    name, data = _for_others(_file(call.get("file")), call)
    return Reply(data, BINARY, name)


def export(call: Call) -> Reply:
    """GET /export?file=&file=&with=: several in one zip archive; `with`: see `_for_others`."""
    listing = {file.name: file for file in preset_files()}
    wanted = dict.fromkeys(call.query.get("file", []))
    if not wanted:
        raise Refusal(400, "Choose at least one preset.")
    files: dict[str, bytes] = {}
    for name in wanted:
        key, data = _for_others(_known(listing.get(name), name), call)
        files[key if key not in files else f"{len(files)} {key}"] = data
    return Reply(parcel(files), "application/zip", "solver presets.zip")


def inspect(call: Call) -> dict[str, Any]:
    """POST /inspect: what a file holds, without keeping it."""
    return detail(contents(call.body), None)


def install(call: Call) -> dict[str, Any]:
    """POST /install?name=: keep a file.

    Without a name, one that is taken by other numbers is refused; a given one becomes the next
    free one. Equal numbers are there already.
    """
    preset = contents(call.body).preset
    given = call.get("name")
    stem = check_name(given) if given else _name_of(preset)
    there = _twin(preset, stem, everywhere=not given)
    if there:
        return {"file": there, "already": True}
    free = free_name(own_folder(), stem)
    if not given and free != stem:
        raise Refusal(409, f"{stem} is already there with other numbers. Give it another name, "
                           f"such as {free}.", free=free)
    return {"file": _keep(call.body, free), "already": False}


def rename_preset(call: Call) -> dict[str, Any]:
    """POST /rename {"file", "name"}."""
    words = _words(call, "file", "name")
    path = rename(own_folder(), Path(_own(words["file"]).path), words["name"])
    presets_changed()
    return {"file": path.relative_to(own_folder()).as_posix()}


def delete(call: Call) -> dict[str, Any]:
    """POST /delete {"file"}: into the bin."""
    token = bins.throw_away(own_folder(), Path(_own(_words(call, "file")["file"]).path))
    presets_changed()
    return {"bin": token}


def restore(call: Call) -> dict[str, Any]:
    """POST /restore {"bin"}."""
    path = bins.restore(own_folder(), _words(call, "bin")["bin"])
    presets_changed()
    return {"file": path.name}


def live(call: Call) -> dict[str, Any]:
    """GET /live?client=: states of searches; a client that asks shows what nodes say."""
    hello(call.get("client"))
    return {"searches": LIVE.states()}


def live_picture(call: Call) -> Reply:
    """GET /live/picture?node=&which=now|reference."""
    data = LIVE.picture(call.get("node"), call.get("which"))
    if data is None:
        raise Refusal(404, "There is no such picture yet.")
    return Reply(data, "image/jpeg")


def live_stop(call: Call) -> dict[str, Any]:
    """POST /live/stop {"node"}: end a search and keep its best."""
    return {"stopping": bool(LIVE.stop(_words(call, "node")["node"]))}


def _file(name: str) -> Listed:
    return _known(next((f for f in preset_files() if f.name == name), None), name)


def _known(file: Listed | None, name: str) -> Listed:
    if file is None:
        raise Refusal(404, f"There is no preset {name[:80]!r}. Refresh the list.")
    return file


def _own(name: str) -> Listed:
    file = _file(name)
    if not file.own:
        raise Refusal(403, f"{name[:80]} comes with Solver Search, so it stays as it is. Share or "
                           "save it under another name instead.")
    return file


def _for_others(file: Listed, call: Call) -> tuple[str, bytes]:
    """Name without folders and bytes of a preset as it is given away.

    What tells of a person goes along only if the request names it: `with=author`, `notes`,
    `measured`, `pictures`, `workflow`, `others` (words that are none of ours), and `own`: what
    was measured on this machine.
    """
    data, parts = read_bytes(Path(file.path)), call.query.get("with", [])
    preset = contents(data).preset
    own = own_lines(preset, all_figures()) if "own" in parts else ""
    return Path(file.path).name, shared(data, parts, own)


def _words(call: Call, *keys: str) -> dict[str, str]:
    """Texts of a JSON body."""
    found = load_object(call.body, "The request")
    for key in keys:
        if not isinstance(found.get(key), str):
            raise Refusal(400, f"The request must hold a text {key}.")
    return {key: found[key] for key in keys}


def _name_of(preset: Preset) -> str:
    return fitting_name(preset.info.name) or f"preset {preset.id}"


def _twin(preset: Preset, stem: str, *, everywhere: bool) -> str:
    """File of people's own with the same numbers, of this name or of any; "" if there is none."""
    same = [name for name, entry in shelf().entries.items()
            if entry.preset is not None and entry.file.own and entry.preset.id == preset.id]
    named = [name for name in same if name == stem + SUFFIX]
    return next(iter(named or (same if everywhere else [])), "")


def _keep(data: bytes, name: str) -> str:
    path = save_bytes(own_folder(), data, name=name, overwrite=False)
    presets_changed()
    return path.name


def _route(method: str, path: str, answer: Callable[[Call], dict[str, Any] | Reply],
           limit: int = 0) -> Route:
    return Route(method, path, _guarded(answer), limit)


ROUTES = (
    _route("GET", "/presets", Listing()), _route("GET", "/preset", one_preset),
    _route("GET", "/picture", picture), _route("GET", "/share", share),
    _route("GET", "/export", export), _route("POST", "/inspect", inspect, MAX_BYTES),
    _route("POST", "/install", install, MAX_BYTES),
    _route("POST", "/rename", rename_preset, SMALL), _route("POST", "/delete", delete, SMALL),
    _route("POST", "/restore", restore, SMALL), _route("GET", "/live", live),
    _route("GET", "/live/picture", live_picture), _route("POST", "/live/stop", live_stop, SMALL),
)
