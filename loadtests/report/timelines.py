"""The drawings of a report whose x is the time of the run: silences, CPU, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes

from loadtests.report.comparison import number
from loadtests.report.grouping import Step
from loadtests.report.markup import Markup
from loadtests.report.plots import MS, Plot, ms
from loadtests.report.results import Run, Sample, quantile
from loadtests.report.svg import Pen, draw, stretch

SLOTS = 150
"""The most points of a line."""
FEW = 40
"""A line of so many points shows each of them."""
MB = 1e-6


def gaps(at: str, found: Sequence[Step], pens: Mapping[str, Pen]) -> Plot:
    worst = {step.target: tops for step in found if (tops := slots(step.pairs("gap")))}

    def paint(axes: Axes) -> None:
        stretch(axes, "y", [gap * MS for tops in worst.values() for _, gap in tops], 1.3)
        for target, tops in worst.items():
            pen = pens[target]
            x, y = zip(*((when, gap * MS) for when, gap in tops), strict=True)
            axes.plot(x, y, color=pen.colour, ls=pen.dash, lw=1.2, **dots(tops))
        stretch(axes, "x", [0.0, *(when for tops in worst.values() for when, _ in tops)], 1.02)
        axes.set(xlabel="s since the run began", title="longest gap, ms")

    highest = {target: [gap for _, gap in tops] for target, tops in worst.items()}
    said = "; ".join(f"{target}: at most {ms(max(known))}" for target, known in highest.items())
    return Plot(
        "Silences, over the time of the run",
        draw(f"{at}-gaps", f"Longest gap per turn over time. {said}", paint) if worst else "",
        {target: pens[target] for target in worst},
        "The longest silence inside an answer, after its first chunk; each point is the worst turn that "
        f"began in its slot of time. {said}.",
        "peaks that direct does not have at the same time, or a line that climbs: something fills up.",
    )


def dots(line: Sequence[object]) -> dict[str, Any]:
    """Points where there are few of them; many would hide the line, and weigh much."""
    return {"marker": ".", "ms": 4} if len(line) <= FEW else {}


def slots(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The highest value of each slot of time, at most SLOTS of them."""
    ordered = sorted(pairs)
    width = (ordered[-1][0] / SLOTS or 1.0) if ordered else 1.0
    best: dict[int, tuple[float, float]] = {}
    for when, value in ordered:
        slot = min(int(when / width), SLOTS - 1)
        best[slot] = max(best.get(slot, (when, value)), (when, value), key=lambda pair: pair[1])
    return list(best.values())


def longest(step: Step) -> Run:
    return max(step.sound, key=lambda run: len(run.samples))


def busy(run: Run) -> list[Sample]:
    """At most SLOTS samples, from when at least half of the most streams were open."""
    most = max((sample.streams for sample in run.samples), default=0)
    found = [sample for sample in run.samples if sample.streams * 2 >= most > 0]
    return found[:: len(found) // SLOTS + 1]


def cpu(run: Run) -> list[tuple[float, float]]:
    """At each sample: ms of CPU per second and open stream since the one before."""
    return [
        (b.at, (b.cpu - a.cpu) / (b.at - a.at) / ((a.streams + b.streams) / 2) * MS)
        for a, b in pairwise(busy(run))
        if b.at > a.at
    ]


def memory(run: Run) -> list[tuple[float, float]]:
    """At each sample: MB per open stream, all of the server's memory shared out."""
    return [(sample.at, sample.rss * MB / sample.streams) for sample in busy(run)]


def used(at: str, found: Sequence[Step], pens: Mapping[str, Pen]) -> list[Plot]:
    """CPU, and memory, per open stream."""
    runs = {step.target: longest(step) for step in found}
    costs = {target: line for target, run in runs.items() if (line := cpu(run))}
    sizes = {target: line for target, run in runs.items() if (line := memory(run))}
    return [
        Plot(
            "CPU per open stream",
            over_time(f"{at}-cpu", "ms of CPU per s and stream", costs, pens),
            {target: pens[target] for target in costs},
            "What the server used of its core, shared out among the streams open at that time. Ten means "
            "that a hundred streams fill one core. Drawn is when at least half of the most were open.",
            "a line that climbs while the load stays: the work of a turn grows with those before it.",
        ),
        Plot(
            "Memory per open stream",
            over_time(f"{at}-memory", "MB per stream", sizes, pens),
            {target: pens[target] for target in sizes},
            "All of the server's memory, with what it takes when idle, shared out among the streams open at "
            "that time. Drawn is when at least half of the most were open.",
            "a line that climbs while the load stays: something is kept that should be let go.",
        ),
    ]


def over_time(
    name: str, unit: str, lines: Mapping[str, Sequence[tuple[float, float]]], pens: Mapping[str, Pen]
) -> Markup | str:
    def paint(axes: Axes) -> None:
        stretch(axes, "y", [value for line in lines.values() for _, value in line], 1.3)
        for target, line in lines.items():
            x, y = zip(*line, strict=True)
            axes.plot(x, y, color=pens[target].colour, ls=pens[target].dash, **dots(line))
        stretch(axes, "x", [0.0, *(when for line in lines.values() for when, _ in line)], 1.02)
        axes.set(xlabel="s since the run began", title=unit)

    middles = (f"{t}: {number(quantile((v for _, v in line), 0.5))}" for t, line in lines.items())
    return draw(name, f"{unit} over time; in the middle {'; '.join(middles)}", paint) if lines else ""
