"""The commands `measure` and `compare`: what the Compare Solvers node measures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from ..nodes import contenders
from ..nodes.comfy_bridge.latents import decode
from ..nodes.comfy_bridge.prompts import joined
from ..nodes.comfy_bridge.session import make_guider, within
from ..nodes.compare import numbers_of
from ..nodes.compared import sheet_rows, table, verdict
from ..nodes.contenders import Comparison, Results
from ..nodes.pictures import Image, contact_sheet
from ..presets.fields import PresetError
from ..presets.preset import Preset
from ..presets.store import read
from .canvas import empty, pixels
from .exits import Exit, Refusal
from .loading import Loaded, encode, load, read_prompts
from .request import OPPONENTS
from .searching import refusing
from .telling import Teller

NAMES = ("comparison.json", "contact_sheet.png")


def compare(options: argparse.Namespace, told: Teller) -> int:
    """Measure presets and ComfyUI's own samplers on the same seeds, and tell.

    Returns:
        the exit code.

    Raises:
        Refusal: in words.
    """
    presets = [_read(path) for path in options.files]
    lines, loaded = read_prompts(options.prompts), load(options)
    cfg = _cfg(options, presets)
    width, height = options.size or pixels(loaded.model, presets[0].info)
    latent = empty(loaded.model, width, height, options.frames, options.batch)["samples"]
    positive = joined([encode(loaded, line, options) for line in lines])
    guider = make_guider(loaded.model, positive, encode(loaded, options.negative, options), cfg)
    plan = Comparison(presets, options.seeds, options.seed, options.batch,
                      getattr(contenders, OPPONENTS[options.opponents]),
                      told=lambda done, planned: told.progress(_state(done, planned)))
    with refusing():
        results = within(guider, latent, plan.run, seed=options.seed)
    said, data = verdict(results), numbers_of(results, cfg)
    files = _written(options.out, loaded, results, data) if options.out else []
    told.tell("end", exit=int(Exit.DONE), state="done", verdict=said.verdict, size=[width, height],
              comparison=data, files=files, lines=[said.verdict, table(results), *files])
    return int(Exit.DONE)


def _read(path: Path) -> Preset:
    try:
        return read(path.expanduser())
    except PresetError as error:
        raise Refusal(Exit.REQUEST, str(error)) from error


def _cfg(options: argparse.Namespace, presets: Sequence[Preset]) -> float:
    if options.cfg is not None:
        return options.cfg
    known = {preset.info.guidance for preset in presets}
    if len(known) > 1 or None in known:
        said = ", ".join("unknown" if cfg is None else f"{cfg:g}" for cfg in known)
        raise Refusal(Exit.REQUEST, f"The presets were searched at different CFG: {said}. Say at "
                      "which to measure, with --cfg.")
    return known.pop()


def _state(done: int, planned: int) -> dict:
    return {"state": "measuring", "sentence": "Measuring on seeds of its own.", "calls": done,
            "total": planned, "current_steps": None, "seconds": None, "seconds_left": None,
            "baseline": None, "best": None}


def _written(folder: Path, loaded: Loaded, results: Results, data: dict) -> list[str]:
    """The numbers and, where there is a VAE, pictures; their files."""
    numbers, sheet = (folder / name for name in NAMES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        if loaded.vae is None:
            return [str(numbers)]
        _sheet(loaded, results).save(sheet)
    except OSError as error:
        raise Refusal(Exit.SAVING, f"The comparison could not be written: {error.strerror}."
                      ) from error
    return [str(numbers), str(sheet)]


def _sheet(loaded: Loaded, results: Results) -> Image.Image:
    with torch.inference_mode():
        pictures = [decode(loaded.vae, latents) for latents in results.pictures]
    return contact_sheet(sheet_rows(results, pictures), [f"seed {n + 1}" for n in results.shown])
