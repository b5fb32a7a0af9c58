"""Journals of running searches: what lets a search that was killed go on where it was.

A journal is one file in a folder of its own below the presets, found by all that its search
depends on. It is written record by record (journal_file.py) and removed when the search has its
presets. A second search of the same kind goes without. Links and files that are not ours are
never followed nor read, and neither number nor size of journals grows without bound.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from itertools import takewhile
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import torch
from torch import Tensor

from ..solver_search.records import Meter, Records, State, Values
from ..solver_search.search import GradientError, SearchStopped
from .comfy_bridge.memory import Room
from .journal_file import MOST_BYTES, BrokenRecord, Log, size_of
from .saving import reason
from .version import VERSION

FOLDER, SUFFIX = ".journals", ".journal"
FORMAT = 1
MOST_JOURNALS, MOST_IN_ALL = 8, 2**32  # the oldest go first
OLD = 30 * 24 * 3600.0  # seconds
LEAST_FREE, SMALL = 2**30, 2**20  # bytes that stay free on the disk, but for records below
MOST_CALLS = 2**53  # of the model, in a header
SAME = 1e-6  # relative: other machines add in another order
BEGUN = "begun"
ENDINGS = {"failed": GradientError, "ended": SearchStopped}
UNKEPT = "No journal of this search is kept"
log = logging.getLogger("solver-search")


class Standing(Enum):
    """What has become of the last search of a kind: its journal is gone or never was, waits for
    the search to go on, or is being written."""

    NONE, WAITING, RUNNING = range(3)


class InUse(OSError):
    """Another search has the journal."""


class OtherSearch(BaseException):
    """A journal's records are not those of this search; no handler of a model's errors is meant.
    """


class Journal(Records):
    """The records of one search, in a file.

    Args:
        file: open, of this search.
        folder: where it lies.

    `room` says how many pictures a model call holds, which is part of what a search depends on.
    `finished` is set by whoever
    needs the journal no more.
    """

    def __init__(self, file: Log, folder: Path) -> None:
        self.file, self.folder, self.room = file, folder, Room()
        self.place = 1  # behind the first record, that of the key
        self.inside = self.again = self.breaking = self.finished = False
        self.trouble = ""

    @property
    def replaying(self) -> bool:
        """Whether records of an earlier search are being given back."""
        return self.place < len(self.file.entries) and not self.again

    @property
    def spent(self) -> int:
        """Model calls that the records stand for."""
        latest: dict[float, float] = {}
        for entry in self.file.entries[1:]:
            state = entry.facts.get("state") or {}
            latest[state.get("steps", 0)] = state.get("calls", 0)
        return int(sum(latest.values()))

    def kept(self, name: str, make: Callable[[], Values], meter: Meter | None = None,
             about: Iterable[Tensor] = (), *, own: bool = False) -> Values:
        """See Records.

        Raises:
            OtherSearch: if the next record is that of something else.
        """
        if self.inside:
            return make()
        self.inside = True
        try:
            return self._kept(name, make, meter or self.meter, _marks(about), own)
        finally:
            self.inside = self.again = False

    def _kept(self, name: str, make: Callable[[], Values], meter: Meter | None,
              marks: list[float], own: bool) -> Values:
        if not self.replaying:
            values = make()
            self._append(name, meter, marks, values, own=own)
            return values
        facts = self.file.entries[self.place].facts
        if facts["name"] in ENDINGS:
            self.breaking = True
            self._taken(meter)
            raise ENDINGS[facts["name"]](str(facts["said"]))
        spends = set() if meter is None else meter.state().keys()
        if facts["name"] != name or not (_alike(facts["marks"], marks)
                                         and spends <= facts["state"].keys()):
            raise OtherSearch(f"found {facts['name']!r} where {name!r} was expected")
        if facts["whole"]:
            try:
                values = self.file.payload(self.file.entries[self.place])
            except BrokenRecord:
                self.file.cut(self.place)
                return self._kept(name, make, meter, marks, own)
        else:  # it was too large to be kept
            self.again = True
            values = make()
        self._taken(meter)
        return values

    def _taken(self, meter: Meter | None) -> None:
        facts = self.file.entries[self.place].facts
        self.place, self.again, self.room.most = self.place + 1, False, facts["most"]
        if meter is not None:
            meter.restore(facts["state"])

    def broken(self, error: Exception, meter: Meter) -> None:
        """See Records."""
        if self.breaking:
            self.breaking = False
            return
        name = next(name for name, kind in ENDINGS.items() if isinstance(error, kind))
        self._append(name, meter, [], {}, said=str(error))

    def clear(self) -> None:
        """Begin again, without records."""
        self.file.cut(1)
        self.place = 1

    def _append(self, name: str, meter: Meter | None, marks: list[float], values: Values, *,
                own: bool = False, **more: str) -> None:
        if self.trouble:
            return
        state: State = {} if meter is None else meter.state()
        whole = not own and self._fits(size_of(values))
        try:
            self.file.append({"name": name, "marks": marks, "state": dict(state), "whole": whole,
                              "most": self.room.most, **more}, values if whole else {})
        except OSError as error:
            self.trouble = reason(error)
            log.warning("The journal of this search could not be written: %s", self.trouble)
        self.place = len(self.file.entries)

    def _fits(self, size: int) -> bool:
        """Whether file and disk have room for so many bytes; the last half is for few ones."""
        if size < SMALL:
            return self.file.end + size <= 2 * MOST_BYTES
        return (self.file.end + size <= MOST_BYTES
                and shutil.disk_usage(self.folder).free > LEAST_FREE + size)


@contextlib.contextmanager
def opened(folder: Path | None, key: str, warnings: list[str]) -> Iterator[Records]:
    """The journal of a search, for as long as it runs.

    Args:
        folder: of all journals; None: none is kept.
        key: of all that the search depends on.
        warnings: gets a sentence where there is no journal, or it could not be written.
    """
    if folder is None:
        yield Records()
        return
    path = folder / (key + SUFFIX)
    try:
        journal = _journal(path, key)
    except OSError as error:
        warnings.append(f"{UNKEPT}: {reason(error)}. If it is interrupted, it begins anew.")
        yield Records()
        return
    try:
        yield journal
    finally:
        os.close(journal.file.file)
        if journal.finished:
            path.unlink(missing_ok=True)
        if journal.trouble:
            warnings.append(f"{UNKEPT} further: {journal.trouble}. Had it been interrupted, it "
                            "would have gone on from an earlier point.")


def _journal(path: Path, key: str) -> Journal:
    """The journal, open and begun.

    Raises:
        OSError: see `_open`; also where the disk does not even take its first record.
    """
    file = _open(path)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, file)
        journal = Journal(_begun(Log(file), key), path.parent)
        stack.pop_all()
    return journal


def standing(folder: Path, key: str) -> Standing:
    """What has become of the last search of a kind.

    Args:
        folder, key: see `opened`.
    """
    path = folder / (key + SUFFIX)
    if not os.path.lexists(path):
        return Standing.NONE
    try:
        file = _open(path)
    except InUse:
        return Standing.RUNNING
    except OSError:
        return Standing.NONE
    try:
        found = Log(file)
        goes_on = len(found.entries) > 1 and _is_of(found, key)
        return Standing.WAITING if goes_on else Standing.NONE
    finally:
        os.close(file)


def _begun(file: Log, key: str) -> Log:
    """The same, as far as its records say what ours do; one of another search, or of another
    version of us, begins anew."""
    if not _is_of(file, key):
        file.cut(0)
        file.append(_first(key), {})
    sound = sum(1 for _ in takewhile(_is_record, (e.facts for e in file.entries[1:])))
    if 1 + sound < len(file.entries):
        file.cut(1 + sound)
    return file


def _is_record(facts: Mapping[str, Any]) -> bool:
    """Whether a header holds what we write, each of its kind."""
    marks, state = facts.get("marks"), facts.get("state")
    return (isinstance(facts.get("name"), str) and isinstance(facts.get("said", ""), str)
            and (facts["name"] not in ENDINGS or "said" in facts)
            and isinstance(marks, list) and all(type(mark) is float for mark in marks)
            and isinstance(state, dict) and all(map(_is_count, state.values()))
            and _is_count(facts.get("most")) and isinstance(facts.get("whole"), bool))


def _is_count(value: Any) -> bool:  # noqa: ANN401  JSON
    return type(value) in (int, float) and 0 <= value <= MOST_CALLS


def _is_of(file: Log, key: str) -> bool:
    """Whether it is the journal of this search, written by this version of us."""
    first = file.entries[0].facts if file.entries else {}
    return all(first.get(name) == value for name, value in _first(key).items())


def _first(key: str) -> dict[str, str | int]:
    return {"name": BEGUN, "key": key, "format": FORMAT, "made by": VERSION,
            "torch": str(torch.__version__)}


def _open(path: Path) -> int:
    """The file, ours alone until it is closed.

    Raises:
        OSError: the disk refuses, another search has it, or what lies there is not ours.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not S_ISDIR(path.parent.lstat().st_mode):
        raise OSError(f"{path.parent.name} is not a folder of its own")
    _tidy(path)
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    file = os.open(path, flags, 0o600)
    try:
        stat = os.fstat(file)
        if not S_ISREG(stat.st_mode) or stat.st_nlink > 1 or stat.st_size > 3 * MOST_BYTES:
            raise OSError("what lies in its place is not a journal of ours")
        if not _locked(file):
            raise InUse("another search of the same kind is running")
    except OSError:
        os.close(file)
        raise
    return file


def _locked(file: int) -> bool:
    """Take the file for us until it is closed, however that comes."""
    try:
        if os.name == "nt":
            import msvcrt
            os.lseek(file, 4 * MOST_BYTES, os.SEEK_SET)  # a byte that is never there
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _tidy(wanted: Path) -> None:
    """Remove old journals, and the oldest where there are too many; never one that is in use."""
    found = sorted(_journals(wanted.parent), key=lambda pair: -pair[1].st_mtime)
    count, size = 1, 0
    for path, stat in found:
        if path == wanted:
            size += stat.st_size
            continue
        count, size = count + 1, size + stat.st_size
        if count > MOST_JOURNALS or size > MOST_IN_ALL or time.time() - stat.st_mtime > OLD:
            _remove(path)


def _journals(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.iterdir():
        stat = path.lstat()
        if path.suffix == SUFFIX and S_ISREG(stat.st_mode):
            yield path, stat


def _remove(path: Path) -> None:
    file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        unused = _locked(file)
    finally:
        os.close(file)
    if unused:
        path.unlink(missing_ok=True)


def _marks(about: Iterable[Tensor]) -> list[float]:
    """A few sums that tell numbers apart, but not their last digits."""
    found = []
    for tensor in about:
        whole = tensor.detach().double().reshape(-1)
        found += [float(whole.sum()), float(whole.abs().sum()),
                  float((whole * torch.arange(1, len(whole) + 1)).sum())]
    return found


def _alike(marks: list[float], others: list[float]) -> bool:
    return len(marks) == len(others) and all(
        math.isclose(a, b, rel_tol=SAME, abs_tol=SAME) for a, b in zip(marks, others, strict=True))
