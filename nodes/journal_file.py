"""An append-only file of records: numbers with a name, each with its checksum.

    header   one line: the record's facts as JSON, a tab, the line's own checksum
    payload  the bytes of its tensors one after the other; their kind and shape are in the header

A record that was half written when the power went is the last one, and is cut off. Only plain
numbers are read: nothing in a file is ever run, and no size in it is trusted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_BYTES = 2**31  # of a file, and of a record; answers beyond it are not kept
MOST_HEADER = 2**14
MOST_TENSORS = 64
SYNC_EVERY = 2.0  # seconds: a disk takes 20 ms, and as much work is lost with its power at most
log = logging.getLogger("solver-search")
KINDS = {str(kind).removeprefix("torch."): kind for kind in (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool)}


class BrokenRecord(ValueError):
    """A record that is not what was written."""


@dataclass(frozen=True)
class Entry:
    """A record in a file.

    Args:
        facts: what the header says.
        place: where the payload begins.
    """

    facts: Mapping[str, Any]
    place: int

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.place + self.facts["bytes"]


class Log:
    """An open file of records.

    Args:
        file: descriptor, for reading and writing.
    """

    def __init__(self, file: int) -> None:
        self.file, self.synced = file, 0.0
        self.entries = self._whole()

    @property
    def end(self) -> int:
        """Where the last whole record ends."""
        return self.entries[-1].end if self.entries else 0

    def append(self, facts: Mapping[str, Any], values: Mapping[str, Tensor]) -> None:
        """Write a record behind the last one.

        Raises:
            OSError: the disk refuses; the file then ends where it did.
        """
        parts, digest = [_bytes_of(t) for t in values.values()], hashlib.sha256()
        for part in parts:
            digest.update(part)
        whole = {**facts, "bytes": sum(map(len, parts)), "sum": digest.hexdigest(),
                 "tensors": [[name, str(t.dtype).removeprefix("torch."), list(t.shape)]
                             for name, t in values.items()]}
        header = _line(whole)
        try:
            os.lseek(self.file, self.end, os.SEEK_SET)
            for part in (memoryview(header), *parts):
                while part:
                    part = part[os.write(self.file, part):]
            self._sync()
        except OSError:
            self.cut(len(self.entries))
            raise
        self.entries.append(Entry(whole, self.end + len(header)))

    def _sync(self) -> None:
        """What a killed process wrote is there; what a disk without power had not written may
        not be, so it is waited for now and then."""
        if time.monotonic() - self.synced >= SYNC_EVERY:
            os.fsync(self.file)
            self.synced = time.monotonic()

    def payload(self, entry: Entry) -> dict[str, Tensor]:
        """A record's tensors.

        Raises:
            BrokenRecord: other bytes than were written.
        """
        data = self._read(entry.place, entry.facts["bytes"])
        if hashlib.sha256(data).hexdigest() != entry.facts["sum"]:
            raise BrokenRecord("its checksum is another")
        found, place = {}, 0
        for name, kind, shape in entry.facts["tensors"]:
            count = math.prod(shape)
            found[name] = torch.frombuffer(data, dtype=KINDS[kind], count=count,
                                           offset=place).reshape(shape).clone() if count else (
                torch.zeros(shape, dtype=KINDS[kind]))
            place += count * KINDS[kind].itemsize
        return found

    def cut(self, count: int) -> None:
        """Keep the first so many records, as far as the disk lets us: half a record at the end
        is cut off when it is read again."""
        self.entries = self.entries[:count]
        try:
            os.ftruncate(self.file, self.end)
        except OSError as error:
            log.warning("A journal could not be cut: %s", error)

    def _whole(self) -> list[Entry]:
        """All whole records; what lies behind them is cut off."""
        size, self.entries = os.fstat(self.file).st_size, []
        while (entry := self._entry(size)) is not None:
            self.entries.append(entry)
        if self.end < size:
            self.cut(len(self.entries))
        return self.entries

    def _entry(self, size: int) -> Entry | None:
        """The next record; None: there is no whole one."""
        line, _, _ = self._read(self.end, min(MOST_HEADER, size - self.end)).partition(b"\n")
        text, _, mark = line.rpartition(b"\t")
        if mark != hashlib.sha256(text).hexdigest()[:16].encode():
            return None
        try:
            facts = json.loads(text)
            entry = Entry(facts, self.end + len(line) + 1)
            return entry if _is_sound(facts) and entry.end <= size else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def _read(self, place: int, count: int) -> bytearray:
        os.lseek(self.file, place, os.SEEK_SET)
        found = bytearray()
        while len(found) < count and (part := os.read(self.file, count - len(found))):
            found += part
        return found


def size_of(values: Mapping[str, Tensor]) -> int:
    """Bytes of a payload."""
    return sum(t.numel() * t.element_size() for t in values.values())


def _bytes_of(t: Tensor) -> memoryview:
    flat = t.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())


def _line(facts: Mapping[str, Any]) -> bytes:
    text = json.dumps(facts).encode()
    return text + b"\t" + hashlib.sha256(text).hexdigest()[:16].encode() + b"\n"


def _is_sound(facts: Mapping[str, Any]) -> bool:
    """Whether the tensors that a header promises are as large as its payload."""
    tensors = facts["tensors"]
    plain = all(isinstance(name, str) and all(type(n) is int and n >= 0 for n in shape)
                for name, _, shape in tensors)
    if not plain or len(tensors) > MOST_TENSORS or not 0 <= facts["bytes"] <= MOST_BYTES:
        return False
    return facts["bytes"] == sum(math.prod(shape) * KINDS[kind].itemsize
                                 for _, kind, shape in tensors)
