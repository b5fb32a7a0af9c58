"""How many pictures a search's model calls hold, and how many are asked for again.

Two requests are the same where state, noise level, start and CFG are. Model calls are counted, so
the machine and what else it does are no matter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from .cells import Cell
from .loading import load_model, pack, search_prompts
from .quality import RESULTS

MODEL, GUIDANCE, EFFORT, STEPS, BATCH = "demo_flow", 3.0, "quick", (6, 8), 8
STAGES = {"": "timing, the starts, the teacher's length", "teacher": "teacher",
          "known": "known samplers", "rows": "rows", "refine": "refinement",
          "measuring": "measuring, also at other CFG scales"}
HEAD = f"""# What is asked

`{EFFORT}` searches with the default method on {MODEL}, CFG {GUIDANCE:g}, at most {BATCH} pictures
a call. *Again*: pictures that were asked for before, with the same state, noise level, start, CFG.

| steps | phase | pictures | again | calls x pictures |
|---|---|---|---|---|
"""
Row = dict[str, Any]


class Asked:
    """What was asked for, by phase."""

    def __init__(self) -> None:
        self.stage, self.before = "", set()
        self.pictures, self.again = Counter(), Counter()
        self.sizes: dict[str, Counter] = defaultdict(Counter)

    def note(self, session: Any, x: Tensor, sigma: Tensor, items: Tensor) -> None:  # noqa: ANN401
        """One model call."""
        keys = [_key(session, *one) for one in zip(x, sigma.expand(len(x)), items, strict=True)]
        self.again[self.stage] += sum(key in self.before for key in keys)
        self.pictures[self.stage] += len(keys)
        self.sizes[self.stage][len(keys)] += 1
        self.before.update(keys)

    def rows(self, steps: int) -> list[Row]:
        """A row a phase."""
        return [{"steps": steps, "stage": stage, "pictures": self.pictures[stage],
                 "again": self.again[stage],
                 "calls": {str(size): count for size, count in sorted(
                     self.sizes[stage].items(), reverse=True)}}
                for stage in STAGES if self.pictures[stage]]


def _key(session: Any, x: Tensor, sigma: Tensor, item: Tensor) -> tuple:  # noqa: ANN401
    start = int(item if session.order is None else session.order[item])
    scale = float(session.wrap.cfg if session.scales is None else session.scales[item])
    state = hashlib.sha256(x.detach().contiguous().numpy().tobytes()).digest()
    return state, float(sigma), start, scale


@contextmanager
def noted(asked: Asked) -> Iterator[None]:
    """While it lasts all sessions' model calls are noted."""
    session = pack("nodes.comfy_bridge.session").Session
    denoise = session.denoise

    def counted(self: Any, x: Tensor, sigma: Tensor, items: Tensor) -> Tensor:  # noqa: ANN401
        asked.note(self, x, sigma, items)
        return denoise(self, x, sigma, items)

    session.denoise = counted
    try:
        yield
    finally:
        session.denoise = denoise


def of_search(steps: int) -> list[Row]:
    """Those of one search and its measuring."""
    asked, config = Asked(), pack("solver_search.config").SearchConfig(steps, "fit", EFFORT)
    cell = Cell(MODEL, load_model(MODEL), GUIDANCE, BATCH, batch=BATCH)

    def listen(event: Any) -> None:  # noqa: ANN401
        asked.stage = event.stage or asked.stage

    def measuring(calls: int) -> None:
        asked.stage = "measuring"

    with noted(asked):
        pack("nodes.search_job").Job(
            cell.guider(search_prompts(MODEL)), cell.latent, config, GUIDANCE, "asked",
            on_event=listen, on_measured=measuring).run()
    return asked.rows(steps)


def table(rows: list[Row]) -> str:
    """asked.md."""
    return HEAD + "".join(
        f"| {r['steps']} | {STAGES[r['stage']]} | {r['pictures']:,} | {r['again']:,} | "
        f"{', '.join(f'{count} x {size}' for size, count in r['calls'].items())} |\n"
        for r in rows)


def main(arguments: list[str], results: Path = RESULTS) -> None:
    """Count, and write asked.json and asked.md."""
    argparse.ArgumentParser("run.py bench asked", description=__doc__).parse_args(arguments)
    rows = [row for steps in STEPS for row in of_search(steps)]
    (results / "asked.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    (results / "asked.md").write_text(table(rows))
