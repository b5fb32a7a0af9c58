"""The command `search` for one model, from its request to its report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..nodes.comfy_bridge.folders import own_folder
from ..nodes.said import Said
from ..nodes.saving import Saving
from ..presets.store import LIBRARY, SUFFIX
from ..solver_search.ranks import Ranks
from . import record
from .asked import Asked, ask
from .clock import Clock
from .exits import Exit, Refusal
from .meter import Meter
from .ranks import ALONE, Place, joined
from .record import Outcome
from .searching import estimated, help_search, refusing, search, stop
from .signals import Listener
from .telling import Teller
from .there import files, there


def run_job(options: argparse.Namespace, told: Teller, clock: Clock,
            listener: Listener, here: Place = ALONE) -> int:
    """Do one job and tell how it ended.

    Args:
        here: which of several processes this is.

    Returns:
        the exit code.

    Raises:
        Refusal: in words; once the model is loaded, the report says it, too.
    """
    versions = record.versions()
    told.tell("start", versions=versions, request=record.request_of(options), lines=[
        f"ComfyUI {versions['comfyui']} on {versions['device_name']}. Loading "
        f"{Path(options.checkpoint or options.model or '').name} ..."])
    with clock.part("loading"):
        asked = ask(options)
    told.tell("model", **record.about_model(asked.known))
    with joined(here) as ranks:
        if not here.first:
            listener.stop = listener.note
            return 0 if options.dry_run else help_search(asked, ranks, lambda: listener.noted)
        listener.stop = stop
        return _first(asked, told, clock, ranks)


def _first(asked: Asked, told: Teller, clock: Clock, ranks: Ranks) -> int:
    """The job of whoever writes and speaks."""
    options, meter = asked.options, Meter()
    with clock.part("search"), _reporting_failure(asked, clock, meter):
        outcome, base = (estimated(asked, told), "") if options.dry_run else (
            search(asked, told, meter, ranks))
    copies = installed(outcome) if options.install else []
    report = {} if options.dry_run else {
        "report": str(_report(asked, outcome, base, clock, meter))}
    said = outcome.said
    done = [f"Report: {path}" for path in report.values()]
    told.tell("end", exit=int(outcome.exit), state=outcome.state, verdict=said.verdict,
              warnings=list(said.warnings), details=list(said.details), installed=copies,
              presets=[file for _, file in outcome.presets], **report,
              lines=[*_lines(outcome), *done])
    return int(outcome.exit)


@contextmanager
def _reporting_failure(asked: Asked, clock: Clock, meter: Meter) -> Iterator[None]:
    """A search that fails leaves a report, too, where anything can be written."""
    try:
        yield
    except Refusal as refusal:
        options, known = asked.options, files(asked.options.out)
        if refusal.code != Exit.SAVING and not options.dry_run:
            found = there(known, asked.key, asked.numbers).values()
            outcome = Outcome("failed", refusal.code, Said(str(refusal)),
                              [(one.preset, one.path.name) for one in found])
            base = record.free_base(options.out, asked.name, asked.setting)
            record.write(options.out / f"{base}.json",
                         record.reported(asked, outcome, clock, meter))
        raise


def _report(asked: Asked, outcome: Outcome, base: str, clock: Clock, meter: Meter) -> Path:
    """The report's file; that of the search that made everything stays."""
    path = asked.options.out / f"{base}.json"
    if outcome.state == "found" and path.exists():
        return path
    return record.write(path, record.reported(asked, outcome, clock, meter))


def _lines(outcome: Outcome) -> list[str]:
    """For people: what is on the disk, and how good it is."""
    said, presets = outcome.said, outcome.presets
    first = [] if outcome.state == "done" else [said.verdict]
    files = [line for preset, file in presets for line in (f"{file}", f"  {preset.promise}")]
    return [*first, *said.warnings, *files]


def installed(outcome: Outcome) -> list[str]:
    """Copy the measured presets into ComfyUI's own folder; names of the copies.

    Raises:
        Refusal: if one cannot be written.
    """
    have = {(one.preset.id, one.preset.info) for one in files(own_folder())}
    new = [preset for preset, _ in outcome.presets
           if not preset.info.state and (preset.id, preset.info) not in have]
    saving = Saving(own_folder(), [path.name for path in LIBRARY.glob(f"*{SUFFIX}")])
    with refusing():
        if new:
            saving.ready()
        for preset in new:
            saving.keep(preset)
    if saving.troubles:
        raise Refusal(Exit.SAVING, f"In {own_folder().name}: "
                      f"{'; '.join(saving.troubles.values())}.")
    return [saving.file(name) for name in saving.ids]
