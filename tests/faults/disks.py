"""Disks and folders that change while a search saves into them; the kernel's own refusals where
it gives them to this process."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from .stage import PRESET, Stage

NOBODY = 65534


class Disk:
    """Something that happens to the folder of presets.

    Args:
        name: in words.
        act: does it.
        unsaved: whether nothing can be saved from then on.
        hopeless: whether ComfyUI cannot go on itself.
        fast: see Fault.
    """

    def __init__(self, name: str, act: Callable[[Stage], None] = lambda stage: None, *,
                 unsaved: bool = False, hopeless: bool = False, fast: bool = False) -> None:
        self.name, self.act, self.unsaved, self.fast = name, act, unsaved, fast
        self.hopeless = hopeless

    def happen(self, stage: Stage) -> None:
        """Now."""
        self.act(stage)

    @contextlib.contextmanager
    def around(self, stage: Stage) -> Iterator[None]:
        """What is put back afterwards."""
        yield


class Full(Disk):
    """No space left, noticed when a file is brought to the disk."""

    on = False

    def happen(self, stage: Stage) -> None:
        """Now."""
        self.on = True

    @contextlib.contextmanager
    def around(self, stage: Stage) -> Iterator[None]:
        """os.fsync refuses while it is on."""
        def while_on(real: Callable[[int], None]) -> Callable[[int], None]:
            def fsync(number: int) -> None:
                if self.on:
                    raise full()
                real(number)
            return fsync
        with patched("os.fsync", while_on):
            yield
        self.on = False


class Limited(Disk):
    """A limit of the process that the kernel holds it to: nothing more may be written at all, or
    no further file be opened."""

    def __init__(self, name: str, limit: int, value: Callable[[], int], **more: Any) -> None:  # noqa: ANN401
        super().__init__(name, **more)
        self.limit, self.value = limit, value

    def happen(self, stage: Stage) -> None:
        """Now."""
        resource.setrlimit(self.limit, (self.value(), resource.getrlimit(self.limit)[1]))

    @contextlib.contextmanager
    def around(self, stage: Stage) -> Iterator[None]:
        """The limit as before."""
        before = resource.getrlimit(self.limit)
        try:
            yield
        finally:
            resource.setrlimit(self.limit, before)


class ReadOnly(Disk):
    """The folder may not be written; root, whom the kernel lets, saves as somebody else."""

    on = False

    def happen(self, stage: Stage) -> None:
        """Now."""
        self.on = True
        stage.folder.chmod(0o555)

    @contextlib.contextmanager
    def around(self, stage: Stage) -> Iterator[None]:
        """Writable again."""
        saving = stage.module("nodes.saving")
        real = saving.save

        def save(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            if not self.on or os.geteuid():
                return real(*given, **named)
            os.seteuid(NOBODY)
            try:
                return real(*given, **named)
            finally:
                os.seteuid(0)
        with mock.patch.object(saving, "save", save):
            yield
        self.on = False
        stage.folder.chmod(0o755)


@contextlib.contextmanager
def at_write(number: int, error: Callable[[], BaseException]) -> Iterator[None]:
    """Bringing a file to the disk fails once, at the write of this number."""
    seen = []

    def failing(real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(file: int) -> None:
            seen.append(file)
            if len(seen) == number:
                raise error()
            real(file)
        return fsync
    with patched("os.fsync", failing):
        yield


def full() -> OSError:
    """As the system says it."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def patched(name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """A function of the system answers otherwise."""
    place, _, last = name.rpartition(".")
    with mock.patch(name, change(getattr(__import__(place), last))):
        yield


def moved(then: Callable[[Stage], None] = lambda stage: None) -> Callable[[Stage], None]:
    """The folder goes elsewhere, and something else takes its place."""
    def act(stage: Stage) -> None:
        os.replace(stage.folder, stage.moved)
        then(stage)
    return act


def instead(make: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """The search's file goes, and something else takes its name."""
    def act(stage: Stage) -> None:
        (stage.folder / PRESET).unlink(missing_ok=True)
        make(stage)
    return act


def _foreign(stage: Stage) -> None:
    (stage.folder / PRESET).write_bytes(stage.library().read_bytes())


def _link(stage: Stage) -> None:
    (stage.folder / PRESET).symlink_to(stage.moved / "nothing.safetensors")


DISKS = (
    Disk("a folder that is gone", moved()),
    Disk("a file in the folder's place", moved(lambda s: s.folder.write_bytes(b"")), unsaved=True,
         fast=True),
    Disk("a link to another folder in its place", moved(lambda s: s.folder.symlink_to(s.moved))),
    Disk("a link to nowhere in its place", moved(lambda s: s.folder.symlink_to("nowhere")),
         unsaved=True),
    Disk("a link to itself in its place", moved(lambda s: s.folder.symlink_to(s.folder.name)),
         unsaved=True),
    Disk("a pipe in its place", moved(lambda s: os.mkfifo(s.folder)), unsaved=True),
    Full("a full disk", unsaved=True),
    Limited("a disk that takes no byte more", resource.RLIMIT_FSIZE, lambda: 0, unsaved=True,
            fast=True),
    Limited("no file handle left", resource.RLIMIT_NOFILE, lambda: 3, unsaved=True,
            hopeless=True),
    ReadOnly("a folder that may not be written", unsaved=True),
    Disk("another file of its name", instead(_foreign), fast=True),
    Disk("a folder of its name", instead(lambda s: (s.folder / PRESET).mkdir())),
    Disk("a link of its name", instead(_link)),
    Disk("a pipe of its name", instead(lambda s: os.mkfifo(s.folder / PRESET))),
    Disk("its preset deleted", instead(lambda s: None)),
)
