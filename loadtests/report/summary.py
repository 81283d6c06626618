"""Results as text for a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loadtests.report.comparison import align, format_number
from loadtests.report.results import Results, Run, quantile

TIMES = ("late", "ack", "answer", "added", "gap", "stop")
LEGEND = """\
Latencies are ms, p50/p99, of successful turns, from the due time of each turn. late = until it was sent;
ack = first words of any kind; answer = first words of the agent; added = answer without the agent's wait;
gap = longest silence after the first chunk; stop = from an interruption to silence. left = hung up."""


def format_summary(results: Results) -> str:
    """Return the whole text: runs, overheads, checks and notes."""
    measured = f"{format_runs(results.runs)}\n\n{LEGEND}"
    parts = [measured, format_overheads(results), format_checks(results), "\n".join(results.notes)]
    return "\n\n".join(part for part in parts if part)


def format_runs(measured: Sequence[Run]) -> str:
    """Return a line for each load on each target, of the runs that are not void; latencies in ms, p50/p99."""
    groups: dict[tuple[str, str, float], list[Run]] = {}
    for run in measured:
        groups.setdefault((run.scenario, run.target, run.offered), []).append(run)
    lines = [["", "target", "turns/s", "turns", "failed", "left", *TIMES, ""]]
    for (scenario, target, offered), group in groups.items():
        valid = [run for run in group if not run.void]
        turns, left = sum(run.turns for run in valid), sum(run.left for run in valid)
        counts = [str(n) for n in (turns, sum(sum(run.failed.values()) for run in valid), left)]
        cells = [
            format_p50_p99([value for run in valid for value in run_values(run, name)]) for name in TIMES
        ]
        lines.append([scenario, target, format_number(offered), *counts, *cells, describe_void(group)])
    failures = sum((Counter(run.failed) for run in measured if not run.void), Counter[str]())
    return "\n".join([*align(lines), *(f"{count} x {reason}" for reason, count in failures.items())])


def run_values(run: Run, name: str) -> list[float]:
    return run.added if name == "added" else run.values(name)


def format_p50_p99(seconds: Sequence[float]) -> str:
    return "/".join(format_number(quantile(seconds, q) * 1e3) for q in (0.5, 0.99)) if seconds else "-"


def describe_void(group: Sequence[Run]) -> str:
    """Return how many of these runs are void, and the reason of the first."""
    reasons = [run.void for run in group if run.void]
    if not reasons:
        return ""
    return f"{'void' if len(group) == 1 else f'{len(reasons)} of {len(group)} void'}: {reasons[0]}"


def format_overheads(results: Results) -> str:
    if not results.overheads:
        return ""
    lines = [["", "added by", "quantile", "ms", "95 % interval"]]
    for found in results.overheads:
        low, high = (format_number(seconds * 1e3) for seconds in (found.low, found.high))
        name, estimate = f"p{found.quantile * 100:g}", format_number(found.estimate * 1e3)
        lines.append([found.scenario, found.target, name, estimate, f"{low} to {high}"])
    return "\n".join(align(lines))


def format_checks(results: Results) -> str:
    checks = [(run.scenario, check) for run in results.runs for check in run.checks]
    lines = [["", "check", "found", "wanted", ""]]
    lines += [[name, c.name, c.found, c.wanted, "" if c.ok else "FAILED"] for name, c in checks]
    return "\n".join(align(lines)) if checks else ""
