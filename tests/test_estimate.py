"""What is told before a search starts."""

from __future__ import annotations

from types import ModuleType

from .pack import load


def text(seconds: float) -> str:
    return load("nodes.estimate").Estimate(1500, 2000, seconds, 4, 2**30, False).text


def test_a_long_search_says_how_to_have_it_sooner(comfy: ModuleType) -> None:
    short, long = text(29 * 60), text(31 * 60)
    assert short == ("about 29 minutes and 1 GB of memory beside the model (3,500 model calls at "
                     "most, 4 pictures at a time)")
    assert long.startswith("about 31 minutes and 1 GB")
    assert "). To have it sooner, search at half the width and height" in long
    assert not long.endswith(".")  # a sentence goes on around it
