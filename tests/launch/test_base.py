"""Our own base directory: links that follow the repository, or copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch import links
from launch.base import DEMO_PACK, PACK, prepare_base


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "demo" / "comfy_nodes").mkdir(parents=True)
    (root / "demo" / "checkpoints").mkdir()
    (root / "demo" / "checkpoints" / "demo_flow.safetensors").write_bytes(b"one")
    (root / "__init__.py").write_text("")
    (root / "demo" / "comfy_nodes" / "__init__.py").write_text("")
    return root


def no_link(*_: object, **__: object) -> None:
    raise OSError("privilege not held")


@pytest.fixture(params=["links", "copies"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "copies":
        monkeypatch.setattr(Path, "symlink_to", no_link)
        monkeypatch.setattr(links.os, "link", no_link)
    return request.param


def test_base_inside_the_repository(root: Path, way: str) -> None:
    base = prepare_base(root / ".base", root=root)
    assert (base / "custom_nodes" / PACK / "__init__.py").is_file()
    assert (base / "custom_nodes" / DEMO_PACK).is_dir()
    assert (base / "models" / "checkpoints" / "demo_flow.safetensors").read_bytes() == b"one"
    copied = base / "custom_nodes" / PACK / ".base"
    assert way == "links" or not copied.exists()  # a copy must not contain itself


def test_a_changed_checkpoint_is_followed(root: Path, way: str) -> None:
    prepare_base(root / ".base", root=root)
    (root / "demo" / "checkpoints" / "demo_flow.safetensors").write_bytes(b"another")
    base = prepare_base(root / ".base", root=root)
    assert (base / "models" / "checkpoints" / "demo_flow.safetensors").read_bytes() == b"another"


def test_a_link_to_elsewhere_is_replaced_and_its_target_kept(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("kept")
    target = tmp_path / "link"
    links.link_folder(other, target)
    links.link_folder(root, target)
    assert (target / "__init__.py").is_file()
    links.remove(target)
    assert not target.exists()
    assert (other / "precious.txt").read_text() == "kept"
    assert (root / "__init__.py").is_file()
