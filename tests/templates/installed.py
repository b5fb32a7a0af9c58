"""The installed templates, and ComfyUI's node classes to read them with."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from launch.workflow import Graph

PACKAGE = "comfyui_workflow_templates_json"


def template_version() -> str:
    """Version of the installed templates, "" if there are none."""
    try:
        return version(PACKAGE.replace("_", "-"))
    except PackageNotFoundError:
        return ""


def comfyui_version() -> str:
    """Version of the ComfyUI whose nodes are read."""
    return importlib.import_module("comfyui_version").__version__


def templates() -> Iterator[tuple[str, Graph]]:
    """Name and workflow of each; the lists that lie beside them are no workflows.

    Raises:
        FileNotFoundError: no templates are installed.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"{PACKAGE} is not installed beside this ComfyUI.")
    folder = Path(next(iter(found.submodule_search_locations))) / "templates"
    for path in sorted(folder.glob("*.json")):
        graph = json.loads(path.read_text("utf-8"))
        if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
            yield path.stem, graph


@functools.cache
def node_classes() -> dict[str, Any]:
    """Every node class of ComfyUI by its type, API nodes too (a few seconds)."""
    nodes = importlib.import_module("nodes")
    asyncio.run(nodes.init_builtin_extra_nodes())
    asyncio.run(nodes.init_builtin_api_nodes())
    return nodes.NODE_CLASS_MAPPINGS


@functools.cache
def described(kind: str) -> dict[str, Any]:
    """Inputs and outputs of a node type as in /object_info; empty if ComfyUI does not know it."""
    found = node_classes().get(kind)
    if found is None:
        return {}
    if is_v3(found):
        return found.GET_NODE_INFO_V1()
    return {"input": found.INPUT_TYPES(), "output": list(found.RETURN_TYPES)}


def is_v3(node_class: Any) -> bool:  # noqa: ANN401 - whatever a pack registers
    """Whether a class is of ComfyUI's newer kind (io.ComfyNode)."""
    return hasattr(node_class, "GET_NODE_INFO_V1")


def is_api(kind: str) -> bool:
    """Whether a node asks a paid service."""
    return bool(getattr(node_classes().get(kind), "API_NODE", False))
