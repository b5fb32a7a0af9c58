"""All cells, and docs/compatibility.md from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from .families import FAMILIES
from .features import EVERY, FEATURES, Feature, plain, subject_with
from .media import off
from .outcome import WORKS, CellError, outcome
from .ways import KSAMPLER, WAYS, Way
from .who import Own

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
Cells = dict[tuple[str, str], str]  # (row, column) -> outcome
HEAD, TAIL = (Path(__file__).with_name(name).read_text() for name in ("head.md", "tail.md"))


def family_cells(name: str) -> Cells:
    """One family, every way.

    Raises:
        CellError: a cell gives a wrong picture.
    """
    subject = FAMILIES[name].build()
    return {(name, column): _named(name, column, lambda w=way: outcome(lambda: subject, w))
            for column, way in WAYS.items()}


def feature_cells(name: str) -> Cells:
    """One feature on its families.

    Raises:
        CellError: a cell gives a wrong picture, or the feature does nothing there.
    """
    feature, cells = FEATURES[name], {}
    for family in feature.on:
        make = subject_with(feature, family)
        for column, way in _feature_ways(feature, family).items():
            cells[name, column] = _named(name, column, lambda m=make, w=way: outcome(m, w))
        if feature.seen:
            _check_seen(feature, name, family)
    return cells


def _feature_ways(feature: Feature, family: str) -> dict[str, Way]:
    """Columns of a feature on a family: sampling, and searching where no mask is in play."""
    ways = {family: feature.way}
    if feature.way is KSAMPLER:
        ways[f"search on {family}"] = WAYS["Search Solver"]
    return ways


def _named(row: str, column: str, run: Callable[[], str]) -> str:
    try:
        return run()
    except CellError as error:
        raise CellError(f"{row}, {column}: {error}") from error


def _check_seen(feature: Feature, name: str, family: str) -> None:
    with torch.inference_mode():
        with_it, without = (feature.way.run(subject, Own())
                            for subject in (subject_with(feature, family)(), plain(family)))
    if off(with_it, without) == 0:
        raise CellError(f"{name}, {family}: the feature changes nothing, the cell proves nothing.")


def page(families: Cells, features: Cells) -> str:
    """docs/compatibility.md."""
    ways = list(WAYS)
    on = [column for family in EVERY for column in (family, f"search on {family}")]
    notes = sorted(set(refused({**families, **features}).values()))
    short = {text: f"refused ({number})" for number, text in enumerate(notes, 1)}
    families, features = ({key: short.get(text, text) for key, text in cells.items()}
                          for cells in (families, features))
    rows = [[name, FAMILIES[name].kind, *(families[name, way] for way in ways)]
            for name in FAMILIES]
    others = [[name, *(features.get((name, column), "") for column in on)] for name in FEATURES]
    said = "".join(f"{number}. {text.removeprefix('refused: ')}\n"
                   for number, text in enumerate(notes, 1))
    return (HEAD + _table(["family", "prediction, latents", *ways], rows)
            + "\n## Beside others\n\nAn empty cell is a feature that the family does not have, or "
            "that a search never meets.\n\n"
            + _table(["feature", *on], others) + f"\nWhat is said when it is refused:\n\n{said}"
            + TAIL)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def refused(cells: Cells) -> Cells:
    """Cells in which a preset is refused."""
    return {key: value for key, value in cells.items() if value != WORKS}
