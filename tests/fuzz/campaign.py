"""Throws broken inputs at whatever reads them and judges what it does with each."""

from __future__ import annotations

import functools
import re
import struct
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from ..pack import ROOT, load
from .archives import archive, bombs, opened_by_the_page
from .bytewise import damaged, damaged_text
from .names import name_it, odd_name
from .structural import mutant
from .tricks import tricky

GOLDEN = ROOT / "tests" / "golden"
PYTHON_WORDS = re.compile(r"NoneType|\bNone\b|Traceback|\bobject at 0x|Error\b")
NO_NUMBERS = re.compile(r"\b(None|nan|inf)\b")
AT_ONCE = 500  # archives for one start of Node
# Of Node: 64 of presets, copies not yet collected (600 to 1,114 seen); unbounded it took 13,000.
MOST_MEGABYTES = 2000
MOST_SIDE = 4096  # pixels: a browser takes 64 MiB for such a picture
SLOW = 1.0  # CPU seconds; a sound file takes a thousandth


@dataclass
class Counts:
    """What became of the inputs; `crashes` holds each kind's first input as hex."""

    tried: int = 0
    accepted: int = 0
    refused: int = 0
    sentences: Counter[str] = field(default_factory=Counter)
    crashes: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = (f"tried {self.tried}, accepted {self.accepted}, refused with a sentence "
                f"{self.refused} ({len(self.sentences)} kinds), kinds of crash "
                f"{len(self.crashes)}")
        return "\n".join([text, *(f"{what}\n  {data}" for what, data in self.crashes.items())])


def sources() -> list[bytes]:
    """Sound files to begin from."""
    return [path.read_bytes() for path in sorted(GOLDEN.iterdir())]


def campaign(inputs: int, seed: int) -> Counts:
    """Files: a third each of damaged bytes, odd structures and known tricks; always the same for
    a seed."""
    load("presets.file")  # importing it takes its time, which is none of an input's
    chance, counts, sound = Random(seed), Counts(), sources()
    keys = tuple(load("presets.info").kinds()) + ("format", "version", "id", "flow", "workflow",
                                                  "site.rating")
    for number in range(inputs):
        data, other = chance.choice(sound), chance.choice(sound)
        makers = (damaged, functools.partial(_mutant, keys), tricky)
        judge(makers[number % 3](data, other, chance), counts, read_preset)
    return counts


def _mutant(keys: tuple[str, ...], data: bytes, other: bytes, chance: Random) -> bytes:
    return mutant(data, other, keys, chance)


def archives(inputs: int, seed: int) -> Counts:
    """Zip archives, taken apart by the page's own script."""
    chance, counts, sound = Random(seed), Counts(), sources()
    for begin in range(0, inputs, AT_ONCE):
        made = [archive(sound, chance) for _ in range(min(AT_ONCE, inputs - begin))]
        with tempfile.TemporaryDirectory() as folder:
            seen = opened_by_the_page([*made, *bombs(sound[0])], Path(folder))
        counts.tried += len(made)
        counts.accepted += seen["accepted"]
        counts.refused += seen["refused"] - len(bombs(sound[0]))
        counts.crashes |= {what: (made[n].hex() if n < len(made) else "a bomb")
                           for what, n in seen["crashes"].items()}
        if seen["megabytes"] > MOST_MEGABYTES:
            counts.crashes["memory"] = f"{seen['megabytes']} MB"
    return counts


def ledgers(inputs: int, seed: int) -> Counts:
    """Files of figures that were measured here."""
    chance, counts, module = Random(seed), Counts(), load("presets.figures")
    info = load("presets.info").PresetInfo(name="x", prediction="eps", model_name="a.safetensors",
                                           error=0.1, baseline="euler/beta", baseline_error=0.2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / module.FILE
        module.Ledger().add(Path(folder), [module.figures_of(f"{n:016x}", info) for n in range(3)])
        sound = path.read_bytes()

        def read(data: bytes) -> None:
            path.write_bytes(data)
            module.Ledger().of(Path(folder))
        for _ in range(inputs):
            judge(damaged_text(sound, chance), counts, read)
    return counts


def names(inputs: int, seed: int) -> Counts:
    """Names of presets."""
    chance, counts = Random(seed), Counts()
    for _ in range(inputs):
        judge(odd_name(chance), counts, name_it)
    return counts


def judge(given: bytes | str, counts: Counts, read: Callable[..., object]) -> None:
    """Count one input; whatever is neither read nor refused in a plain sentence is a crash."""
    counts.tried += 1
    begin = time.perf_counter()  # asking for CPU seconds takes longer than most answers
    refused, fault = _answer(given, read)
    if time.perf_counter() - begin > SLOW:  # or others were at work
        begin = time.process_time()
        _answer(given, read)
        fault = fault or ("slow" if time.process_time() - begin > SLOW else "")
    counts.refused += bool(refused)
    counts.accepted += not refused and not fault
    if refused:
        counts.sentences[re.sub(r"found .*|'[^']*'|\d+", "", refused)] += 1
    if fault:
        counts.crashes.setdefault(fault, given.hex() if isinstance(given, bytes) else repr(given))


def read_preset(data: bytes) -> None:
    """Read a file, write what was read, and read that."""
    file = load("presets.file")
    preset = file.parse(data)
    again = file.parse(file.dump(preset))  # what is read can be written, and is the same then
    if again.id != preset.id or again.info != preset.info:
        raise AssertionError("comes back as another preset")
    for said in (preset.promise, guidance_remark(preset)):
        for theirs in filter(None, (preset.info.baseline, preset.info.builtin)):
            said = said.replace(theirs, "")
        if NO_NUMBERS.search(said):
            raise AssertionError(f"Python's words: {said}")
    for text in filter(None, (preset.info.picture, preset.info.reference_picture)):
        _check_picture(load("presets.pictures").picture_bytes(text))


def guidance_remark(preset: Any) -> str:  # noqa: ANN401
    """What is said of it at a CFG."""
    return load("presets.words").guidance_remark(preset.info, 4.0)


def _check_picture(data: bytes) -> None:
    """Raises AssertionError: another reader sees that it is too large to be shown."""
    try:
        with Image.open(BytesIO(data)) as picture:
            size = picture.size
    except Image.DecompressionBombError as error:
        raise AssertionError("a picture as a bomb") from error
    except (OSError, SyntaxError, ValueError, struct.error, IndexError):
        return  # nothing can show it
    if max(size) > MOST_SIDE:
        raise AssertionError(f"a picture of {size}")


def _answer(given: bytes | str, read: Callable[..., object]) -> tuple[str, str]:
    """The sentence with which an input is refused, and what is wrong with the answer."""
    try:
        read(given)
    except load("presets.fields").PresetError as error:
        return str(error), _fault_of(str(error))
    except Exception as error:  # noqa: BLE001  any other exception is what is looked for
        return "", f"{type(error).__name__}: {traceback.format_tb(error.__traceback__)[-1]}"
    return "", ""


def _fault_of(sentence: str) -> str:
    if PYTHON_WORDS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", sentence)):
        return f"Python's words: {sentence}"
    sound = sentence.endswith(".") and len(sentence) < 500
    return "" if sound else f"no sentence: {sentence[:200]}"
