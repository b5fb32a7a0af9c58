"""The part of docs/compatibility.md that speaks of templates: written, read, kept."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .installed import PACKAGE, comfyui_version, template_version
from .judge import BOTH, NONE, STAYS, USE, Sampling, Verdict
from .remarks import MEANING

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- templates: begin -->", "<!-- templates: end -->"
Verdicts = Mapping[str, Verdict]  # template -> what becomes of it
HEAD = """## Official templates

Written by `python run.py templates` from
{origin}; the test suite walks them again.
Each template is opened as the server would, subgraphs too; ComfyUI's own nodes make its samplers,
and what decides when a workflow runs decides here. **Use Solver** goes between a model and the
node that samples; **Solver Sampler** takes the place of SAMPLER and SIGMAS at a SamplerCustom.
Nothing is sampled: this says where a solver can stand, not how much it gains.
"""
SAID = re.compile(r"^\| `([^`]+)` \| (Use Solver[^|]*?) \|", re.MULTILINE)


def origin() -> str:
    """Whose templates these are, as the page names them."""
    return f"{PACKAGE.replace('_', '-')} {template_version()} with ComfyUI {comfyui_version()}"


def section(verdicts: Verdicts) -> str:
    """The section, between its two marker lines."""
    return "\n".join((BEGIN, HEAD.format(origin=origin()), *_summary(verdicts), "",
                      *_rows(verdicts), "", *_without(verdicts), END))


def templates_section(page: str) -> str:
    """The section as it stands in a page, to be kept when the rest is written anew.

    Args:
        page: text of docs/compatibility.md.

    Returns:
        A blank line and the section, "" if there is none.
    """
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", page, re.DOTALL)
    return f"\n{found.group()}\n" if found else ""


def with_section(page: str, new: str) -> str:
    """The page with a new section in the place of the old one, or at its end."""
    old = templates_section(page)
    return page.replace(old, f"\n{new}\n") if old else f"{page}\n{new}\n"


def said(page: str) -> dict[str, str]:
    """Template -> path, of all that the page names with one."""
    return dict(SAID.findall(templates_section(page)))


def lost(before: Mapping[str, str], verdicts: Verdicts) -> list[str]:
    """A line for each installed template that had a path and has it no longer."""
    return [f"{name}: {path} before, now {verdicts[name].path} {verdicts[name].why}".rstrip()
            for name, path in before.items()
            if name in verdicts and _ways(path) - _ways(verdicts[name].path)]


def _ways(path: str) -> set[str]:
    return set(path.split(" or "))


def _summary(verdicts: Verdicts) -> Iterator[str]:
    paths = Counter(one.path for one in verdicts.values())
    yield from _table(("path", "templates"), ([path, str(paths[path])]
                                              for path in (USE, BOTH, NONE)))
    yield ""
    remarks = Counter(key for one in verdicts.values() for key in one.remarks)
    yield from _table(("remark", "templates", "what it says"),
                      ([key, str(remarks[key]), MEANING[key]] for key in MEANING))


def _rows(verdicts: Verdicts) -> Iterator[str]:
    yield from _table(("template", "path", "sampler", "steps at CFG", "remarks"), (
        [f"`{name}`", one.path, _each(s.name for s in one.samplings),
         _each(_steps_at_cfg(s) for s in one.samplings), _remarks(one)]
        for name, one in verdicts.items() if one.path != NONE))


def _without(verdicts: Verdicts) -> Iterator[str]:
    yield "Without a path, and why:\n"
    reasons = Counter(one.why for one in verdicts.values() if one.path == NONE)
    for why, count in reasons.most_common():
        names = ", ".join(f"`{name}`" for name, one in verdicts.items()
                          if one.path == NONE and one.why == why)
        yield textwrap.fill(f"- {why} ({count}): {names}", 99, subsequent_indent="  ",
                            break_long_words=False, break_on_hyphens=False)


def _remarks(verdict: Verdict) -> str:
    return "; ".join(f"{key} ({verdict.why})" if key == STAYS else key
                     for key in verdict.remarks)


def _steps_at_cfg(one: Sampling) -> str:
    steps, cfg = one.asked.steps, one.asked.cfg
    return f"{'?' if steps is None else steps} at {'?' if cfg is None else f'{cfg:g}'}"


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    for cells in (names, ["---"] * len(names), *rows):
        yield "| " + " | ".join(cells) + " |"
