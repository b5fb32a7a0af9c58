"""Search a solver and compare it, in a real ComfyUI, from the shipped workflow.

    python run.py demo [--workflow FILE] [--output FOLDER]

Starts the server, queues the workflow as the browser would, and writes into `output/`: the
preset(s) the search saved, the contact sheet, and the table as text and JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from .base import prepare_base
from .client import Client, Prompt, Run
from .failures import PromptError, ServerError
from .places import BASE, OUTPUT, ROOT
from .process import leave_on_terminate
from .progress_line import ProgressLine
from .server import Server
from .steps import say
from .workflow import WorkflowError, to_prompt

WORKFLOW = (ROOT / "demo" / "comfy_nodes" / "example_workflows"
            / "Demo - Solver search with sampler comparison.json")
SEARCH = "SolverSearch_Search"
COMPARE = "SolverSearch_Compare"
PRESETS = Path("models", "solver_presets")


def main(arguments: list[str]) -> int:
    """Run the demo.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    leave_on_terminate()
    try:
        _demo(options.workflow, options.output)
    except (ServerError, PromptError, WorkflowError, OSError) as error:
        log = f"ComfyUI's log: {BASE / 'comfyui.log'}\n" if isinstance(error, ServerError) else ""
        say(f"\n{error}\n{log}")
        return 1
    except KeyboardInterrupt:
        say("\nInterrupted; the server has been stopped.\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("run.py demo", description=__doc__)
    parser.add_argument("--workflow", type=Path, default=WORKFLOW, help="a workflow file")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the results go")
    return parser


def _demo(workflow: Path, output: Path) -> None:
    graph = _read(workflow)
    base = prepare_base()
    before = _presets(base)
    say("Starting ComfyUI ...\n")
    with Server(base) as server:
        prompt = to_prompt(graph, server.client.object_info())
        _expect(prompt, workflow)
        with ProgressLine() as line:
            run = server.client.run(prompt, line.show)
        output.mkdir(parents=True, exist_ok=True)
        written = [
            *_copy_presets(_new(before, _presets(base)), output),
            *_write_sheets(server.client, _sheets(prompt, run), output),
            *_write_tables(_tables(prompt, run), output),
        ]
    _report(run, _tables(prompt, run), written)


def _read(workflow: Path) -> dict[str, Any]:
    try:
        return json.loads(workflow.read_text("utf-8"))
    except ValueError as error:
        raise WorkflowError(f"{workflow} is not JSON: {error}") from error


def _expect(prompt: Prompt, workflow: Path) -> None:
    for kind in (SEARCH, COMPARE):
        if not _of_type(prompt, kind):
            raise WorkflowError(f"{workflow} has no node of type {kind}.")


def _of_type(prompt: Prompt, kind: str) -> list[str]:
    return [node for node, entry in prompt.items() if entry["class_type"] == kind]


def _presets(base: Path) -> dict[Path, int]:
    """Preset files and when they were last written."""
    found = (base / PRESETS).rglob("*.safetensors")
    return {path: path.stat().st_mtime_ns for path in found}


def _new(before: dict[Path, int], after: dict[Path, int]) -> list[Path]:
    return sorted(path for path, written in after.items() if before.get(path) != written)


def _copy_presets(presets: list[Path], output: Path) -> list[Path]:
    return [Path(shutil.copy2(preset, output / preset.name)) for preset in presets]


def _sheets(prompt: Prompt, run: Run) -> list[dict[str, str]]:
    """Images of the Compare node itself, else of the nodes that show its outputs."""
    compare = _of_type(prompt, COMPARE)
    showing = [
        node
        for node, entry in prompt.items()
        if any(isinstance(v, list) and v[0] in compare for v in entry["inputs"].values())
    ]
    for nodes in (compare, showing):
        images = [image for node in nodes for image in run.outputs.get(node, {}).get("images", ())]
        if images:
            return images
    return []


def _write_sheets(client: Client, sheets: list[dict[str, str]], output: Path) -> list[Path]:
    paths = _numbered(output, "contact_sheet", ".png", len(sheets))
    for path, sheet in zip(paths, sheets, strict=True):
        path.write_bytes(client.image(sheet))
    return paths


def _tables(prompt: Prompt, run: Run) -> list[tuple[str, str]]:
    """Each Compare node's table as text and as JSON."""
    shown = [run.outputs.get(node, {}) for node in _of_type(prompt, COMPARE)]
    return [(_first(ui, "text"), _first(ui, "table")) for ui in shown]


def _first(ui: dict[str, Any], key: str) -> str:
    return next(iter(ui.get(key) or [""]))


def _write_tables(tables: list[tuple[str, str]], output: Path) -> list[Path]:
    texts = _numbered(output, "comparison", ".txt", len(tables))
    jsons = _numbered(output, "comparison", ".json", len(tables))
    for (text, table), text_path, json_path in zip(tables, texts, jsons, strict=True):
        text_path.write_text(text.rstrip() + "\n", "utf-8")
        json_path.write_text(table.rstrip() + "\n", "utf-8")
    return [*texts, *jsons]


def _numbered(output: Path, name: str, suffix: str, count: int) -> list[Path]:
    """name.ext, name_2.ext, name_3.ext ..."""
    return [output / f"{name}{f'_{i}' if i > 1 else ''}{suffix}" for i in range(1, count + 1)]


def _report(run: Run, tables: list[tuple[str, str]], written: list[Path]) -> None:
    for text, _ in tables:
        say(f"\n{text.rstrip()}\n")
    say(f"\nDone in {run.seconds:.0f} s. Written:\n")
    for path in written:
        say(f"  {path}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
