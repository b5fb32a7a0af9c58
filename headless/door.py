"""The command line: `search`, `show`, `measure`, `compare`.

ComfyUI is started only by what needs a model. However a command ends, its last event says so, and
the exit code is one of `Exit`.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from . import request
from .clock import Clock
from .exits import Exit, Refusal, Stopped
from .jobs import Job, read_manifest
from .ranks import place
from .signals import Listener
from .telling import Teller, Terminal, teller

EARLY = "Stopped before there was anything to keep. Started again, it goes on."
UNEXPECTED = "Something went wrong that should not; the log says what."
USAGE = "Arguments behind -- go to ComfyUI itself, such as -- --cpu or -- --lowvram."


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for.

    Returns:
        the exit code, one of Exit, or that of --stopped-exit.
    """
    lines = "--json" in request.split(arguments)[0]
    try:
        options, comfy = understood(arguments)  # --help ends here, on stdout as it was
    except Refusal as refusal:
        with contextlib.closing(teller(lines=lines)) as told:
            return _end(told, refusal.code, str(refusal))
    with contextlib.closing(teller(lines=lines, silent=not place().first)) as told:
        return _done(options, comfy, told)


def _done(options: argparse.Namespace, comfy: list[str], told: Teller) -> int:
    listener, expected = Listener(), False
    try:
        with listener.listening():
            code = int(options.run(options, comfy, told, listener))
        expected = True
    except Refusal as refusal:
        code, expected = _end(told, refusal.code, str(refusal)), True
    except Stopped:
        code, expected = _end(told, Exit.EARLY, EARLY), True
    finally:
        if not expected:  # the trace follows, on stderr
            _end(told, Exit.FAILED, UNEXPECTED)
    return code


def understood(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """What is asked for, and the arguments for ComfyUI; `run` does it.

    Raises:
        Refusal: for arguments that are wrong.
    """
    ours, comfy = request.split(arguments)
    many, common = _many().parse_known_args(ours)
    if many.manifest is None:
        return _parser().parse_args(common), comfy
    jobs = [[*common, *job] for job in read_manifest(many.manifest)]
    if many.only is not None:
        if many.only > len(jobs):
            raise Refusal(Exit.REQUEST, f"{many.manifest.name} has {len(jobs)} jobs, found --only "
                          f"{many.only}.")
        return _parser().parse_args(jobs[many.only - 1]), comfy
    if place().size > 1:
        raise Refusal(Exit.REQUEST, "torchrun makes one search on several cards. Choose one job "
                      "of the manifest with --only, or start without torchrun.")
    many.jobs = [Job(number, job, _parsed(number, job)) for number, job in enumerate(jobs, 1)]
    many.run = _run_many
    return many, comfy


def _parsed(number: int, job: list[str]) -> argparse.Namespace:
    try:
        return _parser().parse_args(job)
    except Refusal as refusal:
        raise Refusal(refusal.code, f"Job {number}: {refusal}") from refusal


def _end(told: Teller, code: Exit, sentence: str) -> int:
    told.tell("end", exit=int(code), state="failed", verdict=sentence, lines=[sentence])
    return int(code)


def _many() -> argparse.ArgumentParser:
    parser = request.Parser("search", add_help=False, allow_abbrev=False)
    request.many_arguments(parser)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = request.Parser("run.py", description=__doc__.split("\n")[0], epilog=USAGE,
                            allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "search", "search presets for a model", request.search_arguments, _search)
    _add(commands, "show", "say what preset files hold", _files, _show)
    _add(commands, "measure", "measure how near presets land on a model", _measure_arguments,
         _measure)
    _add(commands, "compare", "compare several presets on a model", _compare_arguments, _compare)
    return parser


Run = Callable[[argparse.Namespace, list[str], Teller, Listener], int]


def _add(commands: argparse._SubParsersAction, name: str, sentence: str,
         arguments: Callable[[argparse.ArgumentParser], None], run: Run) -> None:
    parser = commands.add_parser(name, help=sentence, description=f"{sentence.capitalize()}.",
                                 epilog=USAGE, allow_abbrev=False)
    arguments(parser)
    if run is _search:
        request.many_arguments(parser)
    request.common_arguments(parser)
    parser.set_defaults(run=run)


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="preset files")


def _measure_arguments(parser: argparse.ArgumentParser) -> None:
    _files(parser)
    request.model_arguments(parser)
    request.measure_arguments(parser)


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    _files(parser)
    request.model_arguments(parser)
    request.compare_arguments(parser)


def _search(options: argparse.Namespace, comfy: list[str], told: Teller,
            listener: Listener) -> int:
    request.check(options)
    clock, here = Clock(), place()
    here.take_card(comfy)
    with clock.part("starting"):
        _start(options, comfy, told)
    from .job import run_job

    return run_job(options, told, clock, listener, here)


def _run_many(options: argparse.Namespace, comfy: list[str], told: Teller,
              listener: Listener) -> int:
    if options.submit:
        from .clusters import submit

        return submit(options, comfy, told)
    from .runner import run_all

    return run_all(options, comfy, told, listener)


def _compare(options: argparse.Namespace, comfy: list[str], told: Teller,
             listener: Listener) -> int:
    request.check(options, request.MODEL_NEEDED)
    _start(options, comfy, told)
    from .measuring import compare

    return compare(options, told)


def _measure(options: argparse.Namespace, comfy: list[str], told: Teller,
             listener: Listener) -> int:
    request.check(options, request.MODEL_NEEDED)
    _start(options, comfy, told)
    from .measuring import measure

    return measure(options, told)


def _show(options: argparse.Namespace, comfy: list[str], told: Teller,
          listener: Listener) -> int:
    from .showing import show

    return show(options.files, told)


def _start(options: argparse.Namespace, comfy: list[str], told: Teller) -> None:
    from .comfyui import find, start

    told.tell("starting", lines=["Starting ComfyUI ..."])
    start(find(options.comfyui), comfy, options.node_pack, quiet=isinstance(told, Terminal))
