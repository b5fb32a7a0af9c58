"""Which prompts a search may see and which only a measurement may.

The models are trained on every subject in every style. The split is a checkerboard over
(subject, style), so both halves hold every subject and every style, and no prompt is in both.
"""

from __future__ import annotations

from .comfy_nodes.words import STYLES, SUBJECTS

PROMPTS = tuple(f"{subject}, {style}" for subject in SUBJECTS for style in STYLES)
SEARCH_PROMPTS = tuple(
    f"{subject}, {style}"
    for row, subject in enumerate(SUBJECTS)
    for column, style in enumerate(STYLES)
    if (row + column) % 2 == 0
)
HELD_OUT_PROMPTS = tuple(prompt for prompt in PROMPTS if prompt not in SEARCH_PROMPTS)
