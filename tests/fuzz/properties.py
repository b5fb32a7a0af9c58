"""The same readers under Hypothesis, which looks for the smallest input that breaks them."""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from ..pack import load
from .campaign import Counts, judge, read_preset, sources
from .names import name_it
from .structural import split

LIMIT = 2000  # milliseconds for one example on a busy machine
LEAVES = (some.none() | some.booleans() | some.integers() | some.text(max_size=40)
          | some.floats(allow_nan=False, allow_infinity=False))
VALUES = some.recursive(LEAVES, lambda inner: some.lists(inner, max_size=4)
                        | some.dictionaries(some.text(max_size=12), inner, max_size=4),
                        max_leaves=12)
WORDS = sorted(split(sources()[0])[0])


@some.composite
def headers(draw: Any) -> bytes:  # noqa: ANN401
    """A sound file, some of whose words, tensors and bytes are Hypothesis's own."""
    words, tensors = split(draw(some.sampled_from(sources())))
    words |= draw(some.dictionaries(some.sampled_from(WORDS) | some.text(max_size=20),
                                    VALUES, max_size=4))
    header, body = {"__metadata__": words}, b""
    for name, (shape, numbers) in tensors.items():
        numbers = draw(some.just(numbers) | some.lists(some.floats(), min_size=len(numbers),
                                                       max_size=len(numbers)))
        data = struct.pack(f"<{len(numbers)}d", *numbers)
        header[name] = {"dtype": "F64", "shape": shape,
                        "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    header |= draw(some.dictionaries(some.sampled_from(list(header)) | some.text(max_size=9),
                                     VALUES, max_size=2))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body + draw(some.binary(max_size=9))


def properties(examples: int, *, known: bool = True) -> Counts:
    """So many examples for each reader.

    Args:
        examples: of each.
        known: the same ones each time.
    """
    counts = Counts()
    rules = settings(max_examples=examples, deadline=LIMIT, database=None, derandomize=known,
                     phases=(Phase.generate, Phase.shrink),
                     suppress_health_check=list(HealthCheck))

    def holds(read: Any, strategy: Any) -> Any:  # noqa: ANN401
        def trial(value: bytes | str) -> None:
            before = len(counts.crashes)
            judge(value, counts, read)
            if len(counts.crashes) > before:
                raise AssertionError("see the counts")
        return rules(given(strategy)(trial))

    load("presets.file")
    for strategy, read in ((headers(), read_preset), (some.binary(max_size=400), read_preset),
                           (some.text(max_size=120), name_it)):
        try:
            holds(read, strategy)()
        except AssertionError:
            continue
    return counts
