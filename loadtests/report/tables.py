"""The tables of a report: figures by quantile, overheads, checks, every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from loadtests.report.comparison import format_number as digits
from loadtests.report.grouping import QUANTILES, LoadStep
from loadtests.report.markup import Markup, cell, group, number, row, table, tag
from loadtests.report.results import Overhead, Run, quantile

FIGURES = {
    "first_chunk": "first chunk",
    "ack": "ack-TTFT",
    "answer": "answer-TTFT",
    "added": "added",
    "gap": "longest gap",
    "stop": "stop",
}
QUANTILE_TITLES = {
    0.5: "p50: half of the turns took longer",
    0.95: "p95: one turn in twenty took longer",
    0.99: "p99: one in a hundred took longer",
    0.999: "p99.9: one in a thousand took longer",
}
LEGEND = (
    "Milliseconds, from the due time of the turn. First chunk: the first event. "
    "ack-TTFT: the first words of any kind. answer-TTFT: the first words of the agent. Added: answer-TTFT "
    "without the wait of the agent. Longest gap: the longest silence after the first chunk. Stop: from "
    "barge-in to silence. A star: there were too few turns for this quantile; the figure is the slowest turn."
)
CHECK_HEAD = ("check", "verdict", "found", "wanted", "run")
RUN_HEAD = ("run", "verdict", "s", "seed", "turns", "failed", "sent late, p99 ms", "reason")


def run_title(run: Run) -> str:
    load = LoadStep(run.target, run.scenario, run.loop, run.offered, (run,)).load_text
    return f"{run.scenario}, {load}, {run.target}"


def latency_table(name: str, found: Sequence[LoadStep]) -> Markup:
    """Return turns and failures, then a block per quantile, so that targets stand under each other."""
    counted = [
        row(
            step_title(step),
            number(f"{step.turns:,}" if step.valid_runs else "void"),
            cell(format_failures(step.failed) if step.valid_runs else "all of its runs are void", colspan=5),
            class_=alarm_class(not step.valid_runs),
        )
        for step in found
    ]
    head = ("target, load", *FIGURES.values())
    turns = group("successful turns, and failures by reason", len(head), counted)
    blocks = [
        group(
            QUANTILE_TITLES[q],
            len(head),
            (row(step_title(step), *quantile_cells(step, q)) for step in found if step.valid_runs),
        )
        for q in QUANTILES
    ]
    return table(f"{name}: latencies in ms", head, turns, *blocks, class_="figures")


def step_title(step: LoadStep) -> str:
    runs = f", {len(step.valid_runs)} runs" if len(step.valid_runs) > 1 else ""
    return f"{step.target}, {step.load_text}{runs}"


def quantile_cells(step: LoadStep, share: float) -> Iterator[Markup]:
    """Yield one figure per column at this quantile."""
    for name in FIGURES:
        known = step.values(name)
        star = "*" if round(len(known) * (1 - share), 9) < 1 else ""
        yield number(f"{digits(quantile(known, share) * 1e3)}{star}" if known else "–")


def format_failures(failed: Mapping[str, int]) -> str:
    return (
        "; ".join(f"{times:,} × {reason}" for reason, times in Counter(failed).most_common()) or "none failed"
    )


def overhead_table(name: str, overheads: Sequence[Overhead]) -> Markup:
    rows = (
        row(
            overhead.target,
            number(f"p{overhead.quantile * 100:g}"),
            *(number(digits(value * 1e3)) for value in (overhead.estimate, overhead.low, overhead.high)),
        )
        for overhead in overheads
    )
    head = ("target", "at", "ms more than direct", "at least", "at most")
    caption = f"{name}: overhead in answer-TTFT, with its 95 % interval"
    return table(caption, head, tag("tbody", *rows), class_="figures small")


def check_table(runs: Sequence[Run]) -> Markup:
    """Return the checks after the runs; failed checks come first."""
    checks = sorted(((run, check) for run in runs for check in run.checks), key=lambda pair: pair[1].ok)
    words = {True: tag("span", "ok", class_="fine"), False: tag("span", "NOT OK", class_="alarm")}
    rows = [
        row(
            check.name,
            words[check.ok],
            check.found,
            check.wanted,
            run_title(run),
            class_=alarm_class(not check.ok),
        )
        for run, check in checks
    ]
    return table("Conditions after a run", CHECK_HEAD, tag("tbody", *rows)) if rows else Markup()


def run_table(runs: Sequence[Run]) -> Markup:
    rows = [run_row(run) for run in runs]
    return (
        table("In the order of measurement", RUN_HEAD, tag("tbody", *rows), class_="runs")
        if rows
        else Markup()
    )


def run_row(run: Run) -> Markup:
    late = run.values("late")
    return row(
        run_title(run),
        tag("span", "VOID", class_="alarm") if run.void else "valid",
        number(f"{run.seconds:g}"),
        number(run.seed),
        number(f"{len(run.times['at']):,}"),
        number(f"{sum(run.failed.values()):,}"),
        number(digits(quantile(late, 0.99) * 1e3) if late else "–"),
        run.void or format_failures(run.failed),
        class_=alarm_class(run.void),
    )


def alarm_class(wrong: object) -> str | None:
    """Return the class of a row that must be seen."""
    return "gone" if wrong else None
