"""ComfyUI for the tests that compare with it: `comfy` is its package, imported for the CPU.

With SOLVER_SEARCH_BENCH_DEVICE=cuda it is imported for the GPU, in float32 (tests/test_gpu.py).
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from demo.comfyui import use_device

from .graphs import as_a_node, said, subject  # noqa: F401  fixtures
from .world import models, world  # noqa: F401  fixtures

ROOT = Path(__file__).resolve().parents[1]
# What takes longest comes first, or one process ends long after the others.
FIRST = ("browser", "test_search_everywhere.py", "test_matrix.py", "test_headless_many.py",
         "test_faults.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
    """Which tests may run in which process, where several run side by side."""
    from .parallel import Places

    return Places(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which they are dealt to processes."""
    items.sort(key=lambda item: _place(item.path))


def _place(path: Path) -> int:
    """Of a test's file or folder among FIRST; behind them for all others."""
    parts = path.relative_to(ROOT / "tests").parts
    return next((n for n, name in enumerate(FIRST) if name == parts[0]), len(FIRST))


def comfyui_path() -> Path | None:
    """Where ComfyUI is: COMFYUI_PATH, else .comfyui in this repository or a folder inside it."""
    named = os.environ.get("COMFYUI_PATH")
    base = Path(named) if named else ROOT / ".comfyui"
    inside = sorted(p for p in base.iterdir() if p.is_dir()) if base.is_dir() else []
    found = [p for p in (base, *inside)
             if (p / "main.py").is_file() and (p / "comfy").is_dir()]
    if named and not found:
        raise FileNotFoundError(f"COMFYUI_PATH={named} holds no main.py beside a comfy folder.")
    return found[0] if found else None


@pytest.fixture(scope="session")
def comfy() -> ModuleType:
    path = comfyui_path()
    if path is None:
        pytest.skip("ComfyUI not found: set COMFYUI_PATH or put it in .comfyui")
    sys.path.insert(0, str(path))
    use_device(importlib.import_module("comfy.cli_args").args)  # before anything else of comfy
    for name in ("model_base", "model_patcher", "samplers", "k_diffusion.deis",
                 "extra_samplers.uni_pc"):
        importlib.import_module(f"comfy.{name}")
    return importlib.import_module("comfy")
