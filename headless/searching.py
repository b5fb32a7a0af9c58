"""One search, from files to presets: what the Search Solver node does, without a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..nodes.comfy_bridge.memory import is_out_of_memory
from ..nodes.comfy_bridge.screen import Interrupted, Screen
from ..nodes.journals import FOLDER
from ..nodes.left import goes_on
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
from ..solver_search.ranks import Ranks
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


class Told(Telling):
    """The node's telling, of which a teller hears what happens once."""

    def resumed(self, calls: int) -> None:
        """See Telling."""
        super().resumed(calls)
        self.screen.told.tell("resumed", calls=calls)


class Survey(NamedTuple):
    """What is there of a request, and what is to be searched.

    Args:
        base: of all names.
        found: measured presets by their number of steps.
        missing: the other numbers.
        left: files, by their names, that an earlier run of the search for these has left.
        journals: folder of its journal; one for each job, so that none pushes another out.
    """

    base: str
    found: dict[int, Filed]
    missing: list[int]
    left: dict[str, Path]
    journals: Path


def survey(asked: Asked, told: Teller) -> Survey:
    """Look what is there, and tell. A search that was killed goes on as a whole, also where some
    of its presets are measured already: they come out of its journal."""
    folder, again = asked.options.out, asked.options.again
    base = record.free_base(folder, asked.name, asked.setting)
    filed, journals = files(folder), folder / FOLDER / base
    goes_on = (journals / asked.journal(asked.numbers)).exists()
    found = {} if again or goes_on else there(filed, asked.key, asked.numbers)
    missing = [n for n in asked.numbers if n not in found]
    if found:
        names = [one.path.name for one in found.values()]
        told.tell("found", files=names, missing=missing,
                  lines=[f"There already: {name}" for name in names] if missing else [])
    left = begun(filed, asked.key(missing), measured=not again) if missing else {}
    return Survey(base, found, missing, left, journals)


def estimated(asked: Asked, told: Teller) -> Outcome:
    """What the search would cost; the model is timed, nothing is searched."""
    missing = survey(asked, told).missing
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


def search(asked: Asked, told: Teller, meter: Meter, ranks: Ranks) -> tuple[Outcome, str]:
    """Search what is missing; how it ended, and the base of the names.

    Args:
        ranks: the processes that share the search, of which this is the first.

    Raises:
        Refusal: in words; what was found before is on the disk.
    """
    seen = survey(asked, told)
    _agreed(ranks, asked.numbers, seen.missing)
    if not seen.missing:
        first, *others = [one.preset for one in seen.found.values()]
        said = report_found(replace(first, siblings=tuple(others)))
        anew = said.verdict.replace(AGAIN, "Use --again to search anew.")
        outcome = Outcome("found", Exit.DONE, replace(said, verdict=anew))
    else:
        outcome = _search(asked, told, meter, seen, ranks)
    old = ((one.preset, one.path.name) for one in seen.found.values())
    order = list(asked.numbers)
    presets = sorted((*outcome.presets, *old), key=lambda pair: order.index(pair[0].solver.nfe))
    return replace(outcome, presets=presets), seen.base


def help_search(asked: Asked, ranks: Ranks, stop: Callable[[], bool]) -> int:
    """Search as one of those that are not the first: that one writes and speaks.

    Args:
        stop: asked before every model call.

    Returns:
        the exit code.
    """
    missing = _agreed(ranks, asked.numbers, ())
    if not missing:
        return int(Exit.DONE)
    first, *others = missing
    job = Job(asked.guider, asked.latent, replace(asked.config, steps=first),
              float(asked.guider.cfg), "helping", {n: f"helping {n}" for n in others},
              asked.key(missing), stop=stop, ranks=ranks)
    with refusing():
        job.run()
    return asked.options.stopped_exit if job.stopped else int(
        Exit.EARLY if job.broken else Exit.DONE)


def _agreed(ranks: Ranks, numbers: Sequence[int], missing: Sequence[int]) -> list[int]:
    """Numbers of steps that the first process says are missing."""
    return [n for n in numbers if ranks.told(int(n in missing))]


def _search(asked: Asked, told: Teller, meter: Meter, seen: Survey, ranks: Ranks) -> Outcome:
    saving = Announced(asked.options.out, told)
    config = replace(asked.config, steps=seen.missing[0])
    with refusing():
        saving.ready()
        names = {}
        for n in seen.missing:
            name = asked.named(seen.base, n)
            old = seen.left.get(name)
            taken = old is not None and goes_on(saving, old)
            names[n] = old.stem if taken else saving.free(name)
        telling = Told(LIVE, Console(asked.loaded, told), names, config.method)
        network = asked.loaded.model.model.diffusion_model
        with meter.watching(network), Search(telling, saving, seen.journals, ranks) as running:
            members, said = running.run(asked.guider, asked.latent, config,
                                        float(asked.guider.cfg), names, asked.key(seen.missing))
    _clear(seen.journals)
    presets = [(m.preset, m.preset.info.name + SUFFIX) for m in members]
    calls = {"estimated": telling.state["total"], "searched": telling.searched,
             "measured": telling.measured}
    state = {"failed": "broke_off"}.get(telling.state["state"], telling.state["state"])
    code = {"broke_off": Exit.EARLY, "stopped": asked.options.stopped_exit}.get(state, Exit.DONE)
    return Outcome(state, Exit.SAVING if saving.troubles else code, said, presets, calls)


def _clear(journals: Path) -> None:
    """Remove the folders in which no journal is left."""
    with contextlib.suppress(OSError):
        journals.rmdir()
        journals.parent.rmdir()


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
