"""Which network a MODEL is, and what has been done to it: cheap, and "" where nobody can tell."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

ENDINGS = (".safetensors", ".ckpt", ".gguf", ".sft")
MAX_HEADER = 100_000_000  # as the safetensors library allows
SAMPLE = 65_536  # bytes, of each end and of the middle of the weights
PART = 16_777_216  # bytes read at once
FOLDERS = ("checkpoints", "diffusion_models")
SCALES = ("scale_weight", "weight_scale", "scale_input", "input_scale")  # of stored precisions
ARCHITECTURES: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
UNKNOWN = (AttributeError, TypeError, ValueError, OSError, RuntimeError)


def checkpoint_path(model: ModelPatcher) -> str:
    """The checkpoint's file where ComfyUI's loader remembers it, else ""."""
    for part in _flat(getattr(model, "cached_patcher_init", None)):
        if isinstance(part, str) and part.endswith(ENDINGS):
            return part
    return ""


def architecture(model: ModelPatcher) -> str:
    """16 hex digits of the network's parameter names and shapes: equal for fine-tunes."""
    try:
        network = model.model.diffusion_model
        if network not in ARCHITECTURES:
            ARCHITECTURES[network] = _names_and_shapes(network)
        return ARCHITECTURES[network]
    except UNKNOWN:
        return ""


def header_hash(path: str) -> str:
    """sha256 of a safetensors file's header and of samples of its weights, in hex.

    The header alone is the same for most fine-tunes of one base; with 64 kB from the beginning,
    the middle and the end of the weights it is the file's own, without reading gigabytes.
    """
    try:
        stat = os.stat(path)
        return _header_hash(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    except UNKNOWN:
        return ""


def file_bytes(path: str) -> int:
    """Size of a file, 0 where there is none."""
    try:
        return os.path.getsize(path)
    except UNKNOWN:
        return 0


def checkpoint_file(name: str, size: int, header: str) -> str:
    """Where the checkpoint of this file name, size and header hash lies, "" if nowhere here."""
    for folder in FOLDERS:
        for file in folder_paths.get_filename_list(folder):
            if file.replace("\\", "/").rsplit("/", 1)[-1] == name:
                path = folder_paths.get_full_path(folder, file) or ""
                if path and file_bytes(path) == size and header_hash(path) == header:
                    return path
    return ""


def whole_hash(path: str) -> str:
    """sha256 of a whole file, in hex; sites call its first ten digits AutoV2."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def precision(model: ModelPatcher, computed: torch.dtype) -> str:
    """Such as "float16" or "float16, stored float8_e4m3fn"."""
    try:
        weights = [p for p in model.model.diffusion_model.parameters() if p.ndim > 1]
        stored = Counter(_kind(p) for p in weights).most_common(1)[0][0]
    except (*UNKNOWN, IndexError):
        stored = _word(computed)
    return _word(computed) if stored == _word(computed) else f"{_word(computed)}, stored {stored}"


def patches(model: ModelPatcher) -> str:
    """LoRAs and merges, such as "2 patches on 64 weights, strength 1, 0.8 (5c1e9a02)".

    The last word tells patches of equal shape apart. "" without any.
    """
    try:
        found = {key: list(value) for key, value in model.patches.items() if value}
        return _patches(found) if found else ""
    except (*UNKNOWN, IndexError):
        return "patched"


def _patches(found: dict[Any, list]) -> str:
    most = max(found.values(), key=len)
    strengths = ", ".join(f"{float(patch[0]):.4g}" for patch in most[:8])
    digest = hashlib.sha256()
    for key in sorted(found, key=str):
        for patch in found[key]:
            digest.update(f"{key} {patch[0]} {patch[2]}".encode())
            for leaf in _flat(getattr(patch[1], "weights", patch[1])):
                digest.update(_glimpse(leaf).encode())
    count = f"{len(most)} patch{'es' if len(most) > 1 else ''}"
    on = f"{len(found)} weight{'s' if len(found) > 1 else ''}"
    return f"{count} on {on}, strength {strengths} ({digest.hexdigest()[:8]})"


def _glimpse(leaf: object) -> str:
    if isinstance(leaf, Tensor):
        return f"{tuple(leaf.shape)} {leaf.detach().reshape(-1)[:4].tolist()}"
    return str(leaf) if isinstance(leaf, (str, int, float)) else ""


def _names_and_shapes(network: nn.Module) -> str:
    lines = sorted(f"{name} {'x'.join(map(str, value.shape))}"
                   for name, value in network.named_parameters() if not name.endswith(SCALES))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else ""


@functools.lru_cache(maxsize=64)
def _header_hash(path: str, size: int, *_stamp: int) -> str:
    if not Path(path).is_file() or not path.endswith((".safetensors", ".sft")):
        return ""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            return ""
        digest = hashlib.sha256(file.read(length))
        first, last = 8 + length, max(8 + length, size - SAMPLE)
        for place in (first, (first + last) // 2, last):
            file.seek(place)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def _kind(weight: Tensor) -> str:
    quantised = getattr(weight, "tensor_type", None)  # of ComfyUI-GGUF's tensors
    return _word(weight.dtype) if quantised is None else str(getattr(quantised, "name", "gguf"))


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _flat(part)
    else:
        yield value
