"""Everything this repository can do, from a bare Python 3.11: set-up, then one program.

    python run.py demo        search a solver, compare it, write the results to output/
    python run.py test        all tests and the linter
    python run.py serve       start ComfyUI with this extension and leave it running
    python run.py search      search presets without a browser; also show, measure and compare
                              preset files (docs/headless.md)
    python run.py bench       the benchmarks (two hours; --small: minutes; --all: a night)
    python run.py matrix      what works with what, tried; writes docs/compatibility.md
    python run.py templates   ComfyUI's official workflow templates, walked; writes it there too
    python run.py faults      what can go wrong, tried, and the fuzzers (--soak N: memory)
    python run.py train-demo  train the demo models anew

The first start installs PyTorch and ComfyUI into this folder (.venv, .comfyui). With
`--comfyui PATH` an existing ComfyUI is used instead, with its own Python or `--python PATH`.
Arguments that are not listed here go to the program; see `python run.py search --help`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

PROGRAMS = {
    "demo": "launch.demo",
    "test": "launch.check",
    "serve": "launch.serve",
    "bench": "benchmarks",
    "matrix": "tests.matrix",
    "templates": "tests.templates",
    "train-demo": "demo.train",
    "faults": "tests.faults",
    **dict.fromkeys(("search", "show", "measure", "compare"), "headless"),
}
OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent


def main() -> int:
    """Parse, set up, hand over."""
    if sys.version_info < OLDEST:
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        sys.exit(__doc__)
    ours, comfy = _split(sys.argv[1:])
    options, rest = _parser().parse_known_args(ours)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        python = _prepare(options)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the next start continues the set-up.")
    except (RuntimeError, OSError) as error:
        sys.exit(f"\n{error}")
    program = PROGRAMS[options.program]
    if program == "headless":  # its files are named from where people are
        if options.comfyui is None:
            comfy = [*_own_folders(), *comfy]
        return hand_over([str(python), str(ROOT / program), options.program, *rest, "--", *comfy])
    return hand_over([str(python), "-m", program, *rest, *comfy], ROOT)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Arguments before `--`, and those behind it, which argparse would mix."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1:]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # -h: the program's
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--comfyui", type=Path, help="an existing ComfyUI folder")
    parser.add_argument("--python", type=Path, help="the Python that runs that ComfyUI")
    return parser


def _prepare(options: argparse.Namespace) -> Path:
    """Make sure ComfyUI is there; what follows imports only the standard library."""
    from launch.environment import set_up, use_existing
    from launch.places import COMFYUI_VARIABLE

    if options.comfyui is None:
        return set_up()
    comfyui = options.comfyui.expanduser().resolve()
    os.environ[COMFYUI_VARIABLE] = str(comfyui)
    return use_existing(comfyui, options.python)


def _own_folders() -> list[str]:
    """Arguments of ComfyUI: the models and packs of the one that was set up here."""
    from launch.places import BASE

    return ["--base-directory", str(BASE)]


def hand_over(command: list[str], folder: Path | None = None) -> int:
    """Become the program, in a folder; signals then reach it directly.

    Windows cannot replace a process, so there it is a child that is waited for; Ctrl-C reaches
    every process of the console, and the child decides what it means.
    """
    if folder is not None:
        os.chdir(folder)
    if os.name != "nt":
        os.execv(command[0], command)
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    sys.exit(main())
