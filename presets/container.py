"""Bytes of a small `.safetensors` file, read as if a stranger had sent it.

    8 bytes little-endian length n | n bytes JSON header, padded with spaces | float64 entries

Written and read by hand: equal input gives equal bytes, and no byte is believed before it is
checked. Only the named tensors, only float64, no gaps, no overlaps. FORMAT.md has the details.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from .fields import PresetError, kind_of

MAX_BYTES = 1 << 20
MAX_HEADER = 512 << 10
METADATA = "__metadata__"


def pack(metadata: dict[str, str], tensors: dict[str, np.ndarray]) -> bytes:
    """File bytes of `tensors` (float64) in alphabetical order with `metadata`.

    Raises:
        PresetError: larger than a preset may be.
    """
    header: dict[str, Any] = {METADATA: metadata}
    body = b""
    for name in sorted(tensors):
        data = tensors[name].astype("<f8").tobytes()
        header[name] = {"data_offsets": [len(body), len(body) + len(data)], "dtype": "F64",
                        "shape": list(tensors[name].shape)}
        body += data
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    _check_header_length(len(text))
    data = struct.pack("<Q", len(text)) + text + body
    check_size(len(data))
    return data


def unpack(data: bytes, allowed: tuple[str, ...]) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors of a file's bytes.

    Args:
        data: the whole file.
        allowed: names of tensors it may hold.

    Raises:
        PresetError: with a sentence for each way in which the bytes are not such a file.
    """
    check_size(len(data))
    header, body = _split(data)
    metadata = _metadata(header.pop(METADATA, None))
    for name, entry in header.items():
        _check_entry(name, entry, allowed)
    _check_layout(header, len(body))
    return metadata, {name: _array(entry, body) for name, entry in header.items()}


def check_size(size: int) -> None:
    """Raises PresetError: more bytes than a preset may have."""
    if size > MAX_BYTES:
        raise PresetError(f"A preset has at most {MAX_BYTES} bytes, this file has {size}. It is "
                          "perhaps a model: put it into another folder.")


def load_object(text: bytes | str, what: str) -> dict[str, Any]:
    """JSON object in which each key appears once.

    Raises:
        PresetError: not JSON, not an object, duplicate keys, nested too deep.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except PresetError:
        raise
    except (ValueError, RecursionError) as error:
        raise PresetError(f"{what} must be JSON, but cannot be read. The file is damaged or not "
                          "a preset.") from error
    if not isinstance(value, dict):
        raise PresetError(f"{what} must be a JSON object, found {kind_of(value)}.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PresetError("Each key must appear once, found a duplicate key. The file was "
                          "tampered with.")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) < 8:
        raise PresetError(f"The file ends after {len(data)} bytes; it is truncated. Fetch it "
                          "again.")
    length = struct.unpack("<Q", data[:8])[0]
    _check_header_length(length)
    if length > len(data) - 8:
        raise PresetError(f"The header claims {length} bytes, the file has {len(data) - 8} "
                          "left; it is truncated. Fetch it again.")
    return _header(data[8 : 8 + length]), data[8 + length :]


def _header(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise PresetError("The header must be JSON and start with {. This is not a safetensors "
                          "file.")
    try:
        return load_object(text.decode("utf-8"), "The header")
    except UnicodeDecodeError as error:
        raise PresetError("The header must be UTF-8 text. The file is damaged.") from error


def _check_header_length(length: int) -> None:
    if length > MAX_HEADER:
        raise PresetError(f"The header of a preset has at most {MAX_HEADER} bytes, this one "
                          f"claims {length}. Leave out the workflow, or it is no preset.")


def _metadata(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        raise PresetError("This is not a solver preset: its header has no __metadata__.")
    for key, value in found.items():
        if not isinstance(value, str):
            raise PresetError(f"__metadata__ must hold text only, found {kind_of(value)} "
                              f"at {key[:40]!r}.")
    return found


def _check_entry(name: str, entry: object, allowed: tuple[str, ...]) -> None:
    if name not in allowed:
        raise PresetError(f"Tensors must be among {', '.join(allowed)}, found {name[:40]!r}.")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise PresetError(f"{name} must state dtype, shape and data_offsets and nothing else.")
    if entry["dtype"] != "F64":
        raise PresetError(f"{name} must have dtype F64, found {_shown(entry['dtype'])}.")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _whole(shape, MAX_BYTES) or not 1 <= len(shape) <= 2 or 0 in shape:
        raise PresetError(f"{name} must have one or two dimensions of at least 1, found "
                          f"{_shown(shape)}.")
    if not _whole(offsets, MAX_BYTES) or len(offsets) != 2:
        raise PresetError(f"{name} must have two data_offsets from 0 to {MAX_BYTES}, found "
                          f"{_shown(offsets)}.")
    if offsets[1] - offsets[0] != 8 * math.prod(shape):
        raise PresetError(f"{name} must take {8 * math.prod(shape)} bytes for shape {shape}, "
                          f"found data_offsets {offsets}.")


def _shown(value: object) -> str:
    return "nothing" if value is None else json.dumps(value)[:40]


def _whole(values: object, limit: int) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= limit for v in values)


def _check_layout(header: dict[str, Any], size: int) -> None:
    end = 0
    for name, (begin, stop) in sorted(((name, entry["data_offsets"])
                                       for name, entry in header.items()), key=lambda e: e[1]):
        if begin != end:
            raise PresetError(f"Tensors must follow each other without gap or overlap: {name} "
                              f"starts at {begin}, expected {end}.")
        end = stop
    if end != size:
        problem = "truncated" if end > size else "followed by foreign bytes"
        raise PresetError(f"The tensors take {end} bytes, the file holds {size}: it is "
                          f"{problem}. Fetch it again.")


def _array(entry: dict[str, Any], body: bytes) -> np.ndarray:
    begin, stop = entry["data_offsets"]
    values = np.frombuffer(body[begin:stop], dtype="<f8").astype(np.float64)
    return values.reshape(entry["shape"])
