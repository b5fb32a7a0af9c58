"""A search that was ended is run again: it goes on under the name that its unfinished preset has.

Compared with a search that nobody ended: one preset of the name, the same bytes but for date and
seconds. What is finished, changed by somebody, or of a search that runs beside stays as it is.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..pack import ROOT
from .hurting import Answer, Census, at, doing, raising, watched
from .runner import CANCELLED, KILLED, STOPPED, Fault, ended, look
from .stage import FLOW, NAME, PRESET, Stage, emptied
from .table import MOMENTS, cancel, stop

Problems = list[str]
FAMILY = {"steps": "3, 4"}  # numbers searched together
WHOLE: dict[tuple[str, str], tuple[dict[str, bytes], Census]] = {}
ENDED = (KILLED, STOPPED, CANCELLED)


def goes_on(stage: Stage, moments: Iterable[str]) -> Problems:
    """Killed at each of the moments in turn, then run to its end."""
    whole, census = _whole(stage)
    problems: Problems = []
    for moment in moments:
        emptied(stage)
        problems += _killed(stage, MOMENTS[moment](census))
        problems += [f"after {moment}: {line}" for line in _ends_as(stage, whole)]
    return problems


def again_and_again(stage: Stage) -> Problems:
    """Killed three times; what it has found by then is never replaced by less."""
    whole, census = _whole(stage)
    emptied(stage)
    late = MOMENTS["the last call of the search"](census)
    problems = _killed(stage, late)
    kept = (stage.folder / PRESET).read_bytes()
    for _ in range(2):
        problems += _killed(stage, 6)  # it has asked whether the model answers alike
        if (stage.folder / PRESET).read_bytes() != kept:
            problems.append("what an ended search had found is replaced by less")
    return problems + _ends_as(stage, whole)


def several(stage: Stage) -> Problems:
    """Of two numbers of steps one was measured when it was killed."""
    whole, _ = _whole(stage, **FAMILY)
    emptied(stage)

    def once_one_is_measured(number: int, found: Tensor) -> Tensor:
        if any(not _read(stage, path.name).info.state for path in _presets(stage)):
            raise KeyboardInterrupt
        return found
    problems = _ended(stage, once_one_is_measured, **FAMILY)
    left = [bool(_read(stage, name).info.state) for name in whole]
    problems += [] if sorted(left) == [False, True] else [f"left {left}"]
    return problems + _ends_as(stage, whole, **FAMILY)


def people_end_it(stage: Stage) -> Problems:
    """Stop and keep, and Cancel; the same search then goes to its end."""
    whole, census = _whole(stage)
    number, problems = MOMENTS["the last call of the search"](census), []
    for action in (stop(stage), doing(cancel)):
        emptied(stage)
        problems += _ended(stage, at(number, action)) + _ends_as(stage, whole)
    return problems


def somebodys(stage: Stage) -> Problems:
    """A preset that somebody has signed, renamed, finished or exchanged is not replaced."""
    whole, census = _whole(stage)
    store = stage.module("presets.store")
    emptied(stage)
    problems = _killed(stage, MOMENTS["the last call of the search"](census))
    left = _read(stage, PRESET)
    if _name_for(stage, left) != NAME:
        problems.append("what nobody has changed is not gone on with")
    for change in ({"state": ""}, {"search_key": "0" * 64}, {"name": "other"}, {"author": "me"},
                   {"licence": ""}, {"measured": "1"}, {"notes": "mine"}):
        theirs = replace(left, info=replace(left.info, **change))
        store.save(stage.folder, theirs, name=NAME, overwrite=True)
        if _name_for(stage, left) != f"{NAME} 2":
            problems.append(f"a preset with {change} would be replaced")
    data = (stage.folder / PRESET).read_bytes()
    problems += _ends_as(stage, {f"{NAME} 2.safetensors": whole[PRESET]})
    return problems if (stage.folder / PRESET).read_bytes() == data else [
        *problems, "somebody's preset is replaced"]


def _name_for(stage: Stage, left: Any) -> str:  # noqa: ANN401
    """What a search without a journal would call its preset."""
    names, folders = stage.module("nodes.left").names_for, stage.module(
        "nodes.comfy_bridge.folders")
    saving = stage.module("nodes.saving").Saving(stage.folder, folders.preset_names())
    return names({3: NAME}, saving, folders.shelf().entries.values(), left.info.search_key,
                 stage.module("nodes.journals").Standing.NONE)[3]


def beside_another(stage: Stage) -> Problems:
    """While a search of the same kind runs elsewhere, its preset is its own."""
    whole, census = _whole(stage)
    emptied(stage)
    problems = _killed(stage, MOMENTS["the last call of the search"](census))
    data, journals = (stage.folder / PRESET).read_bytes(), stage.module("nodes.journals")
    journal, = stage.folder.rglob("*.journal")
    with journals.opened(journal.parent, journal.stem, []):
        problems += _ends_as(stage, {f"{NAME} 2.safetensors": whole[PRESET]})
    return problems if (stage.folder / PRESET).read_bytes() == data else [
        *problems, "the preset of a search that runs is replaced"]


def finished_stays(stage: Stage) -> Problems:
    """Searched anew, a finished one stays beside the new one."""
    whole, _ = _whole(stage)
    emptied(stage)
    stage.search(NAME)
    data = (stage.folder / PRESET).read_bytes()
    problems = _ends_as(stage, {f"{NAME} 2.safetensors": whole[PRESET]})
    return problems if (stage.folder / PRESET).read_bytes() == data else [
        *problems, "a finished preset is replaced"]


def process_killed(stage: Stage) -> Problems:
    """SIGKILL to a ComfyUI of its own, once it has saved something."""
    whole, _ = _whole(stage)
    emptied(stage)
    process = subprocess.Popen([sys.executable, "-m", "tests.faults.beside", str(stage.folder),
                                "search", NAME], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not (stage.folder / PRESET).exists():
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    left = _read(stage, PRESET).info.state
    return _ends_as(stage, whole) if left else ["was not killed before its end"]


def _whole(stage: Stage, steps: str = "3") -> tuple[dict[str, bytes], Census]:
    """What a search that nobody ends leaves, and its model calls; on each stage made once."""
    known = str(stage.folder), steps
    if known not in WHOLE:
        emptied(stage)
        with watched(stage.subjects[FLOW].model, lambda: look(stage)) as seen:
            stage.search(NAME, steps=steps)
        WHOLE[known] = {p.name: _timeless(stage, p.name) for p in _presets(stage)}, seen
    return WHOLE[known]


def _killed(stage: Stage, number: int, **given: Any) -> Problems:  # noqa: ANN401
    return _ended(stage, at(number, raising(KeyboardInterrupt)), **given)


def _ended(stage: Stage, answer: Answer, **given: Any) -> Problems:  # noqa: ANN401
    """A search that is ended at one of its calls."""
    model = stage.subjects[FLOW].model
    with watched(model, lambda: look(stage), answer):
        end = ended(stage, Fault("", (), given=given), model).kind
    return [] if end in ENDED else [f"ended as '{end}' instead of being ended"]


def _ends_as(stage: Stage, whole: dict[str, bytes], **given: Any) -> Problems:  # noqa: ANN401
    """Run again: what it must have left then, beside what was there and is no part of it."""
    others = {path.name for path in _presets(stage)} if PRESET not in whole else set(whole)
    stage.search(NAME, **given)
    problems = [f"{name} is not as of a search that nobody ended" for name, data in whole.items()
                if not (stage.folder / name).is_file() or _timeless(stage, name) != data]
    new = {path.name for path in _presets(stage)} - others - set(whole)
    return problems + [f"{name} is new" for name in sorted(new)]


def _timeless(stage: Stage, name: str) -> bytes:
    """The bytes of a preset, but for its name, its day and the seconds it took."""
    preset = _read(stage, name)
    info = replace(preset.info, name=NAME, created="", seconds=None)
    return stage.module("presets.file").dump(replace(preset, info=info))


def _read(stage: Stage, name: str) -> Any:  # noqa: ANN401
    return stage.module("presets.store").read(stage.folder / name)


def _presets(stage: Stage) -> Iterator[Any]:
    return stage.folder.glob("*.safetensors")


early = functools.partial(goes_on, moments=("a call of the teacher",
                                            "the call after the first best"))
late = functools.partial(goes_on, moments=("the first call of measuring", "the last call"))
