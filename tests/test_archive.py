"""The registry's archive: what git knows without what .comfyignore names, tried by itself."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import comfyui_path
from .pack import ROOT

LIMIT = 1_000_000  # bytes
KEPT = ("__init__.py", "pyproject.toml", "LICENSE", "README.md", "nodes", "presets",
        "headless", "solver_search", "web", "example_workflows", "subgraphs", "locales")
LEFT_OUT = (".ci", "benchmarks", "demo", "docs", "launch", "tests", "run.py")
# Run in a process of its own, in which nothing else of the repository can be imported.
LOADER = """
import asyncio, json, sys
comfyui, pack = sys.argv[1:]
sys.argv[1:] = []
sys.path[:] = [comfyui, *(p for p in sys.path if p)]
import comfy.cli_args
comfy.cli_args.args.cpu = True
import nodes
assert asyncio.run(nodes.load_custom_node(pack, module_parent="custom_nodes"))
ours = {name: node for name, node in nodes.NODE_CLASS_MAPPINGS.items() if "SolverSearch" in name}
import folder_paths
library = folder_paths.get_filename_list("solver_presets")
for node in ours.values():
    node.INPUT_TYPES()
web = list(nodes.EXTENSION_WEB_DIRS.values())
print(json.dumps({"nodes": sorted(ours), "library": len(library), "web": web}))
"""


def git(*arguments: str) -> list[str]:
    """Paths that git lists, from the repository's root."""
    found = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", *arguments],
                           capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout, and the archive is made from one")
    return [name for name in found.stdout.split("\0") if name]


def archived() -> list[str]:
    """As the registry's packer picks them: tracked files that no pattern names."""
    ignored = git("--ignored", f"--exclude-from={ROOT / '.comfyignore'}")
    return sorted(name for name in set(git()) - set(ignored) if (ROOT / name).is_file())


def packed() -> bytes:
    """The archive itself."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in archived():
            archive.write(ROOT / name, name)
    return out.getvalue()


def test_the_archive_is_small_and_holds_what_comfyui_reads() -> None:
    names = archived()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in KEPT if (ROOT / top).exists()} <= tops
    assert not tops & set(LEFT_OUT)
    size = len(packed())
    assert 50_000 < size < LIMIT
    assert sum(name.endswith(".safetensors") for name in names) == 19  # the library, no model


def test_every_pattern_names_something() -> None:
    lines = (ROOT / ".comfyignore").read_text("utf-8").splitlines()
    for pattern in (line for line in lines if line and not line.startswith("#")):
        assert git("--ignored", f"--exclude={pattern}"), f"{pattern} names no file"


def test_the_archive_alone_loads_in_comfyui(tmp_path: Path) -> None:
    comfyui = comfyui_path()
    if comfyui is None:
        pytest.skip("ComfyUI not found: set COMFYUI_PATH or put it in .comfyui")
    pack = tmp_path / "solver-search"
    zipfile.ZipFile(io.BytesIO(packed())).extractall(pack)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", LOADER, str(comfyui), str(pack)], cwd=tmp_path,
                          capture_output=True, text=True, timeout=300, env=environment,
                          check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["nodes"]) >= 5 and "SolverSearch_Search" in found["nodes"]
    assert found["library"] >= 19
    assert str(pack / "web") in [str(Path(path).resolve()) for path in found["web"]]
    preset = next((pack / "presets" / "library").glob("*.safetensors"))
    shown = subprocess.run([sys.executable, str(pack / "headless"), "show", str(preset)],
                           cwd=tmp_path, capture_output=True, text=True, timeout=300,
                           env=environment, check=False)
    assert json.loads(shown.stdout.splitlines()[0])["steps"] > 1, shown.stderr[-2000:]


def test_the_registrys_security_rules_find_nothing() -> None:
    """What `comfy node validate` runs (comfy-cli 1.23.0), over everything that git knows."""
    done = subprocess.run([sys.executable, "-m", "ruff", "check", ".", "-q", "--select",
                           "S102,S307,E702", "--exit-zero"], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    assert done.stdout == ""
