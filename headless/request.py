"""What is asked for: the same names on the command line and in a manifest's lines.

Standard library only: a request is understood before ComfyUI is started, which takes seconds.
Everything behind `--` goes to ComfyUI itself.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .exits import Exit, Refusal

METHODS = ("fit", "dss", "dss_published", "s4s", "s4s_alt", "dlms", "dlms_designer", "gits")
EFFORTS = ("quick", "standard", "thorough")
OPPONENTS = {"popular": "POPULAR", "all": "EVERYTHING", "nodes": "NODE_ONLY"}
DTYPES = ("default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2")
MANY = ("manifest", "only", "gpus", "submit", "submit_folder", "timeout", "partition",
        "submit_option")
NEEDED = ("prompts", "steps", "cfg", "size", "out")
MODEL_NEEDED = ("prompts",)  # to measure: the rest is the preset's
SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")


class Parser(argparse.ArgumentParser):
    """Its errors are refusals, for whoever reads our lines."""

    def error(self, message: str) -> NoReturn:
        """Raises Refusal."""
        raise Refusal(Exit.REQUEST, f"{message[0].upper()}{message[1:]}. See {self.prog} --help.")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and those behind `--` for ComfyUI."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1:]


def model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, how it is loaded, and at what it is sampled."""
    files = parser.add_argument_group("model: files, or names in ComfyUI's own model folders")
    files.add_argument("--checkpoint", metavar="FILE", help="model, text encoders and VAE in one")
    files.add_argument("--model", metavar="FILE", help="a diffusion model alone (.gguf: with the "
                       "pack ComfyUI-GGUF in custom_nodes)")
    files.add_argument("--text-encoder", metavar="FILE", action="append", default=[],
                       help="up to four times, in the order of ComfyUI's loader")
    files.add_argument("--clip-type", metavar="TYPE", default="",
                       help="of the text encoders, as in ComfyUI's CLIP loaders: flux, wan ...")
    files.add_argument("--vae", metavar="FILE", help="for pictures only")
    files.add_argument("--lora", metavar="FILE[:STRENGTH]", action="append", default=[],
                       help="as often as needed")
    files.add_argument("--weight-dtype", choices=DTYPES, default="default",
                       help="of --model, as in ComfyUI's loader")
    files.add_argument("--shift", type=float, metavar="NUMBER",
                       help="of a flow model, as ComfyUI's ModelSampling nodes set it")
    files.add_argument("--node-pack", metavar="NAME", action="append", default=[],
                       help="a pack in custom_nodes, or its folder, to load too; others are not")
    _sampling(parser)


def _sampling(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("what is sampled")
    how.add_argument("--prompts", type=Path, metavar="FILE",
                     help="one prompt a line; blank lines and lines with # are skipped")
    how.add_argument("--negative", metavar="TEXT", default="", help="default: empty")
    how.add_argument("--encoder", metavar="NODE", default="CLIPTextEncode",
                     help="the node that encodes a prompt (default: CLIPTextEncode)")
    how.add_argument("--distilled-guidance", type=float, metavar="NUMBER",
                     help="what the node FluxGuidance sets")
    how.add_argument("--cfg", type=float, metavar="NUMBER", help="the CFG of your KSampler")
    how.add_argument("--size", type=size, metavar="WIDTHxHEIGHT", help="in pixels: 1024x1024")
    how.add_argument("--frames", type=positive, metavar="NUMBER", default=1,
                     help="of a video, in pictures (default: 1)")
    how.add_argument("--batch", type=positive, metavar="NUMBER", default=4,
                     help="pictures per model call (default: 4); halved where memory is short")


def search_arguments(parser: argparse.ArgumentParser) -> None:
    """What is searched."""
    model_arguments(parser)
    what = parser.add_argument_group("search")
    what.add_argument("--steps", metavar="NUMBERS", help="one or several: 5,6,8,10")
    what.add_argument("--cfg-to", type=float, metavar="NUMBER", default=0.0,
                      help="search one solver for every CFG from --cfg to this one")
    what.add_argument("--denoise", type=float, metavar="NUMBER", default=1.0,
                      help="below 1: for image to image; the model paints its own pictures")
    what.add_argument("--method", choices=METHODS, default="fit", help="default: fit")
    what.add_argument("--effort", choices=EFFORTS, default="standard", help="default: standard")
    what.add_argument("--seed", type=int, metavar="NUMBER", default=0, help="default: 0")
    what.add_argument("--name", metavar="NAME", default="",
                      help="of presets and report; else made of file, size and CFG")
    what.add_argument("--again", action="store_true", help="search even what is there already")
    what.add_argument("--dry-run", action="store_true",
                      help="load the model, time it, tell the cost, and end")
    where = parser.add_argument_group("output")
    where.add_argument("--out", type=Path, metavar="DIR", help="where presets and report go")
    where.add_argument("--install", action="store_true",
                       help="copy the presets into ComfyUI's models/solver_presets, too")
    where.add_argument("--stopped-exit", type=int, metavar="CODE", default=0,
                       help="exit code after a signal that ended the search (default: 0)")


def many_arguments(parser: argparse.ArgumentParser) -> None:
    """Many jobs from a file, here or on a cluster."""
    many = parser.add_argument_group("many jobs; other arguments hold for each of them")
    many.add_argument("--manifest", type=Path, metavar="FILE",
                      help="one job a line, a JSON object: {\"checkpoint\": \"a.safetensors\"}")
    many.add_argument("--only", type=positive, metavar="NUMBER",
                      help="do this one of its jobs, here; the first is 1")
    many.add_argument("--gpus", metavar="NUMBERS", default="",
                      help="GPUs to use, one job on each at a time: 0,1 (default: all)")
    many.add_argument("--submit", choices=("slurm", "local", "debug"),
                      help="hand the jobs to submitit, which must be installed")
    many.add_argument("--submit-folder", type=Path, metavar="DIR", default=Path("submitit"),
                      help="its logs, readable where the jobs run (default: submitit)")
    many.add_argument("--timeout", type=positive, metavar="MINUTES", default=240,
                      help="of each job on the cluster (default: 240)")
    many.add_argument("--partition", metavar="NAME", help="of Slurm")
    many.add_argument("--submit-option", metavar="NAME=VALUE", action="append", default=[],
                      help="of submitit's executor: mem_gb=32, slurm_account=art ...")


def measure_arguments(parser: argparse.ArgumentParser) -> None:
    """How presets are measured."""
    how = _measured(parser, 8)
    how.add_argument("--keep", action="store_true", help="keep what is measured in ComfyUI's "
                     "models/solver_presets, as the Measure Solver node does")


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """How presets are compared."""
    how = _measured(parser, 16)
    how.add_argument("--seed", type=int, metavar="NUMBER", default=1000,
                     help="where they begin (default: 1000); not that of the search")
    how.add_argument("--opponents", choices=OPPONENTS, default="popular",
                     help="which of ComfyUI's own samplers to try (default: popular)")
    how.add_argument("--out", type=Path, metavar="DIR",
                     help="write comparison.json there, and with a VAE a contact sheet")


def _measured(parser: argparse.ArgumentParser, seeds: int) -> argparse._ArgumentGroup:
    how = parser.add_argument_group("measurement; CFG and size are the preset's where not given")
    how.add_argument("--seeds", type=positive, metavar="NUMBER", default=seeds,
                     help=f"different noises (default: {seeds}); more give a surer number")
    return how


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Where ComfyUI is, and what is told."""
    parser.add_argument("--comfyui", type=Path, metavar="DIR",
                        help="ComfyUI's folder; else $COMFYUI_PATH, or the one around this pack")
    parser.add_argument("--json", action="store_true",
                        help="JSON lines on stdout, as where stdout is no terminal")


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, found {text!r}")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """(width, height) of 1024x768; 1024 alone is a square."""
    found = SIZE.fullmatch(text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(
            f"must be width and height in pixels, such as 1024x768, found {text!r}")
    width = int(found[1])
    return width, int(found[2] or width)


def check(options: argparse.Namespace, needed: Sequence[str] = NEEDED) -> None:
    """What can be known to be wrong before ComfyUI is started.

    Args:
        needed: names that must be given.

    Raises:
        Refusal: in words.
    """
    for name in needed:
        if getattr(options, name) is None:
            raise Refusal(Exit.REQUEST, f"--{name} is needed. See --help.")
    if bool(options.checkpoint) == bool(options.model):
        raise Refusal(Exit.REQUEST, "Name the model by --checkpoint FILE, or by --model FILE with "
                      "--text-encoder FILE and --vae FILE; one of the two.")
    read_prompts(options.prompts)


def read_prompts(path: Path) -> list[str]:
    """Lines of a file, without blank ones and those with # in front.

    Raises:
        Refusal: if it cannot be read or holds none.
    """
    try:
        lines = path.expanduser().read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(Exit.REQUEST, f"The prompts in {path} cannot be read: {error}") from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise Refusal(Exit.REQUEST, f"{path} holds no prompt. Write one a line.")
    return found
