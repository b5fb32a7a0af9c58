"""The parts of the set-up that need no network."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from launch.commands import CommandError, run_logged
from launch.installer import CONSTRAINTS, extract, remove_half_installed


def test_extract_takes_one_folder_and_nothing_outside(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("p/vendor/C/main.py", "p/vendor/C/x/y.py", "p/setup.py", "p/vendor/Cc/z.py"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"ok"))
    extract(archive, PurePosixPath("p/vendor/C"), tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.py")}
    assert found == {"main.py", "x/y.py"}


def test_half_installed_packages_are_removed(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "site-packages"
    for name in ("whole-1.dist-info", "half-1.dist-info", "~orch"):
        (packages / name).mkdir(parents=True)
    (packages / "whole-1.dist-info" / "INSTALLER").write_text("pip")
    remove_half_installed(tmp_path)
    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]


def test_a_failing_command_shows_the_end_of_its_own_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("an earlier failure\n")
    command = [sys.executable, "-c", "print('no space left'); raise SystemExit(3)"]
    with pytest.raises(CommandError, match="no space left") as caught:
        run_logged(command, log, lambda: None)
    assert "an earlier failure" not in str(caught.value)


def test_no_network_is_said_first(tmp_path: Path) -> None:
    """pip's last lines then speak of versions that do not fit together."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "1", "--timeout",
           "1", "--no-cache-dir", "--index-url", "http://127.0.0.1:9/simple", "--no-input",
           "--isolated", "-d", str(tmp_path), "no-such-package-of-ours"]
    with pytest.raises(CommandError) as caught:
        run_logged(pip, tmp_path / "log", lambda: None)
    assert str(caught.value).startswith("A server could not be reached")
    with pytest.raises(CommandError) as other:
        run_logged([sys.executable, "-c", "raise SystemExit(1)"], tmp_path / "log", lambda: None)
    assert str(other.value).startswith("Failed: ")


def test_constraints_are_exact_and_hold_on_every_system() -> None:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert not [line for line in lines if line.startswith(("nvidia", "cuda", "triton"))]
