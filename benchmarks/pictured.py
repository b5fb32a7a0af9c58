"""Puts its pair of pictures into the demo's preset: `python -m benchmarks.pictured`.

Of a seed and a prompt that its search did not see; the preset's numbers, and so its id, stay.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .cells import Cell
from .loading import ROOT, load_decoder, load_model, pack

PRESET = ROOT / "demo" / "presets" / "Demo flow 6 steps.safetensors"
PROMPT = "astronaut, warm"


def main() -> None:
    """Sample both pictures and write the file anew."""
    preset = pack("presets.store").read(PRESET)
    cell = Cell("demo_flow", load_model("demo_flow"), preset.info.guidance, 1, 1, (PROMPT,))
    states = cell.measure(lambda trial: {
        "picture": trial.solver(preset.solver, "preset").ends,
        "reference_picture": trial.reference})
    info = replace(preset.info, **{name: text(found) for name, found in states.items()})
    PRESET.write_bytes(pack("presets.file").dump(replace(preset, info=info)))


@torch.inference_mode()
def text(states: Tensor) -> str:
    """The first picture as a preset holds it."""
    pictures = pack("nodes.pictures")
    pixels = load_decoder("demo_flow")(states)[0].movedim(0, -1)
    return pack("presets.pictures").picture_text(pictures.jpeg_of(pictures.image_of(pixels)))


if __name__ == "__main__":
    main()
