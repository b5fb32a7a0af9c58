"""What a preset says: limits of its words, its id, its promise."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.pack import load

if TYPE_CHECKING:
    from presets.preset import PresetInfo
    from solver_search.solver import Solver

preset = load("presets.preset")
make = load("solver_search.solver").Solver
PresetError = preset.PresetError

FLOW = preset.PresetInfo(name="a", prediction="flow", shift=3.0)
EPS = preset.PresetInfo(name="a", prediction="eps")


def euler(sigmas: list[float], *, flow: bool = True, **more: Tensor) -> Solver:
    """Euler's weights in terms of denoised outputs, for a start of pure noise or VE."""
    s = torch.tensor(sigmas, dtype=torch.float64)
    rows = torch.eye(len(s) - 1, dtype=torch.float64)
    return load("solver_search.forms").from_denoised_rows(s, rows, flow=flow, **more)


@pytest.mark.parametrize(("field", "value", "sentence"), [
    ("name", " ", "must not be empty"),
    ("name", 3, "name must be text, found int"),
    ("name", "x" * 81, "at most 80 characters, found 81"),
    ("author", "a\nb", r"author must be plain text, found the control character U\+000A"),
    ("author", "\x00", r"U\+0000"),
    ("notes", "a\x1b[31m", r"U\+001B"),
    ("notes", "a\u202eb", r"U\+202E"),
    ("notes", "\ud800", r"U\+D800"),
    ("notes", "a\u2028b", r"U\+2028"),
    ("notes", "x" * 4001, "at most 4000 characters"),
    ("created", "20 Nov", "created must be a day such as 2026-11-20, found 20 Nov"),
    ("created", "2026-13-01", "must be a day"),
    ("created", "20261120", "must be a day"),
    ("prediction", "velocity", "must be one of eps, v, flow, found 'velocity'"),
    ("prediction", "", "must be one of"),
    ("model_name", "C:\\Users\\a\\m.safetensors", "without folders"),
    ("model_name", "a/m.safetensors", "without folders"),
    ("width", 3.5, "width must be a whole number, found float"),
    ("width", True, "must be a whole number, found bool"),
    ("width", -1, "width must lie in 0 to 1000000, found -1"),
    ("seed", 2**64, "seed must lie in 0 to 18446744073709551615"),
    ("guidance", "7", "guidance must be a number, found str"),
    ("guidance", True, "must be a number, found bool"),
    ("guidance", float("nan"), "guidance must lie in 0 to 1000, found nan"),
    ("error", float("inf"), "error must lie in 0 to 1e.09, found inf"),
    ("shift", 0.0, "shift must lie in 0.001 to 1000, found 0.0"),
    ("licence", None, "licence must be text, found nothing"),
])
def test_words_out_of_bounds_are_refused(field: str, value: object, sentence: str) -> None:
    with pytest.raises(PresetError, match=sentence):
        replace(FLOW, **{field: value})


def test_words_within_bounds_are_kept() -> None:
    info = replace(FLOW, notes="two\nlines\tand ünïcode 模型 🎨", seed=2**64 - 1, guidance=7)
    assert info.notes.endswith("🎨") and info.seed == 2**64 - 1
    assert type(info.guidance) is float  # so that it is always spelled alike in the file


def test_every_fact_has_a_kind_and_unknown_as_default() -> None:
    kinds = load("presets.info").kinds()
    assert list(kinds) == [field.name for field in fields(preset.PresetInfo)]
    for field in fields(preset.PresetInfo)[2:]:
        assert field.default == kinds[field.name].unknown or field.name == "licence"


@pytest.mark.parametrize(("solver", "info", "sentence"), [
    (euler([1.0, 0.0]), EPS, "prediction must agree with the solver, which is for a flow model"),
    (euler([9.0, 0.0], flow=False), FLOW, "which is for an eps or v model, found flow"),
    (euler([1.0, 0.0]), replace(FLOW, shift=None), "shift must be given for a flow model"),
    (euler([9.0, 0.0], flow=False), replace(EPS, shift=3.0), "shift belongs to flow models"),
    (euler([2e5, 0.0], flow=False), EPS, "must lie in 1e-06 to 100000"),
    (euler([1.0, 1e-7, 0.0]), FLOW, "must lie in 1e-06 to 100000"),
    (euler([1.0, 1e-7]), FLOW, "must lie in 1e-06 to 100000"),
    (euler([1.0, 0.0], model_sigmas=torch.tensor([2e5])), FLOW, "must lie in 1e-06"),
    (euler([1 - n / 65 for n in range(66)]), FLOW, "1 to 64 model calls, found 65"),
])
def test_contradictions_are_refused(solver: Solver, info: PresetInfo, sentence: str) -> None:
    with pytest.raises(PresetError, match=sentence):
        preset.Preset(solver, info)


def test_id_names_the_numbers_and_not_the_words() -> None:
    solver = euler([1.0, 0.5, 0.0])
    first = preset.Preset(solver, FLOW).id
    assert preset.Preset(euler([1.0, 0.5, 0.0]), replace(FLOW, name="b", error=0.1)).id == first
    bit = solver.sigmas.clone()
    bit[1] = torch.nextafter(bit[1], torch.tensor(1.0))
    others = [make(bit, solver.weights, True),
              make(solver.sigmas, solver.weights, True, torch.ones(2)),
              make(solver.sigmas, solver.weights, True, model_sigmas=torch.ones(2))]
    ids = {first, *(preset.Preset(other, FLOW).id for other in others)}
    ids.add(preset.Preset(make(solver.sigmas, solver.weights, False), EPS).id)
    assert len(ids) == 5


def test_promise_is_honest() -> None:
    assert preset.promise(EPS) == "Not measured on this model."
    measured = replace(EPS, error=0.021, held_out_seeds=64)
    assert preset.promise(measured) == (
        "Error 0.021, measured on 64 unseen seeds by the author; not compared with built-in "
        "samplers.")
    both = replace(measured, baseline="dpmpp_2m/beta", baseline_error=0.034)
    assert preset.promise(both, calls=6) == (
        "Error 0.021 against 0.034 for the best built-in (dpmpp_2m/beta) at 6 model calls, "
        "measured on 64 unseen seeds by the author.")
    assert "the built-in is better" in preset.promise(replace(both, error=0.05))
    near = replace(both, error_interval=0.008, baseline_interval=0.006)
    assert "too close to call" in preset.promise(near)
    assert "at 1 model call," in preset.Preset(euler([9.0, 0.0], flow=False), both).promise


@pytest.mark.parametrize(("kind", "options"), [
    ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True, "exif": b"Exif\0\0\xff\xc0\0"}),
    ("WEBP", {}), ("WEBP", {"lossless": True}), ("WEBP", {"icc_profile": b"p" * 200})])
def test_pictures_are_small_when_they_are_shown(kind: str, options: dict[str, Any]) -> None:
    """Whatever their file's size; read from the header as Pillow reads it."""
    pictures = load("presets.pictures")
    for width, height in ((4096, 2), (3, 4096), (4097, 2), (2, 4097)):
        out = io.BytesIO()
        Image.new("RGB", (width, height)).save(out, kind, **options)
        text = pictures.picture_text(out.getvalue())
        assert pictures.size_of(out.getvalue()) == (width, height)
        if max(width, height) > 4096:
            with pytest.raises(PresetError, match="at most 4096 pixels a side, found"):
                pictures.Picture().check("picture", text)
        else:
            assert pictures.Picture().check("picture", text) == text
