"""Pictures of solvers and results, drawn with Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from ..presets.pictures import MAX_PICTURE
from ..solver_search.forms import denoised_steps
from ..solver_search.solver import Solver

INK, PAPER, FAINT = (235, 235, 240), (24, 25, 30), (90, 92, 102)
ACCENT, WARM, COOL = (96, 190, 255), (255, 150, 90), (90, 150, 255)
PANEL = 400
MARGIN = 50
SMALLEST, LARGEST = 128, 256  # longer side in pixels of a picture for presets and pages
QUALITIES = (88, 80, 70, 60, 45, 30)
TITLES = {"mean_weights": "The same for tone (channel means)",
          "guidance_weights": "Weight of what CFG adds",
          "guidance_mean_weights": "The same for its tone"}


def font(size: int) -> ImageFont.ImageFont:
    """Pillow's own font, so that nothing need be installed."""
    return ImageFont.load_default(size=size)


def to_tensor(image: Image.Image) -> Tensor:
    """(1, H, W, 3) float IMAGE as ComfyUI passes it."""
    array = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(array)[None]


def solver_picture(solver: Solver, curve: Sequence[tuple[int, float]] = ()) -> Image.Image:
    """Sigmas, the coefficient matrix and, of a search, the error curve, side by side."""
    panels = [_sigma_panel(solver), _matrix_panel(solver, "Weight of each model output per step")]
    panels += [_matrix_panel(solver.alone(name), TITLES[name]) for name in solver.beside]
    if len(curve) > 1:
        panels.append(_curve_panel(curve))
    sheet = Image.new("RGB", (PANEL * len(panels), PANEL), PAPER)
    for i, panel in enumerate(panels):
        sheet.paste(panel, (PANEL * i, 0))
    return sheet


def image_of(pixels: Tensor) -> Image.Image:
    """The image of (H, W, 3) values in 0..1."""
    return Image.fromarray((pixels.float().clamp(0, 1) * 255).round().byte().cpu().numpy())


def jpeg_of(image: Image.Image) -> bytes:
    """A picture for a preset or a page as JPEG: made small or larger, in at most 40 kB."""
    longer = max(image.size)
    factor = min(max(longer, SMALLEST), LARGEST) / longer
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    for quality in QUALITIES:
        written = io.BytesIO()
        small.save(written, "JPEG", quality=quality)
        if written.tell() <= MAX_PICTURE:
            break
    return written.getvalue()


def above_each_other(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of any widths in one."""
    height = sum(picture.height for picture in pictures)
    sheet = Image.new("RGB", (max(picture.width for picture in pictures), height), PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def _panel(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (PANEL, PANEL), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, 10), title, INK, font(16))
    return image, draw


def _sigma_panel(solver: Solver) -> Image.Image:
    image, draw = _panel("Noise level (sigma) after each step")
    sigmas = solver.sigmas.tolist()
    flat = sigmas if solver.flow else [math.asinh(20 * s) for s in sigmas]
    points = [_place(i / solver.steps, value / flat[0]) for i, value in enumerate(flat)]
    draw.line([_place(0, 1), _place(0, 0), _place(1, 0)], FAINT, 1)
    draw.line(points, ACCENT, 3)
    for i, (x, y) in enumerate(points):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), INK)
        draw.text((x + 7, y - 14), f"{sigmas[i]:.3g}", INK, font(11))
        draw.text((x, PANEL - MARGIN + 8), str(i), FAINT, font(11), anchor="ma")
    return image


def _matrix_panel(solver: Solver, title: str) -> Image.Image:
    image, draw = _panel(title)
    _, rows = denoised_steps(solver)
    weights = rows / (1 - solver.sigmas[1:] / solver.sigmas[:-1]).clamp_min(1e-9)[:, None]
    size = (PANEL - 2 * MARGIN) / solver.steps
    for n in range(solver.steps):
        for j in range(n + 1):
            value = float(weights[n, j])
            box = (MARGIN + j * size, MARGIN + n * size,
                   MARGIN + (j + 1) * size - 2, MARGIN + (n + 1) * size - 2)
            draw.rectangle(box, _heat(value))
            if solver.steps <= 10:
                middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
                draw.text(middle, f"{value:.2f}", INK, font(max(9, int(size / 4))), anchor="mm")
    draw.text((MARGIN, PANEL - MARGIN + 8), "model output ->    (rows: steps)", FAINT, font(11))
    return image


def _curve_panel(curve: Sequence[tuple[int, float]]) -> Image.Image:
    image, draw = _panel("Error on unseen noise while searching")
    best = np.minimum.accumulate([error for _, error in curve])
    calls = np.array([count for count, _ in curve], dtype=float)
    least = max(best[-1], 1e-12)  # an error of 0 has no logarithm
    height = np.log(np.maximum(best, least) / least)
    top = max(height.max(), 1e-6)
    points = [_place(float(c / calls[-1]), float(h / top))
              for c, h in zip(calls, height, strict=True)]
    draw.line([_place(0, 1), _place(0, 0), _place(1, 0)], FAINT, 1)
    draw.line(points, ACCENT, 3)
    draw.text((MARGIN + 8, MARGIN - 6), f"{best[0]:.3g}", INK, font(12))
    draw.text((PANEL - MARGIN, PANEL - MARGIN - 20), f"{best[-1]:.3g}", INK, font(12), anchor="ra")
    draw.text((PANEL - MARGIN, PANEL - MARGIN + 8), f"{int(calls[-1])} model calls", FAINT,
              font(11), anchor="ra")
    return image


def _place(x: float, y: float) -> tuple[float, float]:
    """Unit coordinates (y upwards) to a panel's pixels."""
    inner = PANEL - 2 * MARGIN
    return MARGIN + x * inner, PANEL - MARGIN - y * inner


def _heat(value: float) -> tuple[int, int, int]:
    strength = math.tanh(abs(value))
    colour = WARM if value > 0 else COOL
    return tuple(int(p + strength * 0.75 * (c - p)) for p, c in zip(PAPER, colour, strict=True))


@dataclass(frozen=True)
class SheetRow:
    """One row of a contact sheet.

    Args:
        title: bold line on the left.
        detail: smaller line below it.
        pictures: (S, H, W, 3) in 0..1.
        captions: one per picture, or none.
    """

    title: str
    detail: str
    pictures: Tensor
    captions: Sequence[str] = ()


def contact_sheet(rows: Sequence[SheetRow], columns: Sequence[str], *, tile: int = 128,
                  label: int = 210) -> Image.Image:
    """Rows of pictures with a label on the left and a caption under each."""
    top, line = 30, tile + 24
    image = Image.new("RGB", (label + len(columns) * (tile + 6), top + line * len(rows)), PAPER)
    draw = ImageDraw.Draw(image)
    for i, text in enumerate(columns):
        draw.text((label + i * (tile + 6) + tile / 2, 8), text, FAINT, font(12), anchor="ma")
    for r, row in enumerate(rows):
        _draw_row(image, draw, row, top + r * line, tile, label)
    return image


def _draw_row(image: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow, y: int, tile: int,
              label: int) -> None:
    draw.text((12, y + 10), row.title, INK, font(17))
    draw.multiline_text((12, y + 38), row.detail, FAINT, font(12), spacing=5)
    for i, picture in enumerate(row.pictures):
        pixels = (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
        shown = ImageOps.contain(Image.fromarray(pixels), (tile, tile), Image.Resampling.LANCZOS)
        x = label + i * (tile + 6)
        image.paste(shown, (x, y))
        if row.captions:
            draw.text((x + tile / 2, y + tile + 4), row.captions[i], INK, font(12), anchor="ma")
