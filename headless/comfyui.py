"""ComfyUI in this process, started as its own main.py starts it but for the server.

Importing `main` does what that file does at its start: logging, model folders, paths from
extra_model_paths.yaml, dynamic VRAM. Nothing of `comfy` or torch may be imported before.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .exits import Exit, Refusal

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = "COMFYUI_PATH"
NO_DEVICE = ("ComfyUI finds no GPU here: {}. Add -- --cpu to search on the processor, or look "
             "after the driver.")
# Nodes beyond ComfyUI's nodes.py that we use, and where they are.
EXTRAS = {"TripleCLIPLoader": "nodes_sd3", "QuadrupleCLIPLoader": "nodes_hidream",
          "ModelSamplingSD3": "nodes_model_advanced", "FluxGuidance": "nodes_flux",
          "ModelSamplingAuraFlow": "nodes_model_advanced",
          "ModelSamplingFlux": "nodes_model_advanced"}


def find(given: Path | None) -> Path:
    """ComfyUI's folder.

    Raises:
        Refusal: if there is none.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    around = [ROOT.parent.parent, ROOT / ".comfyui"]  # in custom_nodes; as run.py sets up
    for folder in around if named is None else [named.expanduser()]:
        if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
            return folder.resolve()
    looked = named or "the folders around this pack"
    raise Refusal(Exit.REQUEST, f"There is no ComfyUI in {looked}: no main.py beside a folder "
                  "comfy. Name its folder with --comfyui.")


def start(folder: Path, arguments: Sequence[str], packs: Sequence[str], *, quiet: bool) -> None:
    """Make ComfyUI's modules importable and its devices ready.

    Args:
        folder: ComfyUI's.
        arguments: of ComfyUI's own command line.
        packs: names in custom_nodes, or folders, to load; no other is.
        quiet: only warnings in the log, unless the arguments say otherwise.

    Raises:
        Refusal: if it has no device, or a pack cannot be loaded.
        SystemExit: for arguments that ComfyUI does not know; its message is on stderr.
    """
    sys.path.insert(0, str(folder))
    loud = not quiet or any(word.startswith("--verbose") for word in arguments)
    args = _parsed([*arguments, *(() if loud else ("--verbose", "WARNING"))])
    args.disable_all_custom_nodes = True
    args.whitelist_custom_nodes = [*args.whitelist_custom_nodes, *packs]
    _choose_device(args)
    try:
        importlib.import_module("main")
    except (RuntimeError, AssertionError) as error:
        if args.cpu:
            raise
        raise Refusal(Exit.MODEL, NO_DEVICE.format(str(error).split("\n")[0].rstrip("."))
                      ) from error
    asyncio.run(comfy_module("nodes").init_public_apis())
    for pack in packs:
        load_pack(pack)


def comfy_module(name: str) -> ModuleType:
    """A module of ComfyUI by its dotted name; ours have the same names elsewhere."""
    return importlib.import_module(name)


def run_node(kind: str, **inputs: Any) -> tuple:  # noqa: ANN401  each node has its own types
    """Execute a node in the mode in which ComfyUI executes nodes.

    Args:
        kind: its name in a workflow file, such as CLIPTextEncode.
        inputs: by their names.

    Returns:
        its outputs.

    Raises:
        Refusal: if there is no such node.
    """
    torch, node_class = comfy_module("torch"), node(kind)
    with torch.inference_mode():
        out = getattr(node_class(), node_class.FUNCTION)(**inputs)
        out = asyncio.run(out) if asyncio.iscoroutine(out) else out
    return tuple(out.args) if hasattr(out, "args") else tuple(out)


def node(kind: str) -> Any:  # noqa: ANN401  a class of either of ComfyUI's interfaces
    """The class of a node.

    Raises:
        Refusal: if there is none of that name.
    """
    nodes = comfy_module("nodes")
    if kind not in nodes.NODE_CLASS_MAPPINGS and kind in EXTRAS:
        _load(Path(nodes.__file__).parent / "comfy_extras" / f"{EXTRAS[kind]}.py", "comfy_extras")
    if kind not in nodes.NODE_CLASS_MAPPINGS:
        raise Refusal(Exit.REQUEST, f"ComfyUI has no node {kind!r} here. If it belongs to a pack, "
                      "name that one with --node-pack.")
    return nodes.NODE_CLASS_MAPPINGS[kind]


def pack_folders() -> list[Path]:
    """Every folder in custom_nodes."""
    homes = [Path(p) for p in comfy_module("folder_paths").get_folder_paths("custom_nodes")]
    return sorted(p for home in homes if home.is_dir() for p in home.iterdir() if p.is_dir())


def _parsed(arguments: Sequence[str]) -> Any:  # noqa: ANN401  ComfyUI's Namespace
    comfy_module("comfy.options").enable_args_parsing()
    before, sys.argv = sys.argv, ["ComfyUI", *arguments]
    try:
        return comfy_module("comfy.cli_args").args
    finally:
        sys.argv = before


def _choose_device(args: Any) -> None:  # noqa: ANN401
    """What main.py does before torch is imported, and only when it is the program itself."""
    if args.cuda_device is not None:
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            os.environ[name] = str(args.cuda_device)
    if args.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    comfy_module("cuda_malloc")


def load_pack(name: str) -> None:
    """Load a pack as ComfyUI loads those in custom_nodes.

    Args:
        name: of its folder there, or a path.

    Raises:
        Refusal: if there is none, or it fails.
    """
    place = Path(name)
    if not (place / "__init__.py").is_file():
        place = next((p for p in pack_folders() if p.name == name), place)
    if not (place / "__init__.py").is_file():
        raise Refusal(Exit.REQUEST, f"There is no pack {name!r}: neither such a folder with an "
                      "__init__.py, nor one in custom_nodes.")
    _load(place.resolve(), "custom_nodes")


def _load(place: Path, parent: str) -> None:
    nodes = comfy_module("nodes")
    if not asyncio.run(nodes.load_custom_node(str(place), module_parent=parent)):
        raise Refusal(Exit.MODEL, f"ComfyUI could not load {place.name}; its log says why.")
