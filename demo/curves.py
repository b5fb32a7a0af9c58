"""Loss curves: one CSV per network while it trains, and one picture of all of them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "training_curves"
WIDTH, HEIGHT, MARGIN = 420, 260, 44


def append_row(name: str, row: dict[str, float]) -> None:
    """Add one row to a curve; rows after it (of a killed run) are dropped first.

    Args:
        name: of the curve.
        row: "step" and numbers, the same keys each time.
    """
    rows = [old for old in read_rows(name) if old["step"] < row["step"]]
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        for line in [*rows, row]:
            writer.writerow({key: f"{value:.6g}" for key, value in line.items()})


def read_rows(name: str) -> list[dict[str, float]]:
    """All rows of a curve, oldest first; none where there is no file."""
    path = FOLDER / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def draw_curves() -> None:
    """Draw every CSV, logarithmic loss over steps, into `training_curves/curves.png`."""
    names = sorted(path.stem for path in FOLDER.glob("*.csv"))
    rows = -(-len(names) // 2)
    sheet = Image.new("RGB", (2 * WIDTH, rows * HEIGHT), "white")
    for place, name in enumerate(names):
        panel = _panel(name, read_rows(name))
        sheet.paste(panel, (place % 2 * WIDTH, place // 2 * HEIGHT))
    sheet.save(FOLDER / "curves.png")


def _panel(name: str, rows: list[dict[str, float]]) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    steps = [row["step"] for row in rows]
    losses = [math.log10(row["loss"]) for row in rows]
    low, high = min(losses), max(max(losses), min(losses) + 1e-6)
    right, bottom = WIDTH - 16, HEIGHT - MARGIN
    points = [
        (
            MARGIN + (right - MARGIN) * step / steps[-1],
            bottom - (bottom - 30) * (loss - low) / (high - low),
        )
        for step, loss in zip(steps, losses, strict=True)
    ]
    draw.rectangle((MARGIN, 30, right, bottom), outline="#888888")
    draw.line(points, fill="#1f5fbf", width=2)
    draw.text((MARGIN, 10), f"{name}: loss, last {10 ** losses[-1]:.4g}", fill="black")
    draw.text((4, 30), f"{10**high:.2g}", fill="black")
    draw.text((4, bottom - 10), f"{10**low:.2g}", fill="black")
    draw.text((right - 90, bottom + 8), f"{steps[-1]:.0f} steps", fill="black")
    return image
