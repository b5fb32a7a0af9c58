"""The shipped presets: the committed bytes, and the authors' update written down once more.

Run as a program it writes the files again: `python tests/test_library.py`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.pack import ROOT, load  # noqa: E402

if TYPE_CHECKING:
    from presets.preset import Preset

published = load("presets.published")
store = load("presets.store")
file = load("presets.file")
forms = load("solver_search.forms")
sample = load("solver_search.sample").sample

LIBRARY = ROOT / "presets" / "library"
SOURCE = published.load_source()
CASES = [(group, steps) for group in published.TITLES for steps in SOURCE[group]]
# Float64 on both sides; states reach 150 and net weights 17 over at most 15 steps, so about
# 15 * 17 * 150 * 1e-16 = 4e-12, and the denoiser's slope is below 2.
TOLERANCE = 1e-9


def shipped(group: str, steps: str) -> Preset:
    return store.read(LIBRARY / f"{published.TITLES[group]} {steps}.safetensors")


def numbers(group: str, steps: str) -> tuple[list[float], list[list[float]]]:
    """Published step lengths and rows, as floats."""
    entry = SOURCE[group][steps]
    return ([float(v) for v in entry["timedeltas"]],
            [[float(v) for v in row] for row in entry["coeffs"]])


def denoise(x: Tensor, sigma: Tensor | float) -> Tensor:
    """A nonlinear test model: smooth, mixing neighbours, dependent on the noise level."""
    s = torch.as_tensor(sigma, dtype=x.dtype)
    return torch.tanh(x / (1 + s) + 0.3 * x.roll(1, -1) / (1 + s * s)) + 0.1 * torch.cos(3 * s)


def blend(row: list[float], outputs: list[Tensor]) -> Tensor:
    """Published row with its implied last weight."""
    *earlier, last = outputs
    rest = 1 - sum(row[: len(earlier)])
    return sum((c * o for c, o in zip(row, earlier, strict=False)), rest * last)


def authors_flow(x: Tensor, lengths: list[float], rows: list[list[float]]) -> list[Tensor]:
    """Wang et al., flow: t from 0 (noise) to 1 (data), v = data - noise."""
    t, states, velocities = 0.0, [x], []
    lengths = [dt / math.fsum(lengths) for dt in lengths]
    for dt, row in zip(lengths, rows, strict=True):
        velocities.append((denoise(x, 1 - t) - x) / (1 - t))
        x = x + dt * blend(row, velocities)
        t += dt
        states.append(x)
    return states


def alpha_sigma(t: float) -> tuple[float, float]:
    """VP with beta(t) = 0.1 + 19.9 t; t < 0 stands for the clean end."""
    if t < 0:
        return 1.0, 0.0
    alpha = math.exp(-0.5 * (0.1 * t + 9.95 * t * t))
    return alpha, math.sqrt(1 - alpha * alpha)


def authors_vp(x: Tensor, lengths: list[float], rows: list[list[float]]) -> list[Tensor]:
    """Wang et al., VP states x = alpha x0 + sigma eps from an eps model; one update per step.

    sigma' (w' - w) with w = alpha/sigma is written alpha' - sigma' w, which also holds at 0.
    Returned in ComfyUI's coordinates, x / alpha.
    """
    t, clean = 0.999, []
    alpha, sigma = alpha_sigma(t)
    x, states = alpha * x, [x]
    for n, (dt, row) in enumerate(zip(lengths, rows, strict=True)):
        eps = (x / alpha - denoise(x / alpha, sigma / alpha)) / (sigma / alpha)
        clean.append((x - sigma * eps) / alpha)
        t = t - dt if n < len(rows) - 1 else -1.0
        after, level = alpha_sigma(t)
        x = level / sigma * x + (after - level * alpha / sigma) * blend(row, clean)
        alpha, sigma = after, level
        states.append(x / alpha)
    return states


def test_there_are_nineteen_and_nothing_else() -> None:
    names = {f"{published.TITLES[group]} {steps}.safetensors" for group, steps in CASES}
    assert len(names) == 19
    assert {p.name for p in LIBRARY.iterdir()} == names | {"NOTICE.md"}
    assert len({shipped(*case).id for case in CASES}) == 19


def test_committed_bytes_are_made_again(tmp_path: Path) -> None:
    """Exact arithmetic rounded once: equal on every machine."""
    for path in published.write_library(tmp_path):
        assert path.read_bytes() == (LIBRARY / path.name).read_bytes()


@pytest.mark.parametrize(("group", "steps"), CASES)
def test_states_are_those_of_the_authors_update(group: str, steps: str) -> None:
    solver = shipped(group, steps).solver
    update: Callable[..., list[Tensor]] = authors_flow if solver.flow else authors_vp
    noise = torch.randn(3, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start = noise * solver.sigmas[0]
    expected, found = update(start, *numbers(group, steps)), []
    sample(denoise, solver, start, states=found)
    assert len(found) == int(steps) + 1
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() < TOLERANCE


@pytest.mark.parametrize(("group", "steps"), CASES)
def test_rows_are_those_of_the_engine(group: str, steps: str) -> None:
    """Exact arithmetic against the float64 conversions in forms.py."""
    solver = shipped(group, steps).solver
    rows = torch.tensor(numbers(group, steps)[1], dtype=torch.float64)
    rows = rows + torch.diag(1 - rows.sum(dim=1))
    convert = forms.from_weights if solver.flow else forms.from_denoised_rows
    engine = convert(solver.sigmas, rows, flow=solver.flow)
    # The reach of a first step of 0.0005 amplifies rounding 1/0.0005 times.
    assert torch.allclose(engine.weights, solver.weights, rtol=0, atol=1e-12)
    assert torch.equal(solver.weights, solver.weights.tril())


@pytest.mark.parametrize(("group", "steps"), CASES)
def test_words_say_where_it_holds(group: str, steps: str) -> None:
    preset = shipped(group, steps)
    info, sigmas = preset.info, preset.solver.sigmas
    assert float(sigmas[-1]) == 0.0 and (sigmas[1:] < sigmas[:-1]).all()
    assert info.licence == "MIT" and "wang shuai" in info.notes and "guidance 1." in info.notes
    assert preset.promise == "Not measured on this model. Unknown away from CFG 1."
    if preset.solver.flow:
        assert info.shift == 1.0 and float(sigmas[0]) == 1.0 and "can lose" in info.notes
    else:
        assert "Not for SD1.5 or SDXL" in info.notes and 150 < float(sigmas[0]) < info.sigma_max
    tiny = group == "flow_flowdcn_b2" and steps in {"9", "10", "15"}
    assert ("amplifies rounding" in info.notes) == tiny


def test_published_levels_of_the_ten_step_vp_set() -> None:
    """Worked out by hand beforehand, to four digits; the last is 0.0105 there."""
    expected = [150.65, 21.70, 9.551, 4.952, 3.289, 2.302, 1.532, 0.952, 0.527, 0.230, 0.0]
    found = shipped("vp_dit_xl2", "10").solver.sigmas.tolist()
    assert found == pytest.approx(expected, rel=2e-3)


def test_notice_travels_along() -> None:
    notice = (LIBRARY / "NOTICE.md").read_text("utf-8")
    assert "Copyright (c) 2024 wang shuai" in notice and "AS IS" in notice


if __name__ == "__main__":
    published.write_library()
