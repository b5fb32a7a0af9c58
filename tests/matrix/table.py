"""All cells, and docs/compatibility.md from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from tests.templates.page import templates_section

from .families import FAMILIES
from .features import EVERY, FEATURES, Feature, plain, subject_with
from .media import off
from .other_ways import ON, OTHER_WAYS
from .outcome import NOT_THERE, WORKS, CellError, outcome
from .ways import KSAMPLER, WAYS, Way
from .who import Own

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
Cells = dict[tuple[str, str], str]  # (row, column) -> outcome
HEAD, OTHERWISE, BESIDE, TAIL = (Path(__file__).with_name(f"{name}.md").read_text()
                                 for name in ("head", "otherwise", "beside", "tail"))


def family_cells(name: str) -> Cells:
    """One family, every way.

    Raises:
        CellError: a cell gives a wrong picture.
    """
    subject = FAMILIES[name].build()
    return {(name, column): _named(name, column, lambda w=way: outcome(lambda: subject, w))
            for column, way in WAYS.items()}


def way_cells(name: str) -> Cells:
    """One of the other ways on its families.

    Raises:
        CellError: a cell gives a wrong picture.
    """
    way, cells = OTHER_WAYS[name], {}
    for family in way.on or ON:
        subject = FAMILIES[family].build()
        cells[name, family] = _named(name, family, lambda s=subject: outcome(lambda: s, way))
    return cells


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


def page(families: Cells, ways: Cells, features: Cells) -> str:
    """docs/compatibility.md."""
    seen = {**families, **ways, **features}
    notes = sorted(set(refused(seen).values()))
    short = {text: f"refused ({number})" for number, text in enumerate(notes, 1)}

    def table(head: list[str], rows: dict[str, list[str]], columns: list[str]) -> str:
        return _table([*head, *columns], [
            [name, *more, *(short.get(text, text) for text in (seen.get((name, column), "")
                                                              for column in columns))]
            for name, more in rows.items()])

    on = [column for family in EVERY for column in (family, f"search on {family}")]
    said = "".join(f"{number}. {text.removeprefix('refused: ')}\n"
                   for number, text in enumerate(notes, 1))
    return (HEAD
            + table(["family", "prediction, latents"],
                    {name: [family.kind] for name, family in FAMILIES.items()}, list(WAYS))
            + OTHERWISE + table(["way"], {name: [] for name in OTHER_WAYS}, list(ON))
            + BESIDE + table(["feature"], {name: [] for name in FEATURES}, on)
            + f"\nWhat is said when it is refused:\n\n{said}" + TAIL
            + templates_section(PAGE.read_text()))


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def refused(cells: Cells) -> Cells:
    """Cells in which a preset is refused."""
    return {key: value for key, value in cells.items() if value not in (WORKS, NOT_THERE)}
