"""One fault after another: a real search with something going wrong, and what must hold after it.

Whatever the fault: a true sentence, the best so far comes out, nobody's file is lost, nothing is
left behind, and model and process are as before. What a row of the table adds is how the search
must end, and what it must say.
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .hurting import Answer, Census, watched
from .stage import BYSTANDER, FLOW, NAME, NODE, Stage, emptied
from .traces import Traces, contents, differences, of_random, traces

WHOLE, BROKEN, UNMEASURED = "whole", "broke off", "not measured"
STOPPED, SENTENCE, CANCELLED, KILLED = "stopped", "sentence", "cancelled", "killed"
RAISED = "the model's own error"
PYTHON_WORDS = re.compile(r"NoneType|\bNone\b|Traceback|\bobject at 0x|\b[A-Z]\w*Error\b")
FAILED = "The model, or a patch on it, failed: "  # what follows are its author's words
LETTERS = "abcdefghijklmnopqrstupvxyz"  # of which ComfyUI's PreviewImage draws five
HANDED_OUT = (WHOLE, BROKEN, UNMEASURED, STOPPED)
LONGEST = 600  # characters of a sentence
ALLOWED = re.compile(r"\.(bin|journal\w*)(/.*)?|measured\.json|[^./][^/]*\.safetensors")
Moment = Callable[[Census], int]


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Args:
        name: what goes wrong, and when.
        ends: how the search must end; several where either is right.
        answer: (stage, number of the call) -> what the network answers instead.
        when: which call of a sound search, by its census; None: the first.
        says: what report or sentence must hold, as a regular expression.
        saved: whether a preset of this search must be on disk; None: where its best was there
            when it happened.
        method, family: of the search.
        model: what is searched; None: the family's model as it is.
        around: what else is otherwise during the search.
        given: further inputs of the node.
        fast: whether it belongs to every run of the tests.
    """

    name: str
    ends: tuple[str, ...]
    answer: Callable[[Stage, int], Answer] | None = None
    when: Moment | None = None
    says: str = ""
    saved: bool | None = None
    method: str = "fit"
    family: str = FLOW
    model: Callable[[Stage], Any] | None = None
    around: Callable[[Stage], contextlib.AbstractContextManager] | None = None
    given: dict[str, Any] = field(default_factory=dict)
    fast: bool = False


@dataclass(frozen=True)
class Ending:
    """How a search ended.

    Args:
        kind: one of those above; "crash" for what is none of them.
        words: report or sentence.
        preset: what came out.
        state: what pages were told last.
    """

    kind: str
    words: str
    preset: Any = None
    state: dict[str, Any] = field(default_factory=dict)


@dataclass
class Runner:
    """Runs faults on one stage; sound searches are made once for each model and method."""

    stage: Stage
    sound: dict[tuple[str, str], Census] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)

    def run(self, fault: Fault) -> tuple[Ending, list[str]]:
        """The ending, and what did not hold, in words; [] if all did."""
        stage = self.stage
        model = stage.subjects[fault.family].model if fault.model is None else fault.model(stage)
        number = 0 if fault.when is None else fault.when(self._census(fault))
        picture = stage.picture(fault.family, model)  # its patches are in place now
        emptied(stage, bystander=True)
        before, files = traces(model), contents(stage.folder)
        drawn = random.getstate()
        answer = fault.answer and fault.answer(stage, number)
        place = stage.around_folder()
        with (fault.around(stage) if fault.around else contextlib.nullcontext()):
            with watched(model, lambda: look(stage), answer) as seen:
                ending = ended(stage, fault, model)
        problems = [*_files_lost(stage, files), *_left_behind(stage)]
        problems += _unsaved(stage, fault, seen, ending)
        del seen
        problems += _wrong_end(fault, ending) + _untrue(fault, ending)
        problems += _journal_left(stage, fault, ending)
        ending = Ending(ending.kind, ending.words)  # nothing of the search is held any more
        if ending.kind in HANDED_OUT:
            before |= random_after(drawn)
        problems += differences(before, traces(model))
        if not torch.equal(stage.picture(fault.family, model), picture):
            problems.append("a KSampler paints another picture")
        emptied(stage)
        problems += [f"{name} is new beside the presets" for name in
                     sorted(stage.around_folder() - place)]
        return ending, problems

    def _census(self, fault: Fault) -> Census:
        key = fault.family, fault.method
        if key not in self.sound:
            emptied(self.stage)
            model = self.stage.subjects[fault.family].model
            with watched(model, lambda: look(self.stage)) as seen:
                self.stage.search("sound", None, *key)
            self.sound[key] = seen
        return self.sound[key]


def random_after(before: tuple) -> Traces:
    """Python's random numbers once ComfyUI has named a picture on a node."""
    now = random.getstate()
    random.setstate(before)
    for _ in range(5):
        random.choice(LETTERS)
    after = of_random()
    random.setstate(now)
    return after


def look(stage: Stage) -> tuple[str, bool]:
    """The running search's state, and whether a solver of it is on disk."""
    live = stage.module("nodes.live").LIVE.watched.get(NODE)
    state = "" if live is None else live.state.get("state", "")
    return state, any(p.name != BYSTANDER for p in stage.folder.glob("*.safetensors"))


def ended(stage: Stage, fault: Fault, model: Any) -> Ending:  # noqa: ANN401
    """Run the search and name its end."""
    import comfy.model_management as management

    try:
        out = stage.search(NAME, model, fault.family, fault.method, **fault.given)
    except management.InterruptProcessingException:
        return Ending(CANCELLED, _told(stage).get("sentence", ""))
    except KeyboardInterrupt:
        return Ending(KILLED, "")
    except ValueError as error:
        return Ending(SENTENCE, str(error))
    except Exception:  # noqa: BLE001  ComfyUI shows it as it is; the node says what it means
        return Ending(RAISED, _told(stage).get("sentence", ""))
    finally:
        management.interrupt_current_processing(False)
    preset, plot, report = out.args
    state = _told(stage)
    kind = {"done": WHOLE, "failed": BROKEN, "stopped": STOPPED}.get(state.get("state"), "crash")
    if kind == WHOLE and "could not be measured" in report:
        kind = UNMEASURED
    if plot.ndim != 4 or not torch.isfinite(plot).all():
        kind = "crash"
    return Ending(kind, report, preset, state)


def _told(stage: Stage) -> dict[str, Any]:
    live = stage.module("nodes.live").LIVE.watched.get(NODE)
    return {} if live is None else live.state


def _wrong_end(fault: Fault, ending: Ending) -> list[str]:
    found = []
    if ending.kind not in fault.ends:
        found.append(f"ended as '{ending.kind}' instead of {' or '.join(fault.ends)}: "
                     f"{ending.words[:300]}")
    elif not re.search(fault.says, ending.words):
        found.append(f"does not say '{fault.says}': {ending.words[:400]}")
    return found


def _untrue(fault: Fault, ending: Ending) -> list[str]:
    """What is said and is not so, or is no sentence."""
    found = []
    lines = [line for line in ending.words.split("\n") if line]
    for line in lines:
        if FAILED not in line and PYTHON_WORDS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", line)):
            found.append(f"speaks Python: {line[:200]}")
        if len(line) > LONGEST:
            found.append(f"a line of {len(line)} characters: {line[:100]}")
    if ending.kind == SENTENCE and not ending.words.rstrip().endswith((".", "?")):
        found.append(f"no sentence: {ending.words[:200]}")
    if ending.kind == SENTENCE and not ending.words[:1].isupper():
        found.append(f"does not begin as a sentence: {ending.words[:200]}")
    if ending.kind in HANDED_OUT and ending.preset.solver.nfe != 3:
        found.append("hands out another number of steps")
    return found


def _unsaved(stage: Stage, fault: Fault, seen: Census, ending: Ending) -> list[str]:
    """Whether what was found is on disk, and is what is said to be there."""
    store = stage.module("presets.store")
    files = [p for p in stage.folder.glob("*.safetensors") if p.name.startswith(NAME)]
    sound = {}
    for path in files:
        with contextlib.suppress(store.PresetError):
            sound[path.name] = store.read(path)
    wanted = fault.saved
    if wanted is None:
        was = seen.calls[min(seen.hurt)][1] if seen.hurt else False
        wanted = was or ending.kind in HANDED_OUT
    found = [] if not wanted or sound else ["lost: a solver that was found"]
    found += [f"{name} is said to be saved" for name in
              re.findall(r"[Ss]aved as '([^']*)'", ending.words)
              if f"{name}.safetensors" not in sound]
    named = ending.state.get("saved")
    if ending.kind in HANDED_OUT and wanted and named not in sound:
        found.append(f"says it is saved as {named!r}, found {sorted(sound)}")
    elif ending.kind in HANDED_OUT and wanted and (
            sound[named].id != ending.preset.id or sound[named].info.name != named[:-12]):
        found.append(f"{named} holds another solver than the one handed out")
    return found


def _files_lost(stage: Stage, before: dict[str, str]) -> list[str]:
    now = contents(stage.folder) | contents(stage.moved)
    return [f"lost: {name} is {now.get(name, 'gone')}" for name, what in before.items()
            if now.get(name) != what]


def _left_behind(stage: Stage) -> list[str]:
    return [f"left behind: {name}" for name in contents(stage.folder)
            if not ALLOWED.fullmatch(name)]


def _journal_left(stage: Stage, fault: Fault, ending: Ending) -> list[str]:
    """A search that has all it wanted needs its journal no more."""
    done = ending.kind == WHOLE and fault.around is None
    return [f"left behind: {path.name}" for path in stage.folder.rglob("*.journal") if done]
