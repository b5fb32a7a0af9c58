"""The language of the demo models: a few words, each a fixed direction in conditioning space.

A prompt is a subject and a style, `cat, night`. A word becomes a vector of independent standard
Gaussians that its spelling alone decides (the word's SHAKE-256 bytes through the inverse normal
distribution), so nothing is learned or stored and every checkpoint understands the same words at
any width. The empty word is the vector of "nothing said": it pads short prompts and, alone, is
the empty prompt that classifier-free guidance needs.
"""

from __future__ import annotations

import hashlib
import re

import torch

SUBJECTS = (
    "cat", "astronaut", "coffee", "rocket", "shuttle", "photographer", "retina", "horse", "eye",
)  # fmt: skip
STYLES = ("plain", "mono", "sepia", "night", "warm", "mint", "rose", "negative")
WORDS = SUBJECTS + STYLES
TOKENS = 4
EMPTY = ""


def split_words(prompt: str) -> list[str]:
    """Known words of one prompt.

    Args:
        prompt: one line, words separated by commas or blanks; upper case is accepted.

    Returns:
        At most `TOKENS` words, in the order written; none for an empty prompt.

    Raises:
        ValueError: a word is unknown, or there are too many.
    """
    words = [word for word in re.split(r"[\s,]+", prompt.lower()) if word]
    unknown = [word for word in words if word not in WORDS]
    if unknown:
        raise ValueError(
            f"The demo models do not know {', '.join(unknown)}. They know the subjects "
            f"{', '.join(SUBJECTS)} and the styles {', '.join(STYLES)}; "
            "write one subject and one style per line, such as: cat, night"
        )
    if len(words) > TOKENS:
        raise ValueError(f"A demo prompt has at most {TOKENS} words; {prompt!r} has {len(words)}.")
    return words


def word_vector(word: str, width: int) -> torch.Tensor:
    """The fixed Gaussian vector of a word.

    Args:
        word: its spelling; `EMPTY` for the null vector.
        width: length of the vector; a shorter one is the beginning of a longer one.

    Returns:
        (width,) float32.
    """
    data = bytearray(hashlib.shake_256(f"solver search demo: {word}".encode()).digest(4 * width))
    numbers = torch.frombuffer(data, dtype=torch.uint8).view(width, 4).double()
    place = torch.tensor([256.0**-1, 256.0**-2, 256.0**-3, 256.0**-4], dtype=torch.float64)
    uniform = numbers @ place + 0.5**33
    return torch.special.ndtri(uniform).float()


def token_rows(prompts: list[str], width: int) -> torch.Tensor:
    """Prompts as cross-attention tokens.

    Args:
        prompts: K prompts.
        width: the model's context width C.

    Returns:
        (K, TOKENS, C) float32; unused tokens hold the null vector.
    """
    rows = []
    for prompt in prompts:
        words = split_words(prompt)
        words += [EMPTY] * (TOKENS - len(words))
        rows.append(torch.stack([word_vector(word, width) for word in words]))
    return torch.stack(rows)


def pooled_rows(prompts: list[str], width: int) -> torch.Tensor:
    """Prompts as one vector each: the words' sum over the square root of their number.

    Args:
        prompts: K prompts.
        width: the model's pooled width P.

    Returns:
        (K, P) float32.
    """
    rows = []
    for prompt in prompts:
        words = split_words(prompt) or [EMPTY]
        total = sum(word_vector(word, width) for word in words)
        rows.append(total / len(words) ** 0.5)
    return torch.stack(rows)
