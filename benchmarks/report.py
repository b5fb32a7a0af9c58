"""quality.json as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
BUDGETS = ("quick", "standard", "thorough")
ORDINARY = ("handcrafted", "node_only")  # the best of many settings; no search, no effort
FIRST = (*ORDINARY, "default")
COMPARED = (4, 5, 6, 8, 10)  # calls in the first table


def key(row: Row) -> tuple:
    """What a row is about: a newer row of the same key replaces the older one."""
    budget = "" if row["method"] in ORDINARY else row["budget"]  # how many were tried may change
    return (*cell(row), row["method"], budget, row.get("transfer", ""),
            row["solver"] if row["method"] == "published" else "")


def cell(row: Row) -> tuple[str, float, int]:
    """Model, CFG and number of model calls."""
    return row["model"], row["guidance"], row["nfe"]


def merge_rows(path: Path, new: list[Row], group: Callable[[Row], Any],
               order: Callable[[Row], Any]) -> list[Row]:
    """Write the rows of a file with those of the new ones' group replaced; returns them all."""
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    kept = [row for row in old if group(row) != group(new[0])]
    found = sorted([*kept, *new], key=order)
    path.write_text(json.dumps({"rows": found}, indent=1) + "\n")
    return found


def write_table(results: Path) -> None:
    """Write quality.md beside quality.json."""
    rows = json.loads((results / "quality.json").read_text())["rows"]
    text = (f"# Quality\n\n{summary(rows)}\n## Search methods side by side\n\n{side_by_side(rows)}"
            f"\n## Settings that need nodes\n\n{beside_nodes(rows)}"
            f"\n## Where another search did better\n\n{beaten(rows)}"
            f"\n## Every row\n\n{table(rows)}")
    (results / "quality.md").write_text(text)


def summary(rows: list[Row]) -> str:
    """The default at each budget beside the best built-in setting, by number of calls."""
    best = _handcrafted(rows)
    lines = ["The default over the best built-in setting of the same cell, by number of calls: "
             "ratio of mean errors · of median errors · of Frechet distances to the reference's "
             "pictures · percent of seeds that land on another picture (relative error above "
             "0.5), default : built-in. Geometric mean and worst are of the ratios of means.", "",
             "| model | CFG | budget | " + " | ".join(map(str, COMPARED)) +
             " | geometric mean | worst |", "|" + "---|" * (5 + len(COMPARED))]
    groups: dict[tuple, dict[int, Row]] = {}
    for row in rows:
        if (row["method"] == "default" and "transfer" not in row and cell(row) in best
                and row["nfe"] in COMPARED):
            found = groups.setdefault((row["model"], row["guidance"], row["budget"]), {})
            found[row["nfe"]] = row
    for (model, cfg, budget), found in sorted(groups.items(), key=lambda g: _in_order(
            (*g[0][:2], "default", g[0][2]))):
        ratios = [_ratio(r, best[cell(r)]) for r in found.values()]
        cells = [_beside_best(found[n], best[cell(found[n])]) if n in found else ""
                 for n in COMPARED]
        lines.append(f"| {model} | {cfg:g} | {budget} | " + " | ".join(cells) +
                     f" | {_mean(ratios):.2f} | {max(ratios):.2f} |")
    return "\n".join(lines) + "\n"


def _beside_best(row: Row, best: Row) -> str:
    """One cell of the summary; a measure that either row lacks is left blank."""
    ratios = [f"{_ratio(row, best, field):.2f}" if _both(row, best, field) else ""
              for field in ("error_mean", "error_median", "frechet_reference")]
    shares = " : ".join(f"{100 * r['share_elsewhere']:.0f} %" for r in (row, best)
                        ) if _both(row, best, "share_elsewhere") else ""
    return " · ".join([*ratios, shares]).rstrip(" ·")


def _both(row: Row, other: Row, field: str) -> bool:
    return row.get(field) is not None and other.get(field) is not None


def side_by_side(rows: list[Row]) -> str:
    """Errors of all search methods on the same model, by number of model calls."""
    columns = sorted({r["nfe"] for r in rows})
    lines = ["Mean relative error by number of calls, where others than the default were tried. "
             "The calls of a search are forward passes; a backward pass, as long as two of them, "
             "is not counted.", "",
             "| model | CFG | method | budget | calls of the search | " +
             " | ".join(map(str, columns)) + " |", "|" + "---|" * (5 + len(columns))]
    groups = _by_method(rows)
    compared = {key[:2] for key in groups if key[2] not in FIRST}
    for key in sorted(groups, key=_in_order):
        if key[:2] in compared:
            model, cfg, method, budget = key
            found = groups[key]
            errors = [f"{found[n]['error_mean']:.4f}" if n in found else "" for n in columns]
            lines.append(f"| {model} | {cfg:g} | {method} | {budget} | {_spent(found)} | " +
                         " | ".join(errors) + " |")
    return "\n".join(lines) + "\n"


def beside_nodes(rows: list[Row]) -> str:
    """The best setting that only nodes can make, beside the menus' best and the default."""
    menu, ours = _handcrafted(rows), _thorough(rows)
    found = sorted((r for r in rows if r["method"] == "node_only"), key=cell)
    below_menu = [r for r in found if cell(r) in menu and _ratio(r, menu[cell(r)]) < 1]
    below_ours = [r for r in found if cell(r) in ours and _ratio(r, ours[cell(r)]) < 1]
    lines = ["All ratios elsewhere are to the best setting of the KSampler menus (handcrafted). "
             "Nodes such as SamplerCustom can make more: noise turned off, other orders, other "
             f"curves. Measured in {len(found)} cells, the best of those is below the best of "
             f"the menus in {len(below_menu)} and below the default's thorough search in "
             f"{len(below_ours)}.", "",
             "| model | CFG | calls | best node-only setting | of | error | 95 % | menu's best | "
             "node-only / menu | default, thorough | default / node-only |",
             "|" + "---|" * 11]
    lines += ["| " + " | ".join([
        r["model"], f"{r['guidance']:g}", str(r["nfe"]), r["solver"], r["budget"].split()[0],
        f"{r['error_mean']:.4f}", f"{r['error_ci']:.4f}", *_beside(r, menu, swap=False),
        *_beside(r, ours, swap=True)]) + " |" for r in found]
    return "\n".join(lines) + "\n"


def _beside(row: Row, others: dict[tuple, Row], *, swap: bool) -> list[str]:
    """Error of the other row of this cell, and the ratio: this one's to it, or the other way."""
    other = others.get(cell(row))
    if other is None:
        return ["", ""]
    ratio = _ratio(other, row) if swap else _ratio(row, other)
    return [f"{other['error_mean']:.4f}", f"{ratio:.2f}"]


def _thorough(rows: list[Row]) -> dict[tuple, Row]:
    return {cell(r): r for r in rows if r["method"] == "default" and r["budget"] == "thorough"
            and "transfer" not in r}


def beaten(rows: list[Row]) -> str:
    """Cells where another search method of the same budget landed below the default."""
    ours = {(*cell(r), r["budget"]): r for r in rows
            if r["method"] == "default" and "transfer" not in r}
    pairs = [(r, ours[(*cell(r), r["budget"])]) for r in rows
             if r["method"] != "default" and (*cell(r), r["budget"]) in ours]
    lines = [f"{len(pairs)} rows of other search methods have a row of the default with the same "
             "budget beside them. These are below it; the interval is that of the default's mean.",
             "", "| model | CFG | calls | budget | method | error | default | 95 % |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {r['model']} | {r['guidance']:g} | {r['nfe']} | {r['budget']} | {r['method']} | "
              f"{r['error_mean']:.4f} | {o['error_mean']:.4f} | {o['error_ci']:.4f} |"
              for r, o in pairs if r["error_mean"] < o["error_mean"]]
    return "\n".join(lines) + "\n"


def _by_method(rows: list[Row]) -> dict[tuple, dict[int, Row]]:
    """Rows of searches and built-in settings by model, CFG, method and budget, then calls."""
    groups: dict[tuple, dict[int, Row]] = {}
    for r in rows:
        budget = "" if r["method"] in ORDINARY else r["budget"]
        if "transfer" not in r and budget in ("", *BUDGETS):
            groups.setdefault((*cell(r)[:2], r["method"], budget), {})[r["nfe"]] = r
    return groups


def _in_order(group: tuple[str, float, str, str]) -> tuple:
    model, cfg, method, budget = group
    place = FIRST.index(method) if method in FIRST else len(FIRST)
    return model, cfg, place, method, ("", *BUDGETS).index(budget)


def _spent(found: dict[int, Row]) -> str:
    counts = [r["model_calls"] for r in found.values() if r.get("model_calls")]
    ends = sorted({min(counts), max(counts)}) if counts else []
    return " to ".join(f"{n:,}" for n in ends)


def _handcrafted(rows: list[Row]) -> dict[tuple, Row]:
    return {cell(r): r for r in rows if r["method"] == "handcrafted"}


def _ratio(row: Row, other: Row, field: str = "error_mean") -> float:
    return max(row[field], 1e-9) / max(other[field], 1e-9)


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def equal_steps(row: Row, rows: list[Row]) -> str:
    """Calls at which the best built-in setting reaches a row's error, by log interpolation."""
    known = sorted((r["nfe"], math.log(r["error_mean"])) for r in rows
                   if r["method"] == "handcrafted" and cell(r)[:2] == cell(row)[:2])
    target = math.log(row["error_mean"])
    for (n0, e0), (n1, e1) in zip(known, known[1:], strict=False):
        if e1 <= target <= e0:
            return f"{n0 + (n1 - n0) * (e0 - target) / (e0 - e1):.1f}"
    if known and target < known[-1][1]:
        return f"> {known[-1][0]}"
    return ""


def table(rows: list[Row]) -> str:
    """All rows, by cell and error."""
    best = _handcrafted(rows)
    lines = ["| model | CFG | calls | method | budget | solver | error | 95 % | median | "
             "elsewhere | ratio | outside span | built-in needs | Frechet to reference | "
             "to data | trajectories | model calls | s | MB | seeds |",
             "|" + "---|" * 20]
    for r in sorted(rows, key=lambda r: (*cell(r), r["error_mean"])):
        known = best.get(cell(r))
        name = r["method"] + (f", {r['transfer']}" if "transfer" in r else "")
        peak = r.get("peak_bytes")
        needs = "" if r["method"] == "handcrafted" else equal_steps(r, rows)
        lines.append("| " + " | ".join([
            r["model"], f"{r['guidance']:g}", str(r["nfe"]), name, r["budget"], r["solver"],
            f"{r['error_mean']:.4f}", f"{r['error_ci']:.4f}", f"{r['error_median']:.4f}",
            _number(r.get("share_elsewhere")),
            f"{_ratio(r, known, 'error_mean'):.2f}" if known else "",
            _number(r.get("error_span"), 4), needs,
            _number(r.get("frechet_reference"), 5), _number(r.get("frechet_data"), 4),
            str(r.get("trajectories") or ""), str(r.get("model_calls") or ""),
            _number(r.get("seconds"), 0), _number(peak and peak / 1e6, 0),
            str(r["seeds"])]) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
