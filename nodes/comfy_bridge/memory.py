"""Memory: what calls take of it, and running out of it, known by its many faces and answered by
asking the model for fewer pictures."""

from __future__ import annotations

import threading
from types import TracebackType

import comfy.model_management as management
import psutil
import torch

WORDS = ("out of memory", "defaultcpuallocator", "alloc_cpu.cpp", "not enough memory",
         "cannot allocate memory")

TICK = 0.005  # seconds between looks at this process's memory


class OutOfMemory(MemoryError):
    """One picture at a time is too much; the message says what to lower."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, ComfyUI or Python says that memory is short."""
    known = getattr(management, "OOM_EXCEPTION", torch.OutOfMemoryError)
    faces = (torch.OutOfMemoryError, MemoryError) + (() if known is Exception else (known,))
    return isinstance(error, faces) or isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in WORDS)


class Held:
    """Most bytes that this process holds of its own within a `with`, above those it began with:
    what model calls take where the processor computes. Files mapped into memory do not count."""

    def __init__(self) -> None:
        self._before = self._most = own_bytes()
        self._end = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Held:
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end.set()
        self._watch.join()

    @property
    def most(self) -> int:
        """Bytes, until now."""
        return self._most - self._before

    def _look(self) -> None:
        while not self._end.wait(TICK):
            self._most = max(self._most, own_bytes())


def own_bytes() -> int:
    """Of this process alone; on systems that do not tell these apart, with the files it mapped."""
    info = psutil.Process().memory_info()
    return getattr(info, "private", info.rss - getattr(info, "shared", 0))


class Room:
    """How many pictures a model call may hold: fewer each time memory is short.

    Args:
        most: pictures to begin with; 0: as many as are asked for.
        whole: never divide a call, as where something is read of the newest one.
    """

    def __init__(self, most: int = 0, *, whole: bool = False) -> None:
        self.most = most
        self.whole = whole
        self.tried_again = False

    def parts(self, count: int) -> list[slice]:
        """Rows of the calls that so many pictures take."""
        size = count if self.whole else max(1, min(self.most or count, count))
        return [slice(i, i + size) for i in range(0, count, size)]

    def shrink(self, count: int) -> None:
        """Half of what a call of `count` pictures has held. A call that cannot be smaller is made
        again, once: what took the memory may be gone, or goes now.

        Raises:
            OutOfMemory: if that was one picture, or calls must stay whole, for the second time.
        """
        management.soft_empty_cache()
        held = min(self.most or count, count)
        if held > 1 and not self.whole:
            self.most = held // 2
        elif self.tried_again:
            raise OutOfMemory(_sentence(held))
        self.tried_again |= held <= 1 or self.whole


def _sentence(held: int) -> str:
    if held > 1:
        return (f"There is not enough memory for {held} pictures at a time. Lower the batch of "
                "the latent, or its size.")
    return ("There is not enough memory for one picture at a time. Make the latent smaller, close "
            "other programs, or start ComfyUI with --lowvram.")
