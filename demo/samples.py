"""Sheets of sample pictures, made by ComfyUI's own nodes from the finished checkpoint files.

`python -m demo.samples` writes `samples_flow.png` and `samples_eps.png` beside this file: one
band per CFG scale, one column per subject, the styles taking turns.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from .comfy_nodes.words import STYLES, SUBJECTS
from .comfyui import load_comfy

FOLDER = Path(__file__).parent
SCALES = (1.0, 4.0, 7.0)
STEPS, SEED = 30, 20
SIDE, LABEL = 64, 16


class Painter:
    """A checkpoint loaded by CheckpointLoaderSimple, sampled by KSampler."""

    def __init__(self, checkpoint: Path) -> None:
        self._nodes = load_comfy("nodes")
        folders = load_comfy("folder_paths")
        folders.add_model_folder_path("checkpoints", str(checkpoint.parent), is_default=True)
        with torch.inference_mode():
            loader = self._nodes.CheckpointLoaderSimple()
            self.model, _, self.vae = loader.load_checkpoint(checkpoint.name)
        # Only now: the node module takes `comfy_api` from ComfyUI's folder.
        from .comfy_nodes.prompt_node import encode_lines

        self._encode = encode_lines

    def conditioning(self, text: str) -> list:
        """Text, one prompt per line, as Demo Prompt encodes it."""
        return self._encode(text, self.model.model.model_config.unet_config)

    def latent(self, prompts: list[str], cfg: float, steps: int = STEPS) -> dict:
        """Sampled latents, ComfyUI's LATENT: samples (B, C, 8, 8)."""
        channels = self.model.model.latent_format.latent_channels
        empty = {"samples": torch.zeros(len(prompts), channels, SIDE // 8, SIDE // 8)}
        with torch.inference_mode():
            return self._nodes.KSampler().sample(
                self.model, SEED, steps, cfg, "dpmpp_2m", "simple",
                self.conditioning("\n".join(prompts)), self.conditioning(""), empty,
            )[0]  # fmt: skip

    def paint(self, prompts: list[str], cfg: float, steps: int = STEPS) -> torch.Tensor:
        """Pictures (B, 64, 64, 3) in [0, 1]."""
        latent = self.latent(prompts, cfg, steps)
        with torch.inference_mode():
            return self._nodes.VAEDecode().decode(self.vae, latent)[0]


def draw_sheet(painter: Painter, prompts: list[str], columns: int) -> Image.Image:
    """These prompts, in rows of `columns`, once for every CFG scale of `SCALES`."""
    bands = [_band(painter.paint(prompts, scale), f"CFG {scale:g}", columns) for scale in SCALES]
    width, height = bands[0].size
    sheet = Image.new("RGB", (width, height * len(bands)), "white")
    for place, band in enumerate(bands):
        sheet.paste(band, (0, place * height))
    return sheet


def _band(pictures: torch.Tensor, label: str, columns: int) -> Image.Image:
    rows = len(pictures) // columns
    grid = pictures.unflatten(0, (rows, columns)).permute(0, 2, 1, 3, 4)
    pixels = (grid.reshape(rows * SIDE, columns * SIDE, 3) * 255).round().byte().cpu().numpy()
    band = Image.new("RGB", (columns * SIDE, rows * SIDE + LABEL), "white")
    ImageDraw.Draw(band).text((4, 2), label, fill="black")
    band.paste(Image.fromarray(np.ascontiguousarray(pixels)), (0, LABEL))
    return band


def shown_prompts(rows: int = 1) -> list[str]:
    """A few prompts: every subject once per row, the styles taking turns."""
    return [
        f"{subject}, {STYLES[(place + 4 * row) % len(STYLES)]}"
        for row in range(rows)
        for place, subject in enumerate(SUBJECTS)
    ]


def main(names: list[str]) -> int:
    """Write the sheets of these checkpoints ("flow", "eps"; all when none is named)."""
    for name in names or ("flow", "eps"):
        painter = Painter(FOLDER / "checkpoints" / f"demo_{name}.safetensors")
        sheet = draw_sheet(painter, shown_prompts(), len(SUBJECTS))
        sheet.save(FOLDER / f"samples_{name}.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
