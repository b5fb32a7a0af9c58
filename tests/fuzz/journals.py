"""Journals that are whole, with checksums that fit, and say what no search of ours writes."""

from __future__ import annotations

import copy
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch

from ..pack import load
from ..searches import problem
from .campaign import Counts, judge
from .structural import ODD_VALUES

KEY = "c0de" * 16
ODD = (*ODD_VALUES, float("nan"), float("inf"), -1.0, 1e300, 10**400, 2**53 + 1, "ended", "failed",
       "begun", {"calls": -1}, {"steps": "4"}, [[]], "x" * 9000)
PLACES = ("name", "marks", "state", "most", "whole", "said", "tensors", "key", "format", "torch",
          "made by")


class Ended(BaseException):
    """The search has made as many calls as it may."""


def journals(inputs: int, seed: int) -> Counts:
    """So many searches that find such a journal. Each finds what it would without, or says that
    the journal is another search's; in no case does it end with an error."""
    chance, counts = Random(seed), Counts()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = folder / f"{KEY}.journal"
        searched(folder, most=400)
        sound = path.read_bytes()
        for _ in range(inputs):
            path.write_bytes(sound)
            _altered(path, chance)
            judge(path.read_bytes(), counts, lambda data: searched(folder))
    return counts


def searched(folder: Path, most: float = float("inf")) -> None:
    """A search that goes on from its journal.

    Raises:
        PresetError: the journal is another search's, which a job answers by beginning anew.
    """
    whole, made = problem(), [0]
    fit, runs, kept = (load(name) for name in ("solver_search.methods.fit", "solver_search.run",
                                               "nodes.journals"))

    def denoise(x: torch.Tensor, sigma: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        made[0] += len(x)
        if made[0] > most:
            raise Ended
        return whole.denoise(x, sigma, items)

    settings = fit.FitSettings(teacher_calls=16, starts=1, iterations=1, screened=2, part=1)
    with kept.opened(folder, KEY, []) as journal:
        run = runs.Run(replace(whole, denoise=denoise), records=journal)
        try:
            int(journal.spent)
            runs.search(lambda run: fit.fit(run, settings), run)
        except Ended:
            return
        except kept.OtherSearch as error:
            raise load("presets.fields").PresetError("Of another search.") from error
        except Exception as error:
            if journal.replaying:  # a job begins anew then
                raise load("presets.fields").PresetError("Leads to a failure.") from error
            raise


def _altered(path: Path, chance: Random) -> None:
    """One to three headers, or payloads, are others; all checksums fit."""
    file = os.open(path, os.O_RDWR)
    log = load("nodes.journal_file").Log(file)
    records = [(dict(entry.facts), log.payload(entry)) for entry in log.entries]
    for _ in range(chance.choice((1, 1, 2, 3))):
        facts, values = records[chance.randrange(len(records) - 1)]
        key = chance.choice(PLACES)
        match chance.randrange(5):
            case 0:
                facts.pop(key, None)
            case 1 if isinstance(facts.get("state"), dict):
                facts["state"] = {**facts["state"], chance.choice(
                    ("calls", "steps", "guided", "other")): chance.choice(ODD)}
            case 2 if values:
                name = chance.choice(list(values))
                values[chance.choice((name, "other"))] = _odd_values(values[name], chance)
            case 3:
                records.append(records[chance.randrange(len(records))])
            case _:
                facts[key] = copy.deepcopy(chance.choice(ODD))
    _written(log, records)
    os.close(file)


def _odd_values(values: torch.Tensor, chance: Random) -> torch.Tensor:
    return chance.choice((values * 2, values[:0], values.reshape(-1), values.bool(),
                          values.double() * float("nan"), torch.zeros(3)))


def _written(log: Any, records: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:  # noqa: ANN401
    """As they are, also where a header no longer fits its payload."""
    log.cut(0)
    for facts, values in records:
        odd = facts.get("tensors")
        own = {k: v for k, v in facts.items() if k not in ("bytes", "sum", "tensors")}
        log.append(own, values)
        if not isinstance(odd, list) or odd and not isinstance(odd[0], list):
            module, entry = load("nodes.journal_file"), log.entries[-1]
            log.cut(len(log.entries) - 1)
            os.lseek(log.file, log.end, os.SEEK_SET)
            os.write(log.file, module._line({**entry.facts, "tensors": odd}))
            break
