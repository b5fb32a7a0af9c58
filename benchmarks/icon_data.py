"""Fetch and draw the icons model's pictures: `python -m benchmarks.icon_data`, five minutes.

Needs the network (npm's registry, fixed versions, checked by SHA-256) and `pip install resvg-py`,
which draws SVG. Writes output/training/icons.npz: 64x64 pictures with transparency, lossy WebP,
and their prompts' words; and the prompts of searches and measurements (icon_prompts.json).
Training needs only the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .icons import BACKGROUNDS, PROMPTS, WORDS

REGISTRY = "https://registry.npmjs.org/@iconify-json/"
FILE = Path(__file__).parents[1] / "output" / "training" / "icons.npz"
SIDE, QUALITY = 64, 88
SPLIT = 48  # prompts of each half
# word of the set: (npm package of Iconify, version, SHA-256 of its tarball); licences: CARD.md
SETS = {
    "noto": ("noto", "1.2.9",
             "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "twemoji": ("twemoji", "1.2.5",
                "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "fluent": ("fluent-emoji-flat", "1.2.6",
               "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    "emojione": ("emojione", "1.2.3",
                 "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    "flat": ("flat-color-icons", "1.2.3",
             "d8878a9b0f02d749bc8671eb7d47882eb711185cbcefbb365cbfb488773c4786"),
    "circle": ("circle-flags", "1.2.11",
               "ee9a03f6a6fdd79cc6325bdcb7bb93b83d331e60b16e226188f154a64b6bb4a9"),
}
TONES = re.compile(r"-(light|medium-light|medium|medium-dark|dark)(-skin-tone)?\b")


def main() -> None:
    """Write both files."""
    names, pictures = [], []
    for word in SETS:
        for name, svg in drawings(word):
            names.append(f"{word}, {name}")
            pictures.append(webp(svg))
        print(f"{word}: {len(names)} pictures so far")  # noqa: T201  a script's progress
    FILE.parent.mkdir(parents=True, exist_ok=True)
    sizes = np.cumsum([0, *map(len, pictures)])
    np.savez(FILE, bytes=np.frombuffer(b"".join(pictures), np.uint8), offsets=sizes,
             names=np.array(names))
    PROMPTS.write_text(json.dumps(choose_prompts(names), indent=1) + "\n")


def drawings(word: str) -> Iterator[tuple[str, str]]:
    """Names (words parted by blanks) and SVG texts of a set, without skin tones."""
    package, version, digest = SETS[word]
    data = json.loads(_member(package, version, digest, "package/icons.json"))
    for name, icon in data["icons"].items():
        words = name.split("-")
        if not icon.get("hidden") and not TONES.search(name) and len(words) <= WORDS - 2:
            yield " ".join(words), svg_text(icon, data)


def _member(package: str, version: str, digest: str, member: str) -> bytes:
    address = f"{REGISTRY}{package}/-/{package}-{version}.tgz"
    with urllib.request.urlopen(address) as answer:
        content = answer.read()
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"{address} has SHA-256 {found}, expected {digest}: not the package "
                         "that was trained on.")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        file = archive.extractfile(member)
        return file.read() if file else b""


def svg_text(icon: dict[str, Any], defaults: dict[str, Any]) -> str:
    """One icon of an Iconify file as an SVG of its own."""
    left, top, width, height = (icon.get(key, defaults.get(key, usual)) for key, usual in (
        ("left", 0), ("top", 0), ("width", 16), ("height", 16)))
    return ('<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}" width="{SIDE}" height="{SIDE}">'
            f'{icon["body"]}</svg>')


def webp(svg: str) -> bytes:
    """The picture, (64, 64) RGBA, as a WebP file."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE))
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGBA").save(out, "WEBP", quality=QUALITY)
    return out.getvalue()


def choose_prompts(names: list[str]) -> dict[str, list[str]]:
    """Two lists of prompts without a common name, each of all sets and backgrounds in turn."""
    chance = random.Random(3)
    by_set: dict[str, list[str]] = {}
    for prompt in names:
        by_set.setdefault(*prompt.split(", ", 1)[:1], []).append(prompt.split(", ", 1)[1])
    taken: set[str] = set()
    lists: dict[str, list[str]] = {}
    for part in ("search", "held_out"):
        lists[part] = []
        for place in range(SPLIT):
            word = list(SETS)[place % len(SETS)]
            name = chance.choice([n for n in by_set[word] if n not in taken])
            taken.add(name)
            colour = list(BACKGROUNDS)[place // len(SETS) % len(BACKGROUNDS)]
            lists[part].append(f"{word}, {colour}, {name}")
    return lists


if __name__ == "__main__":
    main()
