"""`python run.py matrix`: try every cell and write docs/compatibility.md (a few minutes)."""

from __future__ import annotations

import logging
import sys

import torch

from demo.comfyui import load_comfy

from .families import FAMILIES
from .features import FEATURES
from .other_ways import OTHER_WAYS
from .outcome import CellError
from .table import PAGE, Cells, family_cells, feature_cells, page, refused, way_cells


def main() -> int:
    """Run all; the exit status is 1 if a cell gives a wrong picture."""
    logging.disable(logging.WARNING)
    load_comfy("nodes")
    load_comfy("comfy.utils").set_progress_bar_enabled(False)
    torch.set_num_threads(1)
    seen: list[Cells] = [{}, {}, {}]
    wrong = []
    for names, one, cells in zip((FAMILIES, OTHER_WAYS, FEATURES),
                                 (family_cells, way_cells, feature_cells), seen, strict=True):
        for name in names:
            sys.stdout.write(f"{name}\n")
            try:
                cells.update(one(name))
            except CellError as error:
                wrong.append(f"WRONG  {error}")
    for line in [*wrong, *(f"{key}: {text}" for cells in seen
                           for key, text in refused(cells).items())]:
        sys.stdout.write(line + "\n")
    if not wrong:
        PAGE.write_text(page(*seen))
        sys.stdout.write(f"{sum(map(len, seen))} cells; {PAGE.name} is written.\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
