"""The preset file, versions 1 and 2: a solver's float64 tables and flat text metadata.

`.safetensors` runs no code on loading, keeps every bit, and ComfyUI opens a `workflow` found in
its metadata when the file is dropped onto the canvas. FORMAT.md specifies the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..solver_search.solver import Solver, SolverError, make_solver
from .container import load_object, pack, unpack
from .fields import PresetError
from .info import PresetInfo, kinds
from .preset import TENSORS, Preset, check_rows, tensors

FORMAT = "solver-search-preset"
VERSION = 2  # the newest; files without guidance weights are of version 1
FLOW = {"true": True, "false": False}
KNOWN_WORDS = {"format", "version", "id", "flow", "workflow"}  # beside the fields of PresetInfo
PARTS = {"author": ("author",), "notes": ("notes",), "measured": ("measured",),
         "pictures": ("picture", "reference_picture"), "workflow": ("workflow",)}
OTHERS = "others"


def dump(preset: Preset, workflow: str | None = None) -> bytes:
    """File bytes; equal input gives equal bytes.

    Args:
        preset: what to write.
        workflow: JSON object of a ComfyUI graph, opened when the file is dropped onto ComfyUI.

    Raises:
        PresetError: a workflow that is no JSON object or too large for the header, rows that are
            too large (see `preset.check_rows`).
    """
    check_rows(preset.solver)
    metadata = {"format": FORMAT, "version": str(_version(preset)), "id": preset.id,
                "flow": str(preset.solver.flow).lower(), **_write_info(preset.info)}
    if workflow is not None:
        load_object(workflow, "workflow")
        metadata["workflow"] = workflow
    return pack(metadata, tensors(preset.solver))


def parse(data: bytes) -> Preset:
    """Preset from a file's bytes, every one of them checked.

    Raises:
        PresetError: with a sentence for each way in which the bytes are not a sound preset.
    """
    metadata, arrays = unpack(data, TENSORS)
    _check_version(metadata)
    preset = Preset(_solver(metadata, arrays), _read_info(metadata))
    check_rows(preset.solver)
    if int(metadata["version"]) < _version(preset):
        raise PresetError("guidance weights belong to version 2, found version 1. The file was "
                          "altered after it was made.")
    if metadata.get("id") != preset.id:
        raise PresetError(f"id must be {preset.id} for these numbers, found "
                          f"{metadata.get('id', '')[:40]!r}: the file was altered after it was "
                          "made. Fetch it again from its author.")
    if "workflow" in metadata:
        load_object(metadata["workflow"], "workflow")
    return preset


def renamed(data: bytes, name: str) -> bytes:
    """The same file with another `name` in it; workflow and foreign words stay.

    Raises:
        PresetError: not a preset, or a name that no preset may have.
    """
    preset = parse(data)
    metadata, arrays = unpack(data, TENSORS)
    metadata["name"] = replace(preset.info, name=name).name
    return pack(metadata, arrays)


def shared(data: bytes, parts: Collection[str], measured: str = "") -> bytes:
    """A file to give away: what tells of its owner is in it only where it is named.

    Args:
        data: the file.
        parts: which of PARTS, and OTHERS for the words that are none of ours, go along.
        measured: figures of the one who shares, added to those of others; "": none.

    Raises:
        PresetError: not a preset, or figures that no preset may state.
    """
    preset = parse(data)
    metadata, arrays = unpack(data, TENSORS)
    left_out = {key for part, keys in PARTS.items() if part not in parts for key in keys}
    if OTHERS not in parts:
        left_out |= metadata.keys() - KNOWN_WORDS - kinds().keys()
    if not left_out & metadata.keys() and not measured:
        return data
    kept = {key: text for key, text in metadata.items() if key not in left_out}
    if measured:
        lines = "\n".join(filter(None, (preset.info.measured, measured)))
        kept["measured"] = replace(preset.info, measured=lines).measured
    return pack(kept, arrays)


@dataclass(frozen=True)
class Contents:
    """All that a file holds.

    Args:
        preset: the numbers, and what is said about them.
        version: of the format.
        workflow: whether a ComfyUI graph travels along.
        others: keys of metadata that are none of ours; readers ignore them.
    """

    preset: Preset
    version: int
    workflow: bool
    others: tuple[str, ...]


def contents(data: bytes) -> Contents:
    """What is in a file, for people who want to know before they share it.

    Raises:
        PresetError: see `parse`.
    """
    preset = parse(data)
    metadata = unpack(data, TENSORS)[0]
    others = tuple(sorted(metadata.keys() - KNOWN_WORDS - kinds().keys()))
    return Contents(preset, int(metadata["version"]), "workflow" in metadata, others)


def _version(preset: Preset) -> int:
    return 2 if preset.solver.guided else 1


def _check_version(metadata: dict[str, str]) -> None:
    if metadata.get("format") != FORMAT:
        raise PresetError(f"This is not a solver preset: format must be {FORMAT}, found "
                          f"{metadata.get('format', '')[:40]!r}. It is perhaps a model.")
    version = metadata.get("version", "")
    if re.fullmatch("[1-9][0-9]{0,5}", version) and int(version) > VERSION:
        raise PresetError(f"This preset has version {version}, newer than the version {VERSION} "
                          "known here. Update Solver Search.")
    if version not in map(str, range(1, VERSION + 1)):
        raise PresetError(f"version must be 1 to {VERSION}, found {version[:40]!r}.")


def _solver(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> Solver:
    flow = metadata.get("flow", "")
    if flow not in FLOW:
        raise PresetError(f"flow must be true or false, found {flow[:40]!r}.")
    for name in ("sigmas", "weights"):
        if name not in arrays:
            raise PresetError(f"A preset must hold sigmas and weights, found no {name}.")
    try:
        return make_solver({k: torch.from_numpy(v) for k, v in arrays.items()}, flow=FLOW[flow])
    except SolverError as error:
        raise PresetError(str(error)) from error


def _write_info(info: PresetInfo) -> dict[str, str]:
    values = {name: (kind, getattr(info, name)) for name, kind in kinds().items()}
    return {name: kind.write(value) for name, (kind, value) in values.items()
            if value != kind.unknown}


def _read_info(metadata: dict[str, str]) -> PresetInfo:
    values: dict[str, Any] = {
        name: kind.read(name, metadata[name]) if name in metadata else kind.unknown
        for name, kind in kinds().items()}
    return PresetInfo(**values)
