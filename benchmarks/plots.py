"""Plots of quality.json and cost.json: `python -m benchmarks.plots`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter  # noqa: E402

RESULTS = Path(__file__).parent / "results"
# Okabe and Ito's colours, told apart by colour-blind eyes; by label, so that plots agree.
COLOURS = {"best built-in": "#000000", "default, thorough": "#0072B2",
           "default, standard": "#56B4E9", "default, quick": "#9AD0F0",
           "dss, standard": "#D55E00", "dss_published, standard": "#E69F00",
           "s4s, standard": "#CC79A7", "s4s_alt, standard": "#882255",
           "dlms, standard": "#009E73", "gits, standard": "#999933", "published": "#777777"}
BESIDE = 1.07  # share of its calls by which a method stands beside the next
METHODS = ("default", "dss", "dss_published", "s4s", "s4s_alt", "dlms", "gits")
Row = dict[str, Any]


def main(results: Path = RESULTS) -> None:
    """Draw everything there are results for."""
    folder = results / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [r for r in json.loads((results / "quality.json").read_text())["rows"]
            if "transfer" not in r]
    for model in sorted({r["model"] for r in rows}):
        mine = [r for r in rows if r["model"] == model]
        _save(error_plot(mine, model), folder / f"error {model}.png")
        _save(budget_plot(mine, model), folder / f"budget {model}.png")
    cost = results / "cost.json"
    if cost.exists():
        _save(overhead_plot(json.loads(cost.read_text())["overhead"]), folder / "overhead.png")


def error_plot(rows: list[Row], model: str) -> plt.Figure:
    """Error against model calls, one panel per CFG."""
    scales = sorted({r["guidance"] for r in rows})
    figure, panels = plt.subplots(1, len(scales), figsize=(4.2 * len(scales), 3.6),
                                  squeeze=False, sharey=True)
    for panel, cfg in zip(panels[0], scales, strict=True):
        for label, line in _lines([r for r in rows if r["guidance"] == cfg]):
            line.sort(key=lambda r: r["nfe"])
            panel.errorbar([r["nfe"] for r in line], [r["error_mean"] for r in line],
                           [r["error_ci"] for r in line], label=label, color=COLOURS[label],
                           marker="o", ms=3.5, lw=1.4, capsize=2)
        panel.set(title=f"{model}, CFG {cfg:g}", xlabel="model calls", yscale="log",
                  xticks=sorted({r["nfe"] for r in rows if r["guidance"] == cfg}))
    panels[0][0].set_ylabel("error to a 100-call reference")
    return _finished(figure, panels[0])


def _lines(rows: list[Row]) -> Iterable[tuple[str, list[Row]]]:
    """Rows by label, in the order of COLOURS; the best of a kind where there are several.

    Other methods than the default are drawn at the one effort that they have in most cells.
    """
    lines: dict[str, dict[int, Row]] = {}
    for row in rows:
        named = {"handcrafted": "best built-in", "published": "published"}
        label = named.get(row["method"], f"{row['method']}, {row['budget']}")
        kept = lines.setdefault(label, {}).get(row["nfe"])
        if kept is None or row["error_mean"] < kept["error_mean"]:
            lines[label][row["nfe"]] = row
    return [(label, list(lines[label].values())) for label in COLOURS if label in lines]


def budget_plot(rows: list[Row], model: str) -> plt.Figure:
    """Error over that of the best built-in setting, against the model calls of the search.

    Methods of one effort stand side by side, a little beside their calls.
    """
    best = {(r["guidance"], r["nfe"]): r["error_mean"] for r in rows
            if r["method"] == "handcrafted"}
    figure, panel = plt.subplots(figsize=(5.2, 3.6))
    labels = {"default": "default, thorough"}
    for place, method in enumerate(METHODS):
        dots = [(r["model_calls"] * BESIDE ** (place - len(METHODS) // 2),
                 r["error_mean"] / best[r["guidance"], r["nfe"]]) for r in rows
                if r["method"] == method and r["model_calls"]
                and (r["guidance"], r["nfe"]) in best]
        if dots:
            panel.scatter(*zip(*dots, strict=True), s=16, alpha=0.8, label=method,
                          color=COLOURS[labels.get(method, f"{method}, standard")])
    panel.axhline(1, color="black", lw=1)
    panel.set(title=model, xscale="log", yscale="log", ylabel="error / best built-in",
              xlabel="model calls of the search (methods side by side)")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_formatter=NullFormatter(),
                 major_formatter=StrMethodFormatter("{x:,g}"))  # 0.5, not 5 x 10^-1
    return _finished(figure, [panel])


def overhead_plot(rows: list[Row]) -> plt.Figure:
    """Time per step beside the model, ours against ComfyUI's."""
    figure, panel = plt.subplots(figsize=(9.0, 3.4))
    names = list(dict.fromkeys(f"{r['latent']}\n{r['calls']} calls" for r in rows))
    contestants = list(dict.fromkeys(r["sampler"] for r in rows))
    for k, sampler in enumerate(contestants):
        mine = [r for r in rows if r["sampler"] == sampler]
        places = [names.index(f"{r['latent']}\n{r['calls']} calls") + 0.15 * k for r in mine]
        panel.bar(places, [r["microseconds"] for r in mine], 0.14, label=sampler,
                  color=list(COLOURS.values())[k])
    panel.set_xticks([i + 0.3 for i in range(len(names))], names, fontsize=6)
    panel.set(ylabel="microseconds per step", title="the sampler beside the model", yscale="log")
    return _finished(figure, [panel])


def _finished(figure: plt.Figure, panels: Sequence[Any]) -> plt.Figure:
    for panel in panels:
        panel.grid(alpha=0.3, which="both", lw=0.4)
        panel.spines[["top", "right"]].set_visible(False)
    shown = {label: handle for panel in panels
             for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    names = [n for n in COLOURS if n in shown] or list(shown)
    names += [n for n in shown if n not in names]
    figure.tight_layout()
    figure.legend([shown[n] for n in names], names, fontsize=7, frameon=False,
                  loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None}, bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
