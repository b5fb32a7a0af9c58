"""What the demo takes out of a run, without running one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from launch import demo
from launch.client import Client, Progress, Run
from launch.progress_line import ProgressLine, line
from launch.workflow import WorkflowError

SHEET = {"filename": "sheet.png", "subfolder": "", "type": "output"}
PROMPT = {
    "1": {"class_type": demo.SEARCH, "inputs": {}},
    "2": {"class_type": demo.COMPARE, "inputs": {"preset": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "y"}},
}
TABLE = {"text": ["a table"], "table": ['{"rows": []}']}


class Fetcher:
    def image(self, reference: dict[str, str]) -> bytes:
        return reference["filename"].encode()


@pytest.mark.parametrize(
    "outputs",
    [
        {"2": TABLE | {"images": [SHEET]}, "3": {"images": [{"filename": "other.png"}]}},
        {"2": TABLE, "3": {"images": [SHEET]}, "4": {"images": [{"filename": "other.png"}]}},
    ],
    ids=["shown by the node", "shown by the node after it"],
)
def test_contact_sheet_and_table_are_written(outputs: dict, tmp_path: Path) -> None:
    run = Run("id", outputs, 1.0)
    sheets = demo._sheets(PROMPT, run)
    written = demo._write_sheets(cast(Client, Fetcher()), sheets, tmp_path)
    written += demo._write_tables(demo._tables(PROMPT, run), tmp_path)
    assert [path.name for path in written] == [
        "contact_sheet.png", "comparison.txt", "comparison.json",
    ]  # fmt: skip
    assert written[0].read_bytes() == b"sheet.png"
    assert written[2].read_text() == '{"rows": []}\n'


def test_only_presets_of_this_run_are_copied(tmp_path: Path) -> None:
    folder = tmp_path / demo.PRESETS
    folder.mkdir(parents=True)
    (folder / "old.safetensors").write_bytes(b"old")
    before = demo._presets(tmp_path)
    (folder / "new.safetensors").write_bytes(b"new")
    copied = demo._copy_presets(demo._new(before, demo._presets(tmp_path)), tmp_path)
    assert copied == [tmp_path / "new.safetensors"]


def test_a_workflow_without_the_nodes_is_refused() -> None:
    with pytest.raises(WorkflowError, match=demo.SEARCH):
        demo._expect({"3": PROMPT["3"]}, Path("some.json"))


def test_progress_where_there_is_no_console(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine() as progress:
        for step in range(25):
            progress.show(Progress("5", demo.SEARCH, step, 25, float(step)))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == line(Progress("5", demo.SEARCH, 0, 25, 0.0))
    assert len(shown) == 3
