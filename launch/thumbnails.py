"""Draws the templates' pictures from docs/contact_sheet.png.

    python -m launch.thumbnails

The sheet has rows for 100 steps, the best built-in sampler and a searched solver, one seed a
column. The demo's templates get the same pictures with a badge.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .examples import ARTISTS, DEMO, TITLES
from .places import ROOT

SHEET = ROOT / "docs" / "contact_sheet.png"
SHEET_WIDTH = 1282  # in which the places below are told
COLUMNS = (210, 344, 478, 612, 746, 880, 1014, 1148)
ROWS = {"100 steps": 30, "built-in": 182, "searched": 334}
TILE = 128
SIDE = 600
GROUND, BADGE = (24, 26, 31), (230, 150, 30)


class Card:
    """One picture being drawn."""

    def __init__(self, sheet: Image.Image, head: str) -> None:
        self.picture = Image.new("RGB", (SIDE, SIDE), GROUND)
        self._sheet = sheet
        self._draw = ImageDraw.Draw(self.picture)
        self.words(head, (SIDE // 2, 52), 52)

    def words(self, text: str, at: tuple[int, int], size: int, anchor: str = "mm",
              fill: str = "white") -> None:
        """Write something."""
        self._draw.text(at, text, font=ImageFont.load_default(size=size), fill=fill,
                        anchor=anchor)

    def tile(self, row: str, column: int, at: tuple[int, int], side: int) -> None:
        """Put in one picture of the sheet."""
        scale = self._sheet.width / SHEET_WIDTH
        left, top = COLUMNS[column] * scale, ROWS[row] * scale
        box = tuple(int(v) for v in (left, top, left + TILE * scale, top + TILE * scale))
        found = self._sheet.crop(box).resize((side, side), Image.Resampling.LANCZOS)
        self.picture.paste(found, at)

    def badge(self) -> None:
        """Say that this is the demo's."""
        self._draw.rounded_rectangle((430, 545, 590, 592), 8, fill=BADGE)
        self.words("DEMO", (510, 568), 38, fill="black")


def _use(card: Card) -> None:
    for left, row, text in ((20, "100 steps", "100 steps"), (310, "searched", "6 steps")):
        card.tile(row, 6, (left, 150), 270)
        card.words(text, (left + 135, 480), 46)


def _quick(card: Card) -> None:
    card.tile("searched", 1, (130, 110), 340)
    card.words("your checkpoint,", (300, 515), 48)
    card.words("few steps", (300, 565), 48)


def _search(card: Card) -> None:
    for left, column in ((40, 2), (330, 7)):
        card.tile("100 steps", column, (left, 105), 230)
        card.tile("searched", column, (left, 355), 230)


def _compare(card: Card) -> None:
    for i, row in enumerate(ROWS):
        top = 100 + i * 165
        card.tile(row, 4, (250, top), 155)
        card.tile(row, 5, (420, top), 155)
        card.words("100" if row == "100 steps" else row, (18, top + 78), 46, "lm")


DRAWN: dict[str, tuple[str, Callable[[Card], None]]] = {
    "Fast sampling in few steps": ("6 steps, not 100", _use),
    "Speed without Turbo or Lightning LoRA": ("Search once", _quick),
    "Solver search with sampler comparison": ("Search, compare", _search),
    "Compare fast samplers": ("Which is nearest?", _compare),
}


def thumbnails() -> dict[Path, Image.Image]:
    """Each template's picture by its path."""
    sheet = Image.open(SHEET).convert("RGB")
    found: dict[Path, Image.Image] = {}
    for title in TITLES:
        head, drawn = DRAWN[title]
        for folder, prefix in ((ARTISTS, ""), (DEMO, "Demo - ")):
            card = Card(sheet, head)
            drawn(card)
            if prefix:
                card.badge()
            found[folder / f"{prefix}{title}.jpg"] = card.picture
    return found


if __name__ == "__main__":
    for path, picture in thumbnails().items():
        picture.save(path, quality=85)
