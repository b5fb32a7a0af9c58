"""Training pictures: square crops of free photographs that scikit-image ships, in eight styles.

A picture is `crop(photo) @ matrix + offset`, clipped to [0, 1]: which crop is random (side 0.8 to
1 of the region, anywhere inside it, mirrored half of the time), the style is fixed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage
import torch
import torch.nn.functional as F
from PIL import Image

from .comfy_nodes.words import STYLES, SUBJECTS

SIDE = 64
REGION_SIDE = 96
SMALLEST_CROP = 0.8
# subject: (file in skimage/data, left, top, right, bottom)
REGIONS = {
    "cat": ("chelsea.png", 66, 0, 366, 300),
    "astronaut": ("astronaut.png", 100, 0, 356, 256),
    "coffee": ("coffee.png", 80, 0, 480, 400),
    "rocket": ("rocket.jpg", 170, 60, 490, 380),
    "shuttle": ("astronaut.png", 330, 0, 512, 182),
    "photographer": ("camera.png", 40, 30, 440, 430),
    "retina": ("retina.jpg", 0, 0, 1411, 1411),
    "horse": ("horse.png", -10, -46, 410, 374),
    "eye": ("chelsea.png", 100, 50, 220, 170),
}
# Grey photographs get two colours, for black and for white, so that "plain" is not "mono".
DUOTONES = {
    "photographer": ((26, 30, 44), (250, 242, 222)),
    "horse": ((112, 66, 36), (196, 222, 242)),
}
LUMA = (0.299, 0.587, 0.114)


def load_regions() -> torch.Tensor:
    """All subjects' regions.

    Returns:
        (subjects, 3, 96, 96) float32 in [0, 1], in the order of `SUBJECTS`.
    """
    return torch.stack([_load_region(subject) for subject in SUBJECTS])


def _load_region(subject: str) -> torch.Tensor:
    file, *box = REGIONS[subject]
    photo = Image.open(Path(skimage.__file__).parent / "data" / file)
    photo = _framed(photo.convert("L" if subject in DUOTONES else "RGB"), box)
    pixels = np.asarray(photo.resize((REGION_SIDE, REGION_SIDE), Image.Resampling.LANCZOS))
    if subject in DUOTONES:
        black, white = (np.array(colour) for colour in DUOTONES[subject])
        pixels = black + pixels[..., None] / 255 * (white - black)
    return torch.from_numpy(pixels / 255).float().permute(2, 0, 1)


def _framed(photo: Image.Image, box: list[int]) -> Image.Image:
    """Crop; a box that leaves the photograph is filled with its top left colour."""
    left, top, right, bottom = box
    frame = Image.new(photo.mode, (right - left, bottom - top), photo.getpixel((1, 1)))
    frame.paste(photo, (-left, -top))
    return frame


def style_tables() -> tuple[torch.Tensor, torch.Tensor]:
    """The styles as affine maps of colour.

    Returns:
        Matrices (styles, 3 out, 3 in) and offsets (styles, 3), in the order of `STYLES`.
    """
    identity, luma = torch.eye(3), torch.tensor(LUMA)
    styles = {
        "plain": (identity, torch.zeros(3)),
        "mono": _two_colours((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "sepia": _two_colours((0.13, 0.07, 0.03), (1.0, 0.9, 0.68)),
        "night": (
            torch.tensor([0.3, 0.42, 0.85])[:, None] * (0.5 * identity + 0.5 * luma) * 0.85,
            torch.tensor([0.0, 0.01, 0.06]),
        ),
        "warm": (torch.diag(torch.tensor([1.05, 0.82, 0.45])), torch.tensor([0.08, 0.03, 0.0])),
        "mint": _two_colours((0.0, 0.16, 0.18), (0.72, 1.0, 0.84)),
        "rose": _two_colours((0.22, 0.02, 0.18), (1.0, 0.8, 0.86)),
        "negative": (-identity, torch.ones(3)),
    }
    matrices, offsets = zip(*(styles[style] for style in STYLES), strict=True)
    return torch.stack(matrices), torch.stack(offsets)


def _two_colours(
    black: tuple[float, ...], white: tuple[float, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = torch.tensor(black), torch.tensor(white)
    return torch.outer(high - low, torch.tensor(LUMA)), low


def crop(regions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One random crop of each region.

    Args:
        regions: (B, 3, 96, 96).
        generator: decides side, place and mirroring.

    Returns:
        (B, 3, 64, 64).
    """
    draws = torch.rand(4, len(regions), generator=generator)
    scale = SMALLEST_CROP + (1 - SMALLEST_CROP) * draws[0]
    shift = (draws[1:3] * 2 - 1) * (1 - scale)
    flip = torch.where(draws[3] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(scale)
    theta = torch.stack([scale * flip, zero, shift[0], zero, scale, shift[1]], dim=-1)
    grid = F.affine_grid(theta.view(-1, 2, 3), [len(regions), 3, SIDE, SIDE], align_corners=False)
    return F.grid_sample(regions, grid, padding_mode="border", align_corners=False)


def paint(pictures: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
    """Give each picture its style.

    Args:
        pictures: (B, 3, H, W) in [0, 1].
        styles: (B,) indices into `STYLES`.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    matrices, offsets = style_tables()
    colours = torch.einsum("boi,bihw->bohw", matrices[styles], pictures)
    return (colours + offsets[styles][:, :, None, None]).clamp(0, 1)
