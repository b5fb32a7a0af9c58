"""Pictures of the third model beside this file: `python -m benchmarks.samples`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from demo.prompts import PROMPTS

from .cells import Cell
from .loading import load_decoder, load_model

SCALES, COUNT = (1.0, 3.0), 12


def main() -> None:
    """One band per CFG: reference samples of every sixth prompt."""
    model, decode = load_model("bench_wan"), load_decoder("bench_wan")
    bands = []
    for cfg in SCALES:
        cell = Cell("bench_wan", model, cfg, seeds=COUNT, batch=COUNT, prompts=PROMPTS[::6])
        pictures = cell.measure(lambda trial: decode(trial.reference))
        bands.append(torch.cat(list(pictures), dim=2))
    sheet = torch.cat(bands, dim=1).clamp(0, 1).movedim(0, -1)
    Image.fromarray((255 * sheet.numpy()).astype(np.uint8)).save(
        Path(__file__).with_name("samples_wan.png"))


if __name__ == "__main__":
    main()
