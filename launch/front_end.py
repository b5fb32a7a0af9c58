"""The newest front end on PyPI, kept beside what set-up made."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .places import BASE

PACKAGE = "comfyui_frontend_package"
CACHE = BASE / "front-ends"


def newest_front_end(cache: Path = CACHE) -> Path:
    """Fetch the newest release, unless it is there.

    Args:
        cache: a folder with one folder per release.

    Returns:
        The folder that ComfyUI's --front-end-root takes.

    Raises:
        RuntimeError: if the package index cannot be asked.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as place:
        wheel = _download(Path(place))
        release = cache / wheel.stem
        if not release.is_dir():
            partial = Path(place, "wheel")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(partial)
            partial.replace(release)
    return release / PACKAGE / "static"


def _download(place: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input",
               "--disable-pip-version-check", "-q", "-d", str(place), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = next(place.glob("*.whl"), None)
    if done.returncode or found is None:
        raise RuntimeError(f"pip could not fetch {PACKAGE}:\n{done.stderr[-2000:]}")
    return found
