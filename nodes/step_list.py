"""The steps widget: one number of steps, or several with commas between."""

from __future__ import annotations

import re

LEAST, MOST = 2, 32
MOST_SHOWN = 40  # characters of what was found
SEPARATORS = re.compile(r"[,;\s]+")


def read_steps(text: str | float) -> list[int]:
    """Numbers of steps in the order they are written, each once.

    Args:
        text: such as "6" or "5, 6, 8, 10"; also a number, as older workflows hold.

    Raises:
        ValueError: for anything else, in words.
    """
    parts = [part for part in SEPARATORS.split(str(text)) if part]
    if not parts:
        raise ValueError(f"steps must be {_wanted()}, found nothing. Write how many steps the "
                         "fast sampler shall take.")
    return list(dict.fromkeys(_number(part) for part in parts))


def _number(part: str) -> int:
    try:
        number = float(part)
    except ValueError:
        number = 0.0
    if not number.is_integer() or not LEAST <= number <= MOST:
        raise ValueError(f"steps must be {_wanted()}, found {part[:MOST_SHOWN]!r}. Write each "
                         "number in digits, with commas between.")
    return int(number)


def _wanted() -> str:
    return f"whole numbers from {LEAST} to {MOST}, such as 6 or 5, 6, 8, 10"
