"""Several prompts in one guider: each start of a search keeps its own.

Prompts of one length become the rows of one conditioning, and pictures of different prompts share
a model call. Others stay entries of their own with a mark, and each prompt has its own call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MARK = "solver_search_prompt"
Entry = list  # [tensor, dict], as ComfyUI's CONDITIONING nodes make them
Conds = dict[str, list[dict[str, Any]]]


def joined(prompts: list[list[Entry]]) -> list[Entry]:
    """One conditioning that holds several, to be told apart by `rows_of` or `only`."""
    if len(prompts) == 1:
        return prompts[0]
    if all(len(p) == 1 for p in prompts) and len({_shape(p[0]) for p in prompts}) == 1:
        return [_rows([p[0] for p in prompts])]
    return [[tensor, {**about, MARK: number}] for number, prompt in enumerate(prompts)
            for tensor, about in prompt]


def count(conditionings: Iterable[list]) -> int:
    """How many prompts lie in a guider's conditionings (processed or not)."""
    entries = [_about(entry) for conditioning in conditionings for entry in conditioning]
    marks = {about[MARK] for about in entries if MARK in about}
    rows = [len(about["cross_attn"]) for about in entries
            if isinstance(about.get("cross_attn"), Tensor)]
    return max(len(marks), *rows, 1)


def marked(conds: Conds) -> bool:
    """Whether prompts are entries of their own, so that each needs its own model call."""
    return any(MARK in entry for entries in conds.values() for entry in entries)


def only(conds: Conds, prompt: int) -> Conds:
    """The entries of one marked prompt, and those that belong to all."""
    kept = {}
    for name, entries in conds.items():
        marks = {entry[MARK] for entry in entries if MARK in entry}
        wanted = prompt % (max(marks) + 1) if marks else prompt
        kept[name] = [entry for entry in entries if entry.get(MARK, wanted) == wanted]
    return kept


def rows_of(conds: Conds, prompts: Tensor) -> Conds:
    """Conditionings with one row for each of `prompts`; those with one row stay."""
    return {name: [_pick(entry, prompts) for entry in entries]
            for name, entries in conds.items()}


def _about(entry: Any) -> dict[str, Any]:  # noqa: ANN401
    """An entry as a dict, before ComfyUI made it one and after."""
    return entry if isinstance(entry, dict) else {"cross_attn": entry[0], **entry[1]}


def _shape(entry: Entry) -> tuple:
    tensor, about = entry
    if not all(isinstance(value, Tensor) and len(value) == 1 for value in about.values()):
        return ("alone", id(entry))
    return (tuple(tensor.shape), *((name, tuple(value.shape)) for name, value in
                                   sorted(about.items())))


def _rows(entries: list[Entry]) -> Entry:
    names = entries[0][1]
    return [torch.cat([tensor for tensor, _ in entries]),
            {name: torch.cat([about[name] for _, about in entries]) for name in names}]


def _pick(cond: dict[str, Any], prompts: Tensor) -> dict[str, Any]:
    chosen = {name: _pick_rows(value, prompts)
              for name, value in cond.get("model_conds", {}).items()}
    return {**cond, "model_conds": chosen}


def _pick_rows(value: Any, prompts: Tensor) -> Any:  # noqa: ANN401
    tensor = getattr(value, "cond", None)
    if not isinstance(tensor, Tensor) or tensor.ndim == 0 or len(tensor) == 1:
        return value
    return value._copy_with(tensor[(prompts % len(tensor)).to(tensor.device)])
