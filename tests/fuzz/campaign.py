"""Throws mutants at the reader and judges what it does with each."""

from __future__ import annotations

import re
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from ..pack import ROOT, load
from .bytewise import damaged
from .structural import mutant

GOLDEN = ROOT / "tests" / "golden"
PYTHON_WORDS = re.compile(r"NoneType|\bNone\b|Traceback|\bobject at 0x|Error\b")
SLOW = 1.0  # seconds; a sound file takes a thousandth


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


def campaign(inputs: int, seed: int) -> Counts:
    """Half damaged bytes, half odd structures, always the same for a seed."""
    load("presets.file")  # importing it takes its time, which is none of an input's
    chance, counts = Random(seed), Counts()
    sources = [path.read_bytes() for path in sorted(GOLDEN.iterdir())]
    keys = tuple(load("presets.info").kinds()) + ("format", "version", "id", "flow", "workflow",
                                                  "site.rating")
    for number in range(inputs):
        data, other = chance.choice(sources), chance.choice(sources)
        judge(damaged(data, other, chance) if number % 2 else
              mutant(data, other, keys, chance), counts)
    return counts


def judge(data: bytes, counts: Counts) -> None:
    """Count one input; whatever is neither a preset nor a plain sentence is a crash."""
    counts.tried += 1
    begin = time.process_time()
    try:
        fault = _read(data, counts)
    except Exception as error:  # noqa: BLE001  any other exception is what is looked for
        fault = f"{type(error).__name__}: {traceback.format_tb(error.__traceback__)[-1]}"
    if time.process_time() - begin > SLOW:
        fault = "slow"
    if fault:
        counts.crashes.setdefault(fault, data.hex())


def _read(data: bytes, counts: Counts) -> str:
    file = load("presets.file")
    try:
        preset = file.parse(data)
    except load("presets.fields").PresetError as error:
        counts.refused += 1
        return _fault_of(str(error), counts)
    counts.accepted += 1
    again = file.parse(file.dump(preset))  # what is read can be written, and is the same then
    same = again.id == preset.id and again.info == preset.info
    return "" if same else "comes back as another preset"


def _fault_of(sentence: str, counts: Counts) -> str:
    counts.sentences[re.sub(r"found .*|'[^']*'|\d+", "", sentence)] += 1
    if PYTHON_WORDS.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", sentence)):
        return f"Python's words: {sentence}"
    sound = sentence.endswith(".") and len(sentence) < 500
    return "" if sound else f"no sentence: {sentence[:200]}"
