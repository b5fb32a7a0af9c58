"""Benchmarks of what a search asks and by what it chooses count right; their tables are theirs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import torch

from benchmarks import asked, choice, ranking
from benchmarks.cells import Cell
from benchmarks.loading import load_model, pack
from benchmarks.quality import RESULTS

from .world import FLOW


def offer(held_out: list[float], searched: list[float] | None, *, known: bool = False) -> dict:
    return {"label": "", "known": known, "held_out": held_out, "searched": searched}


def test_rules_choose_by_what_they_name() -> None:
    ready, rows = offer([1.0, 9.0], [4.0, 4.0], known=True), offer([2.0, 2.0], [3.0, 3.0])
    assert choice.kept([ready, rows], 1, None) is ready
    assert choice.kept([ready, rows], 2, None) is rows
    assert choice.kept([ready, rows], 1, 0.0) is rows  # 3.0 against 8/3
    assert choice.kept([ready, rows], 1, 1.0) is ready  # 3.0 against 11/3: half as much again
    plain = offer([1.5], None)
    assert choice.kept([plain, rows], 1, 4.0) is plain
    lost, even = offer([0.1, 0.1, 4.0], None), offer([1.0, 1.0, 1.0], None)
    assert choice.kept([lost, even], 3, None) is even
    assert choice.kept([lost, even], 3, None, True) is lost  # 0.34, where the mean is 1.4


def test_what_a_search_offers_is_noted_at_no_cost() -> None:
    config = pack("solver_search.config")
    before = dict(config.METHODS), dict(config.EFFORTS)
    offers, solvers = choice.searched(Cell(FLOW, load_model(FLOW), 1.0, 4), 4, 0)
    assert (config.METHODS, config.EFFORTS) == before
    assert len(offers) == len(solvers) > 2
    assert all(len(o["held_out"]) == choice.HELD_OUT for o in offers)
    assert [o["known"] for o in offers] == sorted((o["known"] for o in offers), reverse=True)
    rows = [o for o in offers if o["label"].startswith("rows")]
    assert rows and not any(o["known"] for o in rows)
    assert all(min(o["searched"]) > 0 for o in rows)


def test_a_question_is_the_same_where_state_level_start_and_scale_are() -> None:
    def session(cfg: float) -> SimpleNamespace:
        return SimpleNamespace(order=None, scales=None, wrap=SimpleNamespace(cfg=cfg))

    counted, x, sigma, items = asked.Asked(), torch.eye(2), torch.tensor(1.0), torch.arange(2)
    counted.note(session(3.0), x, sigma, items)
    counted.note(session(3.0), x, sigma.expand(2), items)
    counted.stage = "rows"
    for other in (x + 1, sigma, items), (x, sigma + 1, items), (x, sigma, items + 2):
        counted.note(session(3.0), *other)
    counted.note(session(4.0), x, sigma, items)
    first, rows = counted.rows(6)
    assert (first["pictures"], first["again"], first["calls"]) == (4, 2, {"2": 2})
    assert (rows["pictures"], rows["again"]) == (8, 0)


def test_committed_tables_are_those_of_their_numbers() -> None:
    for part in (asked, ranking, choice):
        name = part.__name__.rpartition(".")[2]
        rows = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
        assert (RESULTS / f"{name}.md").read_text() == part.table(rows)
    cells = len(choice.MODELS) * len(choice.GUIDANCES) * len(choice.CALLS) * len(choice.NOISES)
    assert len(rows) == cells
