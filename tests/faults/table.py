"""The table of faults: what goes wrong, how a search must end, what it must say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from . import disks
from .hurting import (
    Answer,
    Census,
    at,
    blurred,
    doing,
    filled,
    for_more_than,
    noisy,
    raising,
    raising_in_backward,
    remembering,
    since,
)
from .runner import (
    BROKEN,
    CANCELLED,
    KILLED,
    RAISED,
    SENTENCE,
    STOPPED,
    UNMEASURED,
    WHOLE,
    Fault,
    Moment,
)
from .stage import EPS, FLOW, NODE, Stage

WRITES = 12  # more than a short search makes
Hurt = Callable[[Tensor], Tensor]


class ForeignError(Exception):
    """What another pack may raise: none of Python's own kinds."""


def _first(wanted: Callable[[tuple[str, bool, bool, int]], bool], *, last: bool = False) -> Moment:
    return lambda census: census.place(wanted, last=last)


MOMENTS: dict[str, Moment] = {
    "the first call": lambda census: 0,
    "the third call": lambda census: 2,  # asked again whether it answers alike
    "the timed call": lambda census: 6,
    "a call of the teacher": lambda census: 9,
    "the call after the first best": _first(lambda call: call[1]),
    "the last call of the search": _first(lambda call: call[0] == "searching", last=True),
    "the first call of measuring": _first(lambda call: call[0] == "measuring"),
    "the last call": lambda census: len(census.calls) - 1,
}
EARLY = ("the first call", "the third call", "the timed call", "a call of the teacher")
LATE = "the call after the first best", "the last call of the search"
MEASURING = "the first call of measuring", "the last call"
FAST = (("NaN", "a call of the teacher"), ("NaN", "the first call of measuring"),
        ("an error of another pack", "the call after the first best"))


def out_of_memory() -> BaseException:
    """As torch says it on a GPU."""
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


LASTING: dict[str, tuple[Hurt, str]] = {  # from one call on, and what is said of it
    "NaN": (filled(float("nan")), "NaN or infinity"),
    "infinity": (filled(float("inf")), "NaN or infinity"),
    "a RuntimeError": (raising(lambda: RuntimeError("mat1 and mat2 cannot be multiplied")),
                       "(?i)mat1 and mat2 cannot be multiplied"),
    "an error of another pack": (raising(lambda: ForeignError("The patch lost its picture")),
                                 "The patch lost its picture"),
    "a KeyError": (raising(lambda: KeyError("positive")), "positive"),
    "an error without words": (raising(AssertionError), "(?i)assert"),
    "too little memory": (raising(out_of_memory), "not enough memory"),
    "a MemoryError": (raising(MemoryError), "not enough memory"),
}


def _ends(name: str, moment: str) -> tuple[str, ...]:
    if moment in EARLY:
        return (RAISED,) if " error" in f" {name.lower()}" or "Error" in name and (
            "Memory" not in name) else (SENTENCE,)
    if moment == "the last call":  # the sampler that is then tried may count as hopeless here
        return UNMEASURED, WHOLE
    return (BROKEN,) if moment in LATE else (UNMEASURED,)


def _lasting() -> Iterator[Fault]:
    for name, (hurt, says) in LASTING.items():
        for moment, when in MOMENTS.items():
            says = "" if moment == "the last call" else says
            yield Fault(f"{name} from {moment} on", _ends(name, moment),
                        lambda stage, n, hurt=hurt: since(n, hurt), when, says,
                        fast=(name, moment) in FAST)


def _once() -> Iterator[Fault]:
    """At one call only: what is measured may do without it."""
    for name in ("NaN", "a RuntimeError", "a KeyError"):
        hurt, says = LASTING[name]
        for moment in LATE + MEASURING:
            ends = (BROKEN,) if moment in LATE else (WHOLE, UNMEASURED)
            yield Fault(f"{name} at {moment}", ends, lambda stage, n, hurt=hurt: at(n, hurt),
                        MOMENTS[moment], says if moment in LATE else "")
    for moment in MOMENTS:
        yield Fault(f"too little memory at {moment}", (WHOLE,),
                    lambda stage, n: at(n, raising(out_of_memory)), MOMENTS[moment],
                    fast=moment == "the first call of measuring")


def cancel() -> None:
    """As ComfyUI's Cancel."""
    import comfy.model_management as management

    management.interrupt_current_processing(True)


def stop(stage: Stage) -> Hurt:
    """As the button Stop and keep."""
    return doing(lambda: stage.module("nodes.live").LIVE.stop(NODE))


def _ended_by_people() -> Iterator[Fault]:
    for moment, when in MOMENTS.items():
        last = moment == "the last call"
        yield Fault(f"Cancel at {moment}", (WHOLE,) if last else (CANCELLED,),
                    lambda stage, n: at(n, doing(cancel)), when,
                    fast=moment == "the last call of the search")
        yield Fault(f"Ctrl-C at {moment}", (KILLED,),
                    lambda stage, n: at(n, raising(KeyboardInterrupt)), when)
        yield Fault(f"Stop at {moment}", (CANCELLED, STOPPED) if moment in EARLY else
                    (STOPPED, WHOLE) if moment in MEASURING else (STOPPED,),
                    lambda stage, n: at(n, stop(stage)), when,
                    "" if moment in EARLY or last else "Stopped by you",
                    fast=moment == "the first call of measuring")


def _of_gradients() -> Iterator[Fault]:
    learning = _first(lambda call: call[2])
    yield Fault("dss: nothing at all", (WHOLE,), method="dss", fast=True)
    for method in ("dss", "s4s", "dlms"):
        yield Fault(f"{method}: an error in the backward pass", (WHOLE,),
                    lambda stage, n: since(n, raising_in_backward(
                        lambda: RuntimeError("no gradient for this kernel"))), learning,
                    "The search goes on with 'fit'", method=method, fast=method == "dss")
        yield Fault(f"{method}: too little memory for a gradient", (WHOLE,),
                    lambda stage, n: since(n, raising_in_backward(out_of_memory)), learning,
                    "not enough memory for gradients", method=method)
        yield Fault(f"{method}: Ctrl-C in the backward pass", (KILLED,),
                    lambda stage, n: at(n, raising_in_backward(KeyboardInterrupt)), learning,
                    method=method)
        yield Fault(f"{method}: Cancel in the backward pass", (CANCELLED,),
                    lambda stage, n: at(n, doing(cancel)), learning, method=method)
        for name in ("NaN", "a RuntimeError", "an error of another pack"):
            hurt, says = LASTING[name]
            for moment in ("the call after the first best", "the first call of measuring"):
                ends = (BROKEN, WHOLE) if moment in LATE else (UNMEASURED,)
                yield Fault(f"{method}: {name} from {moment} on", ends,
                            lambda stage, n, hurt=hurt: since(n, hurt), MOMENTS[moment], says,
                            method=method)


def _of_the_model() -> Iterator[Fault]:
    for size in (0.3, 0.01):
        yield Fault(f"a model with noise of its own, {size:g}", (SENTENCE,),
                    lambda stage, n, size=size: since(0, noisy(size)),
                    says="same question.* adds noise or remembers", fast=size == 0.3)
        yield Fault(f"a model with noise of torch, {size:g}", (SENTENCE,),
                    lambda stage, n, size=size: since(0, blurred(size)),
                    says="draws random numbers")
    yield Fault("a model that remembers", (SENTENCE,), lambda stage, n: since(0, remembering()),
                says="same question.* adds noise or remembers")
    yield Fault("a model that paints nothing", (WHOLE, SENTENCE),
                lambda stage, n: since(0, torch.zeros_like))
    for method in ("dss_published", "gits"):
        yield Fault(f"{method}: a model that paints nothing", (SENTENCE,),
                    lambda stage, n: since(0, torch.zeros_like), says="solver", method=method)
    yield Fault("a model with room for one picture", (WHOLE,),
                lambda stage, n: for_more_than(2, raising(out_of_memory)),
                says="worked on 1 instead of 2", fast=True)
    yield Fault("a model without room for one picture", (SENTENCE,),
                lambda stage, n: since(0, raising(out_of_memory)), says="Make the latent smaller")
    for family in (FLOW, EPS):
        yield Fault(f"{family}: another patch has replaced its noise levels", (WHOLE,),
                    model=other_levels(family), family=family, fast=family == EPS)
        later = MOMENTS["the call after the first best"]  # it may search with fewer calls
        yield Fault(f"{family}: such a model that breaks off", (BROKEN,),
                    lambda stage, n: since(n, LASTING["NaN"][0]), later, "NaN",
                    model=other_levels(family), family=family)
        yield Fault(f"{family}: such a model that is cancelled", (CANCELLED,),
                    lambda stage, n: at(n, doing(cancel)), later, model=other_levels(family),
                    family=family)
    for moment in ("the call after the first best", "the first call of measuring"):
        for name in ("NaN", "an error of another pack"):
            yield Fault(f"{EPS}: {name} from {moment} on", _ends(name, moment),
                        lambda stage, n, name=name: since(n, LASTING[name][0]), MOMENTS[moment],
                        LASTING[name][1], family=EPS)
        yield Fault(f"{EPS}: Cancel at {moment}", (CANCELLED,),
                    lambda stage, n: at(n, doing(cancel)), MOMENTS[moment], family=EPS)


def other_levels(family: str) -> Callable[[Stage], Any]:
    """The model with the node that people put before a sampler to change its noise levels."""
    def build(stage: Stage) -> Any:  # noqa: ANN401
        from comfy_extras import nodes_model_advanced as nodes

        model = stage.subjects[family].model
        if family == FLOW:
            return nodes.ModelSamplingSD3().patch(model, 5.0)[0]
        return nodes.ModelSamplingDiscrete().patch(model, "v_prediction", True)[0]
    return build


def _of_disks() -> Iterator[Fault]:
    first, later = (MOMENTS[m] for m in ("a call of the teacher", "the call after the first best"))
    for fault in disks.DISKS:
        for moment, when in (("before anything is saved", first), ("after the first save", later)):
            ends = (WHOLE, BROKEN, UNMEASURED, RAISED) if fault.hopeless else (WHOLE,)
            says = "" if fault.hopeless else "could not be" if fault.unsaved else "Saved as"
            yield Fault(f"{fault.name} {moment}", ends,
                        lambda stage, n, fault=fault: at(n, doing(lambda: fault.happen(stage))),
                        when, says, saved=not fault.unsaved, around=fault.around,
                        fast=fault.fast and when is later)


def _of_writes() -> Iterator[Fault]:
    """Each write of a search in turn: of its journal, its presets and its figures."""
    for number in range(1, WRITES + 1):
        yield Fault(f"a disk that is full at write {number} alone", (WHOLE,), saved=True,
                    fast=number == 1,
                    around=lambda stage, n=number: disks.at_write(n, disks.full))
        yield Fault(f"Ctrl-C at write {number}", (KILLED, WHOLE), fast=number == 1,
                    around=lambda stage, n=number: disks.at_write(n, KeyboardInterrupt))


def _of_settings() -> Iterator[Fault]:
    empty = torch.zeros
    for name, shape in (("no picture", (0, 16, 8, 8)), ("no height", (1, 16, 0, 8)),
                        ("two dimensions", (8, 8)), ("six dimensions", (1, 1, 1, 16, 8, 8))):
        yield Fault(f"a latent of {name}", (SENTENCE,), saved=False,
                    given={"latent": {"samples": empty(*shape)}}, says="at least one picture")
    yield Fault("a latent of another model", (SENTENCE,), saved=False,
                given={"latent": {"samples": torch.ones(1, 4, 8, 8)}}, says="channels")
    yield Fault("a latent of NaN", (SENTENCE,), saved=False, says="NaN", given={
        "latent": {"samples": torch.full((1, 16, 8, 8), float("nan"))}, "denoise": 0.5})
    for cfg in (-1.0, 1001.0, float("nan"), float("inf")):
        yield Fault(f"CFG {cfg:g}", (SENTENCE,), saved=False, given={"cfg": cfg}, says="CFG")


@contextlib.contextmanager
def _jumping(stage: Stage, years: int) -> Iterator[None]:
    """The computer's clock is set while the search runs."""
    with disks.patched("time.time", lambda real: lambda: real() + years * 3.15e7):
        yield


def _of_clocks() -> Iterator[Fault]:
    for years in (-20, 20):
        yield Fault(f"a clock that jumps by {years} years", (WHOLE,), saved=True, fast=years > 0,
                    around=lambda stage, years=years: _jumping(stage, years))


def all_faults() -> list[Fault]:
    """Every row, by unique names."""
    found = [*_lasting(), *_once(), *_ended_by_people(), *_of_gradients(), *_of_the_model(),
             *_of_disks(), *_of_writes(), *_of_settings(), *_of_clocks()]
    return list({fault.name: fault for fault in found}.values())


def census_line(census: Census) -> str:
    """How many calls a sound search made, for people."""
    return f"{len(census.calls)} model calls"


__all__ = ["Answer", "all_faults", "census_line"]
