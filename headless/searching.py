"""One search, from files to presets: what the Search Solver node does, without a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..nodes.comfy_bridge.memory import is_out_of_memory
from ..nodes.comfy_bridge.screen import Interrupted, Screen
from ..nodes.live import LIVE
from ..nodes.report import AGAIN, report_found
from ..nodes.said import Said
from ..nodes.saving import FolderError, Saving
from ..nodes.search import Search
from ..nodes.search_job import Estimate, Job
from ..nodes.telling import Telling
from ..presets.fields import PresetError
from ..presets.preset import Preset
from ..presets.store import LIBRARY, SUFFIX
from ..solver_search.search import SearchStopped
from . import record
from .asked import Asked
from .exits import Exit, Refusal, Stopped
from .loading import Loaded
from .meter import Meter
from .record import Outcome
from .telling import Teller
from .there import Filed, begun, files, there

NODE = "headless"


class Console(Screen):
    """The node's screen, whose states go to a teller; its pictures are those of the presets."""

    def __init__(self, loaded: Loaded, told: Teller) -> None:
        super().__init__(loaded.model, NODE, loaded.vae)
        self.previewer, self.told = None, told

    def send(self, state: dict[str, Any]) -> None:
        """See Screen."""
        self.told.progress(state)

    def progress(self, done: float, total: float) -> None:
        """See Screen: the teller has its own."""

    def line(self, text: str) -> None:
        """See Screen: the teller has the state."""


class Announced(Saving):
    """The node's saving, which tells of every file written.

    Args:
        folder: where presets go.
        told: of the file, its preset's id, and whether it is unfinished.
    """

    def __init__(self, folder: Path, told: Teller) -> None:
        super().__init__(folder, [path.name for path in LIBRARY.glob(f"*{SUFFIX}")],
                         figures=False)
        self.told, self.known = told, {}

    def keep(self, preset: Preset) -> None:
        """See Saving."""
        super().keep(preset)
        asked, news = preset.info.name, (preset.id, preset.info.state)
        if asked not in self.troubles and self.known.get(asked) != news:
            self.known[asked] = news
            self.told.tell("saved", steps=preset.solver.nfe, file=self.file(asked), id=preset.id,
                           state=preset.info.state or "measured")


def estimated(asked: Asked, told: Teller) -> Outcome:
    """What the search would cost; the model is timed, nothing is searched."""
    missing = _survey(asked, told)[1]
    if not missing:
        return Outcome("found", Exit.DONE, Said("Everything is there already; nothing to do."))
    found: list[Estimate] = []
    job = Job(asked.guider, asked.latent, replace(asked.config, steps=missing[0]),
              float(asked.guider.cfg), "estimate", {n: f"estimate {n}" for n in missing[1:]},
              on_estimate=found.append, stop=lambda: bool(found))
    with refusing(), contextlib.suppress(SearchStopped):
        job.search()
    estimate, = found
    calls = estimate.calls + estimate.proof
    told.tell("estimate", calls=calls, seconds=estimate.seconds, batch=estimate.batch,
              memory_bytes=int(estimate.memory), steps=missing)
    said = Said(f"This would take {estimate.text}. Nothing was searched.")
    return Outcome("estimated", Exit.DONE, said, calls={"estimated": calls})


def search(asked: Asked, told: Teller, meter: Meter) -> tuple[Outcome, str]:
    """Search what is missing; how it ended, and the base of the names.

    Raises:
        Refusal: in words; what was found before is on the disk.
    """
    base = record.free_base(asked.options.out, asked.name, asked.setting)
    old, missing, left = _survey(asked, told)
    if not missing:
        first, *others = [one.preset for one in old.values()]
        said = report_found(replace(first, siblings=tuple(others)))
        anew = said.verdict.replace(AGAIN, "Use --again to search anew.")
        outcome = Outcome("found", Exit.DONE, replace(said, verdict=anew))
    else:
        outcome = _search(asked, told, meter, missing, base, left)
    presets = [*outcome.presets, *((one.preset, one.path.name) for one in old.values())]
    order = list(asked.numbers)
    presets.sort(key=lambda pair: order.index(pair[0].solver.nfe))
    return replace(outcome, presets=presets), base


def _survey(asked: Asked, told: Teller) -> tuple[dict[int, Filed], list[int], dict[str, Path]]:
    """Of the folder: what is there, what is missing, and what an earlier run of the search for
    the missing has left unfinished."""
    filed = files(asked.options.out)
    found = {} if asked.options.again else there(filed, asked.key, asked.numbers)
    missing = [n for n in asked.numbers if n not in found]
    if found:
        names = [one.path.name for one in found.values()]
        told.tell("found", files=names, missing=missing,
                  lines=[f"There already: {name}" for name in names] if missing else [])
    return found, missing, begun(filed, asked.key(missing)) if missing else {}


def _search(asked: Asked, told: Teller, meter: Meter, missing: Sequence[int], base: str,
            left: dict[str, Path]) -> Outcome:
    saving = Announced(asked.options.out, told)
    config = replace(asked.config, steps=missing[0])
    with refusing():
        saving.ready()
        names = {}
        for n in missing:
            name = asked.named(base, n)
            names[n] = saving.take_over(left[name]) if name in left else saving.free(name)
        telling = Telling(LIVE, Console(asked.loaded, told), names, config.method)
        network = asked.loaded.model.model.diffusion_model
        with meter.watching(network), Search(telling, saving) as running:
            members, said = running.run(asked.guider, asked.latent, config,
                                        float(asked.guider.cfg), names, asked.key(missing))
    presets = [(m.preset, m.preset.info.name + SUFFIX) for m in members]
    calls = {"estimated": telling.state["total"], "searched": telling.searched,
             "measured": telling.measured}
    state = {"failed": "broke_off"}.get(telling.state["state"], telling.state["state"])
    code = {"broke_off": Exit.EARLY, "stopped": asked.options.stopped_exit}.get(state, Exit.DONE)
    return Outcome(state, Exit.SAVING if saving.troubles else code, said, presets, calls)


@contextmanager
def refusing() -> Iterator[None]:
    """What a search raises, as a refusal with its exit code."""
    try:
        yield
    except FolderError as error:
        raise Refusal(Exit.SAVING, str(error)) from error
    except PresetError as error:
        raise Refusal(Exit.REQUEST, str(error)) from error
    except Interrupted as error:
        raise Stopped from error
    except (RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
        code = Exit.MEMORY if is_out_of_memory(error) else Exit.MODEL
        raise Refusal(code, str(error).strip() or type(error).__name__) from error


def stop() -> bool:
    """Ask the running search to end and keep its best; False: none is running."""
    return LIVE.stop(NODE)
