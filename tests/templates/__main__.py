"""`python run.py templates`: walk every official template, write it into docs/compatibility.md."""

from __future__ import annotations

import logging
import sys
import warnings

from demo.comfyui import load_comfy

from .installed import templates
from .judge import NONE, judge
from .page import PAGE, lost, said, section, with_section


def main() -> int:
    """Walk all; a lost path is said, and the exit status is then 1."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", UserWarning)  # ComfyUI's own, of a sampler tried for noise
    load_comfy("nodes")
    verdicts = {name: judge(graph) for name, graph in templates()}
    before = PAGE.read_text("utf-8")
    gone = lost(said(before), verdicts)
    PAGE.write_text(with_section(before, section(verdicts)), "utf-8")
    served = sum(one.path != NONE for one in verdicts.values())
    sys.stdout.write("".join(f"LOST  {line}\n" for line in gone))
    sys.stdout.write(f"{served} of {len(verdicts)} templates have a path; "
                     f"{PAGE.name} is written.\n")
    return int(bool(gone))


if __name__ == "__main__":
    sys.exit(main())
