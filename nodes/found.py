"""A search that was made before is found again by what it depends on; prompts are not in it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..presets.preset import Preset
from ..solver_search.config import SearchConfig
from .comfy_bridge.latents import first_medium, media_shapes
from .comfy_bridge.model import facts
from .comfy_bridge.session import Guider

DEPTH = 7  # of what is looked into
GLIMPSE = 16  # numbers of a tensor, evenly spread
WORDS = ("cross_attn", "pooled_output", "model_conds", "uuid")  # of the prompt itself


def search_key(guider: Guider, latent: Any, config: SearchConfig,  # noqa: ANN401
               numbers: Sequence[int]) -> str:
    """64 hex digits of all that a search depends on, but for the prompts.

    Args:
        guider: with its model, LoRAs and patches.
        latent: its size counts, and what is in it where the search begins from a picture.
        config: of any of the numbers of steps.
        numbers: of steps, searched together.
    """
    known, model = facts(guider.model_patcher), guider.model_patcher
    shapes = media_shapes(latent) or tuple(first_medium(latent).shape[1:])
    whole = {
        "model": [known.family, known.architecture, known.header_hash, known.file_name,
                  known.precision, known.prediction, known.shift, known.sigma_min,
                  known.sigma_max],
        "patches": [known.patches, print_of(model.patches), print_of(model.object_patches),
                    print_of(model.model_options), print_of(getattr(model, "wrappers", {})),
                    print_of(getattr(model, "hook_patches", {}))],
        "guider": [type(guider).__name__, {k: v for k, v in vars(guider).items()
                                           if isinstance(v, (bool, int, float, str))}],
        "controls": controls(guider.original_conds),
        "picture": [shapes, print_of(latent) if config.denoise < 1 else ""],
        "asked": [sorted(numbers), config.method, config.effort, repr(config.sizes), config.seed,
                  config.denoise, config.reach],
    }
    text = json.dumps(whole, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def journal_key(search: str, guider: Guider, latent: Any) -> str:  # noqa: ANN401
    """64 hex digits of all that the numbers found on the way depend on: also every prompt, how
    many pictures the model works on at once, and the kind of device.

    Args:
        search: search_key().
        guider, latent: see there.
    """
    digest = hashlib.sha256(search.encode())
    batch = len(first_medium(latent))
    device = torch.device(guider.model_patcher.load_device).type
    digest.update(repr((batch, device, sorted(guider.original_conds))).encode())
    for entries in guider.original_conds.values():
        _digest(entries, digest)
    return digest.hexdigest()


def _digest(value: Any, digest: Any) -> None:  # noqa: ANN401
    """Add all numbers and words of a prompt; `uuid` is another in each run."""
    if isinstance(value, dict):
        for name in sorted(value, key=str):
            if name != "uuid":
                digest.update(str(name).encode("utf-8", "surrogatepass"))
                _digest(value[name], digest)
    elif isinstance(value, (list, tuple)):
        digest.update(str(len(value)).encode())
        for entry in value:
            _digest(entry, digest)
    elif isinstance(value, Tensor):
        whole = value.detach().cpu().contiguous()
        digest.update(f"{whole.dtype} {tuple(whole.shape)}".encode())
        digest.update(whole.reshape(-1).view(torch.uint8).numpy())
    else:
        digest.update(json.dumps(print_of(value), sort_keys=True, default=str).encode())


def found_again(presets: Iterable[Preset], key: str, numbers: Sequence[int]) -> Preset | None:
    """A measured preset for the first number of steps with the others as its siblings; None where
    one of them is missing. Of several the newest."""
    fitting = [p for p in presets if p.info.search_key == key and not p.info.state
               and p.info.error is not None]
    newest: dict[int, Preset] = {}
    for preset in sorted(fitting, key=lambda p: p.info.created):
        newest[preset.steps] = preset
    if not all(number in newest for number in numbers):
        return None
    first, *others = [newest[number] for number in numbers]
    return Preset(first.solver, first.info, tuple(others))


def controls(conditionings: Mapping[str, list]) -> list[Any]:
    """What a prompt brings beside its words: ControlNets, hooks, masks, areas."""
    about = [entry if isinstance(entry, dict) else entry[1]
             for entries in conditionings.values() for entry in entries]
    said = {json.dumps(print_of({k: v for k, v in entry.items() if k not in WORDS
                                 and not k.startswith("solver_search")}), sort_keys=True)
            for entry in about}
    return sorted(said)


def print_of(value: Any, depth: int = DEPTH) -> Any:  # noqa: ANN401
    """What JSON can hold of a value, the same in every process; never an address."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, Tensor):
        return _tensor(value)
    if depth == 0:
        return type(value).__qualname__
    inner = functools.partial(print_of, depth=depth - 1)
    if isinstance(value, dict):
        return {str(k) if isinstance(k, (str, int, float, tuple)) else type(k).__qualname__:
                inner(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(inner(v), sort_keys=True) for v in value)
    return _other(value, inner)


def _other(value: Any, inner: functools.partial) -> Any:  # noqa: ANN401
    if isinstance(value, functools.partial):
        return [inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, MethodType):
        return [value.__func__.__qualname__, inner(value.__self__)]
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        return [value.__module__, value.__qualname__, inner(value.__defaults__), inner(held)]
    name = type(value).__qualname__
    if isinstance(value, (type, BuiltinFunctionType)):
        return value.__qualname__
    if isinstance(value, nn.Module):  # its weights belong to the model, or to a patch of its own
        plain = {k: v for k, v in vars(value).items() if isinstance(v, (bool, int, float, str))}
        return [name, plain, [inner(b) for b in value._buffers.values()]]
    return [name, {k: inner(v) for k, v in sorted(getattr(value, "__dict__", {}).items())
                   if k not in ("parent", "model", "uuid")}]


def _is_full(cell: Any) -> bool:  # noqa: ANN401
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _tensor(value: Tensor) -> list[Any]:
    flat = value.detach().reshape(-1)
    places = torch.linspace(0, max(0, len(flat) - 1), min(GLIMPSE, len(flat))).long()
    seen = flat[places.to(flat.device)].float().cpu().tolist() if len(flat) else []
    return [list(value.shape), str(value.dtype), seen]
