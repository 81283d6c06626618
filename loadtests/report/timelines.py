"""The drawings of a report over the time of a run: silences, CPU, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes

from loadtests.report.comparison import format_number
from loadtests.report.grouping import LoadStep
from loadtests.report.markup import Markup
from loadtests.report.plots import MS, Plot, format_ms
from loadtests.report.results import Run, Sample, quantile
from loadtests.report.svg import SeriesStyle, draw, scale_axis

MAX_SLOTS = 150
"""The maximum number of points in a line."""
MAX_MARKED_POINTS = 40
"""A line of at most this many points marks each of them."""
MB = 1e-6


def plot_gaps(section_id: str, found: Sequence[LoadStep], styles: Mapping[str, SeriesStyle]) -> Plot:
    """Return the longest gap of each slot of time."""
    worst = {step.target: tops for step in found if (tops := max_per_slot(step.pairs("gap")))}

    def paint(axes: Axes) -> None:
        scale_axis(axes, "y", [gap * MS for tops in worst.values() for _, gap in tops], 1.3)
        for target, tops in worst.items():
            style = styles[target]
            x, y = zip(*((when, gap * MS) for when, gap in tops), strict=True)
            axes.plot(x, y, color=style.colour, ls=style.dash, lw=1.2, **marker_style(tops))
        scale_axis(axes, "x", [0.0, *(when for tops in worst.values() for when, _ in tops)], 1.02)
        axes.set(xlabel="s since the run began", title="longest gap, ms")

    highest = {target: [gap for _, gap in tops] for target, tops in worst.items()}
    description = "; ".join(f"{target}: at most {format_ms(max(known))}" for target, known in highest.items())
    return Plot(
        "Silences, over the time of the run",
        draw(f"{section_id}-gaps", f"Longest gap per turn over time. {description}", paint) if worst else "",
        {target: styles[target] for target in worst},
        "The longest silence inside an answer, after its first chunk; each point is the worst turn that "
        f"began in its slot of time. {description}.",
        "peaks that direct does not have at the same time, or a line that climbs: something fills up.",
    )


def marker_style(line: Sequence[object]) -> dict[str, Any]:
    """Return markers where there are few points; many would hide the line, and make the file large."""
    return {"marker": ".", "ms": 4} if len(line) <= MAX_MARKED_POINTS else {}


def max_per_slot(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the highest value of each slot of time, at most MAX_SLOTS of them."""
    ordered = sorted(pairs)
    width = (ordered[-1][0] / MAX_SLOTS or 1.0) if ordered else 1.0
    best: dict[int, tuple[float, float]] = {}
    for when, value in ordered:
        slot = min(int(when / width), MAX_SLOTS - 1)
        best[slot] = max(best.get(slot, (when, value)), (when, value), key=lambda pair: pair[1])
    return list(best.values())


def most_sampled_run(step: LoadStep) -> Run:
    return max(step.valid_runs, key=lambda run: len(run.samples))


def busy_samples(run: Run) -> list[Sample]:
    """Return at most MAX_SLOTS samples, from times when at least half of the peak of streams were open."""
    peak = max((sample.streams for sample in run.samples), default=0)
    found = [sample for sample in run.samples if sample.streams * 2 >= peak > 0]
    return found[:: len(found) // MAX_SLOTS + 1]


def cpu_per_stream(run: Run) -> list[tuple[float, float]]:
    """Return ms of CPU per second and open stream at each sample, since the one before."""
    return [
        (b.at, (b.cpu - a.cpu) / (b.at - a.at) / ((a.streams + b.streams) / 2) * MS)
        for a, b in pairwise(busy_samples(run))
        if b.at > a.at
    ]


def memory_per_stream(run: Run) -> list[tuple[float, float]]:
    """Return MB per open stream at each sample; the memory of the whole server is divided."""
    return [(sample.at, sample.rss * MB / sample.streams) for sample in busy_samples(run)]


def plot_usage(section_id: str, found: Sequence[LoadStep], styles: Mapping[str, SeriesStyle]) -> list[Plot]:
    """Return CPU and memory per open stream."""
    runs = {step.target: most_sampled_run(step) for step in found}
    costs = {target: line for target, run in runs.items() if (line := cpu_per_stream(run))}
    sizes = {target: line for target, run in runs.items() if (line := memory_per_stream(run))}
    return [
        Plot(
            "CPU per open stream",
            draw_over_time(f"{section_id}-cpu", "ms of CPU per s and stream", costs, styles),
            {target: styles[target] for target in costs},
            "The CPU time of the server, divided by the streams open at that time. Ten means that a hundred "
            "streams fill one core. Times with less than half of the peak of streams are left out.",
            "a line that climbs while the load stays: the work of a turn grows with those before it.",
        ),
        Plot(
            "Memory per open stream",
            draw_over_time(f"{section_id}-memory", "MB per stream", sizes, styles),
            {target: styles[target] for target in sizes},
            "The whole memory of the server, also that of the idle server, divided by the streams open at "
            "that time. Times with less than half of the peak of streams are left out.",
            "a line that climbs while the load stays: the server keeps something that it should release.",
        ),
    ]


def draw_over_time(
    name: str,
    unit: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    styles: Mapping[str, SeriesStyle],
) -> Markup | str:
    def paint(axes: Axes) -> None:
        scale_axis(axes, "y", [value for line in lines.values() for _, value in line], 1.3)
        for target, line in lines.items():
            x, y = zip(*line, strict=True)
            axes.plot(x, y, color=styles[target].colour, ls=styles[target].dash, **marker_style(line))
        scale_axis(axes, "x", [0.0, *(when for line in lines.values() for when, _ in line)], 1.02)
        axes.set(xlabel="s since the run began", title=unit)

    middles = (f"{t}: {format_number(quantile((v for _, v in line), 0.5))}" for t, line in lines.items())
    return draw(name, f"{unit} over time; in the middle {'; '.join(middles)}", paint) if lines else ""
