"""The table of the benchmark: medians over the rounds, in aligned columns of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan, nan
from statistics import median
from typing import Any

COLUMNS = {
    "first chunk": ("first_chunk_p50", "first_chunk_p99"),
    "ack": ("ack_p50", "ack_p99"),
    "answer": ("answer_p50", "answer_p99"),
    "added": ("added_p50", "added_p99"),
    "x nginx": ("added_p50_per_nginx",),
    "streams": ("streams",),
    "failed": ("failed",),
    "per s": ("per_second",),
    "rate/nginx": ("per_second_per_nginx",),
    "CPU/1000": ("cpu",),
    "CPU/nginx": ("cpu_per_nginx",),
    "CPU/naive": ("cpu_per_naive",),
    "CPU/LiteLLM": ("cpu_per_litellm",),
    "RSS idle": ("rss_idle",),
    "RSS": ("rss",),
    "open": ("open",),
    "kB each": ("per_stream",),
    "driver": ("driver",),
}
"""The columns of the table, each with its figures; a column without any figure is left out."""

LEGEND = """\
Medians over the rounds; ratios are formed within a round. Latencies are ms, p50/p99, from the request:
first chunk = first event, ack = first words of any kind, answer = first words of the upstream.
added = answer without the wait of the upstream, minus the same of "direct"; x nginx = ratio of p50 to nginx.
CPU = seconds per 1000 streams, RSS = MB, driver = core used by upstream and generator (1: their limit).
open = streams that had begun when memory was read, if nearly all had; kB each = memory above idle per stream.
"""


def summarise_rounds(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the median of every figure per scenario, step and target; counts of streams are summed."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["scenario"], row["callers"], row["target"]), []).append(row)
    return [
        {
            "scenario": scenario,
            "callers": callers,
            "target": target,
            "rounds": len(group),
            **medians_and_sums(group),
        }
        for (scenario, callers, target), group in sorted(groups.items(), key=lambda item: item[0][:2])
    ]


def without_nan(values: Iterable[float]) -> list[float]:
    """Return the values that were measured."""
    return [value for value in values if not isnan(value)]


def medians_and_sums(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of the figures of a group of rows, and the sums of its counts."""
    figures = {name for row in group for name, value in row.items() if type(value) in (int, float)}
    values = {
        name: without_nan(row.get(name, nan) for row in group) for name in figures - {"round", "callers"}
    }
    medians = {name: median(measured) for name, measured in values.items() if measured}
    sums = {name: sum(row[name] for row in group) for name in ("streams", "failed", "events", "tokens")}
    return {**medians, **sums, "held": sum(row["held"] for row in group) * 2 > len(group)}


def format_cell(row: dict[str, Any], names: Iterable[str]) -> str:
    return "/".join(format_number(row[name]) for name in names if name in row) or "-"


def format_number(value: float) -> str:
    """Return a number with three significant digits."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def max_streams_held(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line per target: the most streams of S3 that it held in more than half of the rounds."""
    max_held: dict[str, int] = {}
    for row in lines:
        if row["scenario"] == "S3":
            max_held[row["target"]] = max(max_held.get(row["target"], 0), row["callers"] * row["held"])
    return [f"S3: {target} held {callers} streams" for target, callers in max_held.items()]


def align(table: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, each column as wide as its longest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{word:<{w}}" for word, w in zip(row, widths, strict=True)).rstrip() for row in table]


def format_table(rows: Sequence[dict[str, Any]], missing: dict[str, str]) -> str:
    """Return the whole report; `missing` has the reason for each target that was not measured."""
    lines = summarise_rounds(rows)
    shown = {head: names for head, names in COLUMNS.items() if any(n in row for row in lines for n in names)}
    table = [["", "target", *shown]]
    for row in lines:
        name = f"{row['scenario']} x{row['callers']}"
        table.append([name, row["target"], *(format_cell(row, names) for names in shown.values())])
    failures = [
        f"{row['scenario']} x{row['callers']} {row['target']}: {row['why']}" for row in rows if row["why"]
    ]
    absent = [f"{name} was not measured: {reason}" for name, reason in missing.items()]
    return "\n".join([*align(table), *max_streams_held(lines), *failures, *absent, "", LEGEND])
