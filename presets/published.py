r"""The 19 published DSS solvers as presets.

Source: Wang et al., Differentiable Solver Search, ICML 2025 (arXiv 2505.21114), appendix J, from
the authors' repository (published_solvers.json, MIT, see library/NOTICE.md). With the published
rows c completed by the diagonal 1 - sum_j c[n, j], and B[n] the outputs' rows in state n:

    flow  sigma = 1 - cumsum(dt / sum(dt)),
          B[n+1] = B[n] + (sigma[n+1] - sigma[n]) * sum_j c[n, j] * (B[j] - e[j]) / sigma[j]
    VP    sigma = sqrt(exp(I(t)) - 1),  I(t) = 0.1 t + 9.95 t^2,  t = 0.999 - cumsum(dt),
          B[n+1] = r * B[n] + (1 - r) * c[n],  r = sigma[n+1] / sigma[n]

and the last sigma set to 0 (VP: the authors stop at 0.0105, 1 % of unit noise). The published
decimals are carried through in exact arithmetic and rounded once to float64, so that every
machine writes the same bytes; torch's matrix products differ in the last bit between processors.
"""

from __future__ import annotations

import json
from decimal import Context, Decimal
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from ..solver_search.solver import Solver
from .file import dump
from .preset import Preset, PresetInfo
from .store import LIBRARY, SUFFIX

SOURCE = Path(__file__).with_name("published_solvers.json")
DIGITS = Context(prec=50)  # of VP's exp and sqrt: far beyond float64's 17
TITLES = {"flow_flowdcn_b2": "DSS FlowDCN flow", "flow_sit_xl2": "DSS SiT flow",
          "vp_dit_xl2": "DSS DiT VP"}
MODELS = {"flow_flowdcn_b2": "FlowDCN-B/2", "flow_sit_xl2": "SiT-XL/2", "vp_dit_xl2": "DiT-XL/2"}
VP_MODEL = (0.0100005, 157.40728)  # sigma range of linear betas 1e-4..0.02
TINY_FIRST_STEP = Fraction(1, 400)

Rows = list[list[Fraction]]


def write_library(folder: Path = LIBRARY) -> list[Path]:
    """Write all published presets into `folder`; equal bytes each time."""
    paths = []
    for preset in published():
        path = folder / (preset.info.name + SUFFIX)
        path.write_bytes(dump(preset))
        paths.append(path)
    return paths


def published() -> list[Preset]:
    """The 19 presets: seven for FlowDCN, six for SiT, six for DiT."""
    source = load_source()
    return [_preset(group, steps, entry) for group in TITLES
            for steps, entry in source[group].items()]


def load_source() -> dict[str, Any]:
    """The published numbers as exact decimals."""
    return json.loads(SOURCE.read_text("utf-8"), parse_float=Fraction, parse_int=Fraction)


def _preset(group: str, steps: str, entry: dict[str, Any]) -> Preset:
    rows, lengths = _with_diagonal(entry["coeffs"]), entry["timedeltas"]
    flow = group != "vp_dit_xl2"
    sigmas = _flow_sigmas(lengths) if flow else _vp_sigmas(lengths)
    outputs = _flow_outputs(sigmas, rows) if flow else _vp_outputs(sigmas, rows)
    solver = Solver(_tensor([sigmas])[0], _tensor(_normalised(sigmas, outputs, flow=flow)), flow)
    return Preset(solver, _info(group, steps, flow=flow, tiny=lengths[0] < TINY_FIRST_STEP))


def _with_diagonal(rows: Rows) -> Rows:
    return [[*row[:n], 1 - sum(row[:n], Fraction(0)), *row[n + 1 :]] for n, row in enumerate(rows)]


def _flow_sigmas(lengths: list[Fraction]) -> list[Fraction]:
    return [1 - done / sum(lengths) for done in accumulate(lengths, initial=Fraction(0))]


def _vp_sigmas(lengths: list[Fraction]) -> list[Fraction]:
    times = [Fraction("0.999") - done for done in accumulate(lengths[:-1], initial=Fraction(0))]
    return [_vp_sigma(t) for t in times] + [Fraction(0)]


def _vp_sigma(t: Fraction) -> Fraction:
    integral = Fraction("0.1") * t + Fraction("9.95") * t * t
    exponent = DIGITS.divide(Decimal(integral.numerator), Decimal(integral.denominator))
    return Fraction(DIGITS.sqrt(DIGITS.subtract(DIGITS.exp(exponent), Decimal(1))))


def _flow_outputs(sigmas: list[Fraction], rows: Rows) -> Rows:
    size = len(rows)
    outputs = [[Fraction(0)] * size]
    for n, row in enumerate(rows):
        step = sigmas[n + 1] - sigmas[n]
        outputs.append([outputs[n][k] + step * sum(
            row[j] * (outputs[j][k] - (j == k)) / sigmas[j] for j in range(n + 1))
            for k in range(size)])
    return outputs[1:]


def _vp_outputs(sigmas: list[Fraction], rows: Rows) -> Rows:
    outputs = [[Fraction(0)] * len(rows)]
    for n, row in enumerate(rows):
        ratio = sigmas[n + 1] / sigmas[n]
        outputs.append([ratio * b + (1 - ratio) * w
                        for b, w in zip(outputs[n], row, strict=True)])
    return outputs[1:]


def _normalised(sigmas: list[Fraction], outputs: Rows, *, flow: bool) -> Rows:
    alphas = [1 - s if flow else Fraction(1) for s in sigmas]
    reach = [a - s / sigmas[0] * alphas[0] for s, a in zip(sigmas, alphas, strict=True)][1:]
    return [[b / r for b in row] for row, r in zip(outputs, reach, strict=True)]


def _tensor(rows: Rows) -> torch.Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


def _info(group: str, steps: str, *, flow: bool, tiny: bool) -> PresetInfo:
    return PresetInfo(
        name=f"{TITLES[group]} {steps}", prediction="flow" if flow else "eps",
        author="Wang et al. (MCG-NJU/NeuralSolver)", created="2025-05-01", licence="MIT",
        notes=_notes(group, steps, flow=flow, tiny=tiny), latent_channels=4,
        shift=1.0 if flow else None, sigma_min=None if flow else VP_MODEL[0],
        sigma_max=1.0 if flow else VP_MODEL[1], guidance=1.0, width=32, height=32, frames=1,
        method="DSS", teacher="Euler 100 steps" if flow else "DDIM 100 time points",
        trajectories=50_000)


def _notes(group: str, steps: str, *, flow: bool, tiny: bool) -> str:
    searched = f"Searched by its authors on {MODELS[group]}" if steps != "15" else (
        "Found in the authors' code only, which does not name the model it was searched on")
    parts = [
        f"{searched}: class-conditional ImageNet 256, guidance 1.",
        FLOW_NOTE if flow else VP_NOTE,
        TINY_NOTE if tiny else "",
        "Times are rounded to 4 decimals by the authors, so the last sigma is set to 0.",
        "Paper: Differentiable Solver Search for Fast Diffusion Sampling, arXiv 2505.21114, "
        "ICML 2025. Numbers: github.com/MCG-NJU/NeuralSolver at 7188794, MIT, "
        "Copyright (c) 2024 wang shuai.",
    ]
    return "\n".join(part for part in parts if part)


FLOW_NOTE = (
    "The sigmas hold as they are: they replace the model's shift, as the authors do for Flux and "
    "SD3. On a model other than its own it beats Euler without guidance but can lose to plain "
    "Adams-Bashforth or dpmpp_2m; at guidance 2 and above its rows amplify errors and the picture "
    "can fall apart (measured on small models). Compare before you trust it, or search your own.")
VP_NOTE = (
    "For linear betas 1e-4 to 0.02 only (DiT, PixArt; sigma_max above 150). Not for SD1.5 or "
    "SDXL, whose sigma_max is 14.6: the first step from 150 has no counterpart there.")
TINY_NOTE = (
    "Its first step is tiny, so two almost equal model outputs are subtracted and multiplied by "
    "7 to 9: in 16 bit or quantised models this amplifies rounding. Prefer the SiT solvers.")
