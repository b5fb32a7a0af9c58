"""Folders of presets that are full, broken, hostile, or changed by somebody else meanwhile."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..pack import ROOT, load
from . import going_on
from .stage import FLOW, NAME, PRESET, Stage

MANY, SECONDS = 10_000, 0.1  # presets, and CPU seconds of a listing when nothing has changed
HANG = 20  # seconds after which something waits for ever
Problems = list[str]


@dataclass(frozen=True)
class Place:
    """One thing that a folder may be.

    Args:
        name: in words.
        run: tries it; says what did not hold.
        fast: see Fault.
    """

    name: str
    run: Callable[[Stage], Problems]
    fast: bool = True


def copies(stage: Stage, count: int) -> None:
    """So many sound presets, each with a number in its name."""
    data = stage.library().read_bytes()
    for number in range(count):
        (stage.folder / f"{number:05}.safetensors").write_bytes(data)


def listing(stage: Stage) -> dict[str, Any]:
    """What /object_info and the routes ask for."""
    stage.world.of("Load").define_schema()
    return stage.module("nodes.comfy_bridge.folders").shelf().presets


@contextlib.contextmanager
def in_time(what: str, problems: Problems) -> Iterator[None]:
    """A problem instead of waiting for ever."""
    def late(*_: object) -> None:
        raise TimeoutError(what)

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HANG)
    try:
        yield
    except TimeoutError:
        problems.append(f"{what} waits for ever")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ten_thousand(stage: Stage) -> Problems:
    """Listing them again costs next to nothing, whoever asks."""
    preset = _suits(stage)
    data = stage.module("presets.file").dump(preset)
    for number in range(MANY):
        (stage.folder / f"{number:05}.safetensors").write_bytes(data)
    found = len(listing(stage))
    problems = [] if found >= MANY else [f"lists {found} of {MANY}"]
    for what, ask in _askers(stage).items():
        ask()
        least = min(_seconds(ask) for _ in range(3))
        problems += [] if least <= SECONDS else [f"{what} takes {least:.2f} CPU s"]
    return problems


def _askers(stage: Stage) -> dict[str, Callable[[], object]]:
    """Who looks through the folder when nothing has changed."""
    node, call = stage.world.of("Load"), stage.module("nodes.comfy_bridge.web").Call()
    model = stage.module("nodes.comfy_bridge.model").facts(stage.subjects[FLOW].model)
    named = stage.world.nodes.NODE_CLASS_MAPPINGS["SolverSearch_Load"]
    matching, found, left, saving, journals, folders = (
        stage.module(name) for name in ("nodes.matching", "nodes.found", "nodes.left",
                                        "nodes.saving", "nodes.journals",
                                        "nodes.comfy_bridge.folders"))
    page = stage.module("nodes.routes").Listing()
    presets = stage.module("nodes.preset_nodes").all_presets
    held = [*presets().values()]
    return {
        "the picker": node.define_schema,
        "the node's definition": lambda: json.dumps(named.GET_NODE_INFO_V1()),
        "the page's list": lambda: page(call),
        "the choice for a model": lambda: matching.best_match(held, model, 0),
        "whether a workflow runs again": lambda: node.fingerprint_inputs(
            "(best for the connected model)"),
        "a search found again": lambda: found.found_again(presets().values(), "0" * 64, [3]),
        "a search's names": lambda: left.names_for(
            {3: "00007"}, saving.Saving(stage.folder, folders.preset_names()),
            folders.shelf().entries.values(), "0" * 64, journals.Standing.NONE),
    }


def _seconds(ask: Callable[[], object]) -> float:
    begun = time.process_time()
    ask()
    return time.process_time() - begun


def broken(stage: Stage) -> Problems:
    """Five hundred broken files are one line of the log, once."""
    for number in range(500):
        (stage.folder / f"{number}.safetensors").write_bytes(b"\0" * (9 + number % 7))
    with logged() as lines:
        for _ in range(3):
            listing(stage)
    one = len(lines) == 1 and "\n" not in lines[0]
    return [] if one else [f"{len(lines)} lines of log: {lines[:2]}"]


def odd_names(stage: Stage) -> Problems:
    """Names that other systems leave on a disk: what can be asked for is listed, the log stays one
    line that steers no terminal, and whatever pages get is text."""
    sound, odd = stage.library().read_bytes(), (
        b"\xff\xfe", b"\xed\xa0\x80", "\u202egnp".encode(), b" ",
        b"x" * 242, "\u0301".encode(), b"-rf", b"%2e%2e", b"a\\b", b"'\";--", b"<b>", b"[[a|b]]",
        b"a\nb", b"\x1b[2J\x1b]0;x\x07")  # the newest ones are named in the log
    folder = os.fsencode(stage.folder)
    for name in odd:
        Path(os.fsdecode(folder + b"/" + name + b".safetensors")).write_bytes(sound)
        Path(os.fsdecode(folder + b"/0" + name + b".safetensors")).write_bytes(b"broken file")
    with logged() as lines:
        names = [*listing(stage)]
    problems = [f"the log is steered: {line!r}" for line in lines if not line.isprintable()]
    problems += [] if len(lines) == 1 else [f"{len(lines)} lines of log"]
    routes, call = stage.module("nodes.routes"), stage.module("nodes.comfy_bridge.web").Call
    told = [*names, *stage.module("nodes.comfy_bridge.folders").preset_names(),
            json.dumps(json.loads(routes.Listing()(call()).body), ensure_ascii=False),
            *map(str, stage.module("nodes.comfy_bridge.folders").shelf().broken.values())]
    problems += [f"no text: {text[:80]!r}" for text in told
                 if text.encode("utf-8", "ignore").decode() != text]
    for name in names:
        if routes.one_preset(call({"file": [name]}))["file"] != name:
            problems.append(f"{name!r} is listed and cannot be asked for")
    sound_names = sum(name.decode("utf-8", "ignore").encode() == name for name in odd)
    own = [n for n in names if (stage.folder / n).exists()]
    return problems if len(own) == sound_names else [*problems, f"lists {own}"]


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """The lines of our log."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    log, disabled = logging.getLogger("solver-search"), logging.root.manager.disable
    log.addHandler(handler)
    log.propagate = False
    logging.disable(logging.NOTSET)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.propagate = True
        logging.disable(disabled)


def strange(stage: Stage) -> Problems:
    """Pipes, devices, folders, links that block, lead nowhere or round: skipped at once, and a
    workflow is not run again and again for them."""
    copies(stage, 2)
    os.mkfifo(stage.folder / "pipe.safetensors")
    (stage.folder / "folder.safetensors").mkdir()
    for name, target in (("nowhere", "gone"), ("round", "round.safetensors"),
                         ("zero", "/dev/zero"), ("kernel", "/proc/kmsg"),
                         ("own", "/proc/self/mem")):
        (stage.folder / f"{name}.safetensors").symlink_to(target)
    load_node, problems, stamps = stage.world.of("Load"), [], []
    with in_time("listing a folder of pipes and links", problems):
        found = [name for name in listing(stage) if (stage.folder / name).exists()]
        stamps = [load_node.fingerprint_inputs("(best for the connected model)")
                  for _ in range(2)]
        for name in ("pipe", "nowhere", "round", "zero", "kernel", "own", "folder"):
            load_node.fingerprint_inputs(f"{name}.safetensors")
            problems += _read(stage, f"{name}.safetensors")
    if stamps[:1] != stamps[1:]:
        problems.append("a workflow runs again though nothing has changed")
    return problems if len(found) == 2 else [*problems, f"lists {found}"]


def _read(stage: Stage, name: str) -> Problems:
    store = stage.module("presets.store")
    try:
        store.read(stage.folder / name)
    except store.PresetError:
        return []
    return [f"{name} is read"]


def copied_times(stage: Stage) -> Problems:
    """Other numbers with the size and times of the old ones are seen."""
    path, others = stage.folder / PRESET, sorted(stage.library().parent.glob("*.safetensors"))
    same = [p for p in others if p.stat().st_size == others[0].stat().st_size]
    data = bytearray(others[0].read_bytes())
    path.write_bytes(data)
    before, stat = stage.module("presets.shelf").look(PRESET, [str(stage.folder)]), path.stat()
    new = path.with_suffix(".new")
    new.write_bytes((same[1] if len(same) > 1 else others[0]).read_bytes())
    os.replace(new, path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = stage.module("presets.shelf").look(PRESET, [str(stage.folder)])
    return [] if before.stamp != after.stamp else ["other numbers are not seen"]


def replaced_in_use(stage: Stage) -> Problems:
    """A model that uses a preset goes on with what it loaded; the file may change or go."""
    path = stage.folder / PRESET
    preset = _suits(stage)
    stage.module("presets.store").save(stage.folder, preset, name=NAME, overwrite=True)
    held = stage.module("presets.store").read(path)
    used = stage.world.of("Use").execute(stage.subjects[FLOW].model, held).args[0]
    before = stage.picture(FLOW, used)
    path.write_bytes(b"somebody else's")
    during = stage.picture(FLOW, used)
    path.unlink()
    same = torch.equal(before, during) and torch.equal(before, stage.picture(FLOW, used))
    problems = [] if same else ["another picture after the file changed"]
    said = stage.world.of("Load").validate_inputs(PRESET)
    return problems if isinstance(said, str) and "not in your folder" in said else [
        *problems, f"a preset that is gone: {said}"]


def _suits(stage: Stage) -> Any:  # noqa: ANN401
    import comfy.samplers

    patcher = stage.subjects[FLOW].model
    model = stage.module("nodes.comfy_bridge.model").facts(patcher)
    ms = patcher.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(ms, "simple", 3).double()
    solver = stage.module("solver_search.tableaus").TABLEAUS["dpmpp_2m"](sigmas, flow=True)
    presets = stage.module("presets.preset")
    return presets.Preset(solver, presets.PresetInfo(name=NAME, prediction="flow", shift=3.0,
                                                     family=model.family))


def killed_while_writing(stage: Stage) -> Problems:
    """What a killed writing leaves goes with the next start or search, once it is old."""
    old, new = (stage.folder / f".{c * 16}.tmp" for c in "ab")
    for path in (old, new):
        path.write_bytes(b"0")
    os.utime(old, (1, 1))
    stage.module("presets.store").sweep(stage.folder)
    return [] if not old.exists() and new.exists() else ["leftovers are not swept"]


def library_name(stage: Stage) -> Problems:
    """A preset of the library is never hidden by one of a search."""
    taken = stage.library().stem
    saving = stage.module("nodes.saving").Saving(
        stage.folder, stage.module("nodes.comfy_bridge.folders").preset_names())
    saving.ready()
    return [] if saving.free(taken) != taken else [f"a search may be called '{taken}'"]


def deep_settings(stage: Stage) -> Problems:
    """ComfyUI's settings of any depth or kind do not keep the pack from loading."""
    import folder_paths

    place = Path(folder_paths.get_user_directory())
    file = stage.folder / "default" / "comfy.settings.json"
    file.parent.mkdir()
    folder_paths.set_user_directory(str(stage.folder))
    dropdown = stage.module("nodes.comfy_bridge.dropdown")
    try:
        found = []
        for text in ("[" * 100_000, '{"a":' * 100_000, "[]", "null", "\x00", "", '{"a": NaN}',
                     json.dumps({"SolverSearch.DropDown": "yes"})):
            file.write_text(text)
            found += [] if dropdown.wanted() is False else [text[:40]]
        file.write_bytes(b"\xff\xfe")
        return [f"wanted by {text}" for text in found] + (
            ["wanted by bytes"] if dropdown.wanted() else [])
    finally:
        folder_paths.set_user_directory(str(place))


def two_processes(stage: Stage, rounds: int = 150) -> Problems:
    """Two programs save, list and delete in one folder: each save is there or was deleted by the
    other, no read is torn, no name is given twice."""
    started = [subprocess.Popen([sys.executable, "-m", "tests.faults.beside", str(stage.folder),
                                 name, str(rounds)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
               for name in ("a", "b")]
    said = [json.loads(process.communicate(timeout=300)[0].splitlines()[-1])
            for process in started]
    problems = [line for one in said for line in one["problems"]]
    left = {p.name for p in stage.folder.glob("*.safetensors")}
    kept = [name for one in said for name in one["kept"]]
    problems += [f"{name} is lost" for name in kept if name not in left]
    problems += [f"{name} was given twice" for name in set(kept) if kept.count(name) > 1]
    tried = sum(one["saved"] for one in said)
    return problems if tried == 2 * rounds else [*problems, f"{tried} of {2 * rounds} saved"]


def two_searches(stage: Stage) -> Problems:
    """Two ComfyUIs search into one folder at once, with the same name for the preset."""
    started = [subprocess.Popen([sys.executable, "-m", "tests.faults.beside", str(stage.folder),
                                 "search", NAME], cwd=ROOT, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True) for _ in range(2)]
    said = [json.loads(process.communicate(timeout=600)[0].splitlines()[-1])
            for process in started]
    files = sorted(p.name for p in stage.folder.glob("*.safetensors"))
    problems = [] if len({one["file"] for one in said}) == 2 else [f"one file for both: {files}"]
    store = load("presets.store")
    for one in said:
        try:
            if store.read(stage.folder / one["file"]).id != one["id"]:
                problems.append(f"{one['file']} holds another search's solver")
        except store.PresetError as error:
            problems.append(str(error))
    return problems


PLACES = (
    Place("ten thousand presets", ten_thousand, fast=False),
    Place("five hundred broken presets", broken),
    Place("names as other systems leave them", odd_names),
    Place("pipes, devices and links", strange),
    Place("other numbers with copied times", copied_times),
    Place("a preset replaced and deleted in use", replaced_in_use),
    Place("a killed writing", killed_while_writing),
    Place("a name of the library", library_name),
    Place("settings of any depth", deep_settings),
    Place("two programs in one folder", two_processes),
    Place("two searches into one folder", two_searches, fast=False),
    Place("a search killed early", going_on.early),
    Place("a search killed while it is measured", going_on.late),
    Place("a search killed three times", going_on.again_and_again),
    Place("a search for two numbers of steps killed between them", going_on.several),
    Place("a search stopped, or cancelled", going_on.people_end_it),
    Place("an unfinished preset that somebody has changed", going_on.somebodys),
    Place("a search of the same kind beside it", going_on.beside_another),
    Place("a search made anew", going_on.finished_stays),
    Place("a search whose process is killed", going_on.process_killed, fast=False),
)
