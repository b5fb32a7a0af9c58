"""What a node says again when ComfyUI need not run it: in another tab, in a copy of a workflow.

What is said is kept by everything that leads to the node, itself included, as ComfyUI keeps
results. When a prompt arrives its page is told what its nodes would say, and shows it on those
that ComfyUI then finds in its cache.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from .behind import Prompt

MOST = 256
DEEP = 64  # nodes in a row, at most
Words = dict[str, Any]


@dataclass
class Echo:
    """What was said, by what leads to it; the oldest is forgotten first.

    Args:
        most: how many are kept.
    """

    most: int = MOST
    words: OrderedDict[str, Words] = field(default_factory=OrderedDict)

    def keep(self, prompt: Prompt | None, node: str, words: Words) -> None:
        """A node of this prompt has said this."""
        leading = above(prompt, node, itself=True)
        self.words.pop(leading, None)
        self.words[leading] = words
        while len(self.words) > self.most:
            self.words.popitem(last=False)

    def of(self, prompt: Prompt | None) -> dict[str, Words]:
        """What the nodes of a prompt would say, as far as known."""
        if not isinstance(prompt, dict) or not self.words:
            return {}
        leading = {node: above(prompt, node, itself=True) for node in prompt}
        return {node: self.words[key] for node, key in leading.items() if key in self.words}


ECHO = Echo()


def above(prompt: Prompt | None, node: str | None, *, itself: bool = False) -> str:
    """Everything that leads to a node, as text; a foreign prompt may hold anything.

    Args:
        prompt: as ComfyUI runs it.
        node: its id.
        itself: whether its own inputs count, too.
    """
    found: dict[str, Any] = {}
    front = [str(node)]
    for _ in range(DEEP):
        front = [name for name in dict.fromkeys(front) if name not in found
                 and isinstance(prompt, dict) and isinstance(prompt.get(name), dict)]
        found |= {name: (prompt[name].get("class_type"), _numbers(prompt[name].get("inputs")))
                  for name in front}
        front = [str(value[0]) for name in front if isinstance(found[name][1], dict)
                 for value in found[name][1].values()
                 if isinstance(value, list) and len(value) == 2]
    if not itself:
        found.pop(str(node), None)
    return repr(sorted(found.items()))


def _numbers(inputs: object) -> object:
    """Inputs with every number a float: ComfyUI turns the 1 of a page into 1.0 as it checks."""
    if not isinstance(inputs, dict):
        return inputs
    return {key: float(value) if type(value) is int and abs(value) < 2**53 else value
            for key, value in inputs.items()}
