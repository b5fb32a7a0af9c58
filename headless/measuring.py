"""The commands `measure` and `compare`: what the nodes of these names measure."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..nodes import contenders
from ..nodes.comfy_bridge.latents import decode
from ..nodes.comfy_bridge.model import facts
from ..nodes.comfy_bridge.prompts import joined
from ..nodes.comfy_bridge.session import Guider, make_guider, within
from ..nodes.compare import numbers_of
from ..nodes.compared import sheet_rows, table, verdict
from ..nodes.contenders import Comparison, Results
from ..nodes.measure import FIRST_SEED, Measuring, on_model
from ..nodes.measure import verdict as judged
from ..nodes.measured import keep
from ..nodes.pictures import Image, contact_sheet
from ..presets.fields import PresetError
from ..presets.figures import EVIDENCE
from ..presets.preset import Preset
from ..presets.store import read
from .canvas import empty, pixels
from .exits import Exit, Refusal
from .loading import Loaded, encode, load
from .request import OPPONENTS, read_prompts
from .searching import refusing
from .telling import Teller

NAMES = ("comparison.json", "contact_sheet.png")


@dataclass(frozen=True)
class Measurement:
    """A model under the guider that presets are measured with.

    Args:
        loaded: the model as a workflow has it.
        guider: at the CFG asked for, or the presets'.
        latent: zeros of the size asked for, or the presets'.
        size: the same in pixels.
        cfg: guidance scale.
    """

    loaded: Loaded
    guider: Guider
    latent: Tensor
    size: tuple[int, int]
    cfg: float


def compare(options: argparse.Namespace, told: Teller) -> int:
    """Sample the same seeds with presets and ComfyUI's own samplers, and tell.

    Returns:
        the exit code.

    Raises:
        Refusal: in words.
    """
    presets = [_read(path) for path in options.files]
    on = _prepared(options, presets)
    plan = Comparison(presets, options.seeds, options.seed, options.batch,
                      getattr(contenders, OPPONENTS[options.opponents]), told=_progress(told))
    with refusing():
        results = within(on.guider, on.latent, plan.run, seed=options.seed)
    said, data = verdict(results), numbers_of(results, on.cfg)
    files = _written(options.out, on.loaded, results, data) if options.out else []
    told.tell("end", exit=int(Exit.DONE), state="done", verdict=said.verdict, size=on.size,
              comparison=data, files=files, lines=[said.verdict, table(results), *files])
    return int(Exit.DONE)


def measure(options: argparse.Namespace, told: Teller) -> int:
    """Measure each preset as the Measure Solver node does, and tell.

    Returns:
        the exit code.

    Raises:
        Refusal: in words.
    """
    presets = [_read(path) for path in options.files]
    on = _prepared(options, presets)
    known, troubles = facts(on.loaded.model), []
    for path, preset in zip(options.files, presets, strict=True):
        plan = Measuring(preset, options.seeds, options.batch, _progress(told))
        with refusing():
            found = within(on.guider, on.latent, plan.run, seed=FIRST_SEED)
        found = on_model(found, known, on.latent, on.cfg)
        troubles += filter(None, (keep([found]) if options.keep else "",))
        said = judged(found)
        told.tell("measured", file=str(path), verdict=said.verdict,
                  lines=[said.verdict, *said.details[:2]],
                  **{name: getattr(found.info, name) for name in EVIDENCE})
    code = Exit.SAVING if troubles else Exit.DONE
    told.tell("end", exit=int(code), state="failed" if troubles else "done", size=on.size,
              cfg=on.cfg, verdict=" ".join(troubles) or f"{len(presets)} measured.",
              lines=troubles)
    return int(code)


def _prepared(options: argparse.Namespace, presets: Sequence[Preset]) -> Measurement:
    cfg = _cfg(options, presets)
    lines, loaded = read_prompts(options.prompts), load(options)
    width, height = options.size or pixels(loaded.model, presets[0].info)
    latent = empty(loaded.model, width, height, options.frames, options.batch)["samples"]
    positive = joined([encode(loaded, line, options) for line in lines])
    guider = make_guider(loaded.model, positive, encode(loaded, options.negative, options), cfg)
    return Measurement(loaded, guider, latent, (width, height), cfg)


def _progress(told: Teller) -> Callable[[int, int], None]:
    return lambda done, planned: told.progress({
        "state": "measuring", "sentence": "Measuring on seeds of its own.", "calls": done,
        "total": planned, "current_steps": None, "seconds": None, "seconds_left": None,
        "baseline": None, "best": None})


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
