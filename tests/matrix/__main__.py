"""`python run.py matrix`: try every cell and write docs/compatibility.md (a minute or two)."""

from __future__ import annotations

import logging
import sys

import torch

from demo.comfyui import load_comfy

from .families import FAMILIES
from .features import FEATURES
from .outcome import CellError
from .table import PAGE, family_cells, feature_cells, page, refused


def main() -> int:
    """Run all; the exit status is 1 if a cell gives a wrong picture."""
    logging.disable(logging.WARNING)
    load_comfy("nodes")
    load_comfy("comfy.utils").set_progress_bar_enabled(False)
    torch.set_num_threads(1)
    families, features, wrong = {}, {}, []
    for names, one, cells in ((FAMILIES, family_cells, families),
                              (FEATURES, feature_cells, features)):
        for name in names:
            sys.stdout.write(f"{name}\n")
            try:
                cells.update(one(name))
            except CellError as error:
                wrong.append(f"WRONG  {error}")
    for line in [*wrong, *(f"{key}: {text}" for key, text in
                           {**refused(families), **refused(features)}.items())]:
        sys.stdout.write(line + "\n")
    if not wrong:
        PAGE.write_text(page(families, features))
        sys.stdout.write(f"{len(families) + len(features)} cells; {PAGE.name} is written.\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
