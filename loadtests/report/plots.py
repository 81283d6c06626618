"""The drawings of a report, with captions: the meaning, and the sight of a bad result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from loadtests.report.comparison import format_number
from loadtests.report.grouping import KNEE_FACTOR, KNEE_SECONDS, MAX_FAILED_SHARE, LoadStep, count_held_steps
from loadtests.report.markup import Markup, tag
from loadtests.report.results import Overhead, quantile
from loadtests.report.svg import SeriesStyle, draw, scale_axis

MAX_POINTS, BINS = 300, 60
"""The maximum number of points in a curve, and the number of bars in a distribution."""
NAMES = {"ack": "ack-TTFT", "answer": "answer-TTFT"}
MS = 1e3


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure: title, drawing ("" if there is nothing to draw), styles of the legend, and caption."""

    title: str
    svg: Markup | str
    lines: Mapping[str, SeriesStyle]
    shows: str
    bad: str

    def figure(self) -> Markup:
        """Return the figure as an HTML element."""
        drawn = self.svg or tag("p", "There are no values for this drawing.", class_="empty")
        legend = tag("ul", *(style.legend_entry(name) for name, style in self.lines.items()), class_="key")
        words = tag("p", self.shows, " ", tag("em", "Bad would be:"), f" {self.bad}")
        key = legend if self.svg and self.lines else ""
        return tag("figure", tag("h3", self.title), key, drawn, tag("figcaption", words))


def format_ms(seconds: float) -> str:
    return f"{format_number(seconds * MS)} ms" if seconds == seconds else "none"


def describe_values(values: Mapping[str, Sequence[float]]) -> str:
    """Return p50 and p99 of each line, for screen readers."""
    return "; ".join(
        f"{k}: p50 {format_ms(quantile(v, 0.5))}, p99 {format_ms(quantile(v, 0.99))}"
        for k, v in values.items()
    )


def thin_ecdf(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return an ECDF of at most MAX_POINTS points; the first and the last value are among them."""
    ordered = sorted(values)
    picks = sorted({round(i * (len(ordered) - 1) / (MAX_POINTS - 1)) for i in range(MAX_POINTS)})
    return [ordered[i] for i in picks], [(i + 1) / len(ordered) for i in picks]


def plot_ecdf(
    section_id: str, name: str, found: Sequence[LoadStep], styles: Mapping[str, SeriesStyle]
) -> Plot:
    """Return the share of turns by time, for `ack` or `answer`."""
    values = {step.target: known for step in found if (known := step.values(name))}

    def paint(axes: Axes) -> None:
        scale_axis(axes, "x", [t * MS for known in values.values() for t in known], zero=False)
        for target, known in values.items():
            x, y = thin_ecdf(known)
            style = styles[target]
            axes.step(
                [x[0] * MS, *(t * MS for t in x)], [0, *y], where="post", color=style.colour, ls=style.dash
            )
        axes.set(ylim=(0, 1.02), xlabel="ms", title="share of turns")

    words = {"ack": "their first words of any kind", "answer": "their first words of the agent"}[name]
    description = f"{NAMES[name]}, cumulative. {describe_values(values)}"
    return Plot(
        f"{NAMES[name]}: share of turns that had it by then",
        draw(f"{section_id}-{name}", description, paint) if values else "",
        {target: styles[target] for target in values},
        f"For each target, the share of turns (upwards) that had {words} by then. A steep curve is steady; "
        "further left is sooner.",
        "a curve that bends to the right near the top: some callers wait much longer than most.",
    )


def plot_added(section_id: str, found: Sequence[LoadStep], styles: Mapping[str, SeriesStyle]) -> Plot:
    """Return the distributions of the added time, one ridge per target."""
    values = {step.target: known for step in found if (known := step.values("added"))}

    def paint(axes: Axes) -> None:
        all_values = [t * MS for known in values.values() for t in known]
        scale_axis(axes, "x", all_values)
        low, high = axes.get_xlim()
        edges = (np.geomspace if axes.get_xscale() == "log" else np.linspace)(low, high, BINS + 1)
        for line, (target, known) in enumerate(values.items()):
            draw_ridge(axes, -line, np.asarray(known) * MS, edges, styles[target])
        label_rows(axes, list(values))
        axes.set(xlabel="ms")

    return Plot(
        "Time added to the agent's own wait",
        draw(
            f"{section_id}-added",
            f"Distribution of added answer-TTFT. {describe_values(values)}",
            paint,
            0.2,
            0.98,
        )
        if values
        else "",
        {},
        "Each turn's answer-TTFT without the wait of the agent; the higher the hill, the more turns. "
        "The vertical lines are p50 and p99.",
        "a second hill, or a long tail to the right, that direct does not have.",
    )


def draw_ridge(
    axes: Axes, base: float, known: NDArray[np.float64], edges: NDArray[np.float64], style: SeriesStyle
) -> None:
    counts, _ = np.histogram(known, edges)
    height = base + 0.75 * counts / max(counts.max(), 1)
    axes.fill_between(edges, base, [*height, height[-1]], step="post", color=style.colour, alpha=0.3, lw=0)
    axes.step(edges, [*height, height[-1]], where="post", color=style.colour, lw=1.2)
    for share, tall in ((0.5, 0.75), (0.99, 0.4)):
        x = quantile(known.tolist(), share)
        axes.plot([x, x], [base, base + tall], color=style.colour, lw=2.2)


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Label the rows of a drawing, from 0 downwards."""
    short = [name if len(name) < 15 else f"{name[:13]}…" for name in names]
    axes.set_yticks([-line for line in range(len(names))], short)
    axes.set_ylim(-len(names) + 0.6, 0.95)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def plot_overhead(section_id: str, found: Sequence[Overhead], styles: Mapping[str, SeriesStyle]) -> Plot:
    """Return the overheads with their intervals."""
    names = [f"{overhead.target} p{overhead.quantile * 100:g}" for overhead in found]

    def paint(axes: Axes) -> None:
        scale_axis(axes, "x", [t * MS for one in found for t in (one.low, one.estimate, one.high)])
        for line, one in enumerate(found):
            colour = styles[one.target].colour
            axes.plot([one.low * MS, one.high * MS], [-line] * 2, color=colour, lw=2.2)
            axes.plot([one.estimate * MS], [-line], "o", color=colour, ms=6)
        if axes.get_xscale() == "linear":
            axes.axvline(0, color="#fe0001", lw=0.8)
        label_rows(axes, names)
        axes.set_ylim(0.5 - len(found), 0.5)
        axes.set(xlabel="ms more than direct")

    spans = (
        f"{n}: {format_ms(o.estimate)}, from {format_ms(o.low)} to {format_ms(o.high)}"
        for n, o in zip(names, found, strict=True)
    )
    return Plot(
        "Overhead against direct",
        draw(f"{section_id}-overhead", f"Overhead against direct. {'; '.join(spans)}", paint, 0.25, 0.98)
        if found
        else "",
        {},
        "The answer-TTFT through the target minus the same directly from the agent, at a quantile. The line "
        "is the 95 % interval of a bootstrap: chance alone may have moved the dot this far.",
        "a dot far to the right. If the line is long, measure longer. If it crosses zero, the run shows no "
        "difference.",
    )


def plot_latency_by_load(
    section_id: str, steps_by_target: Mapping[str, Sequence[LoadStep]], styles: Mapping[str, SeriesStyle]
) -> Plot:
    """Return added p99 against offered load; all steps are of the same loop."""
    unit = next(
        (found[0].load_text.split(" ", 1)[1] for found in steps_by_target.values() if found[0].offered != 1),
        "callers",
    )
    known = {
        target: [step for step in found if step.values("added")] for target, found in steps_by_target.items()
    }
    known = {target: found for target, found in known.items() if found}
    marks = [f"{target}: {describe_knee(found)}" for target, found in known.items()]

    def paint(axes: Axes) -> None:
        tails = {t: [quantile(s.values("added"), 0.99) * MS for s in found] for t, found in known.items()}
        scale_axis(axes, "y", [y for line in tails.values() for y in line], 1.4)
        scale_axis(axes, "x", [step.offered for found in known.values() for step in found])
        for target, found in known.items():
            style, x, y = styles[target], [step.offered for step in found], tails[target]
            axes.plot(x, y, "o", color=style.colour, ls=style.dash, ms=4)
            if 0 < (held := count_held_steps(found)) < len(found):
                axes.plot(x[held - 1], y[held - 1], "o", mec=style.colour, mfc="none", ms=13, mew=1.6)
        axes.set(xlabel=f"offered, {unit}", title="added answer-TTFT, p99, ms")

    return Plot(
        "Latency against offered load",
        draw(f"{section_id}-climb", f"Added p99 against offered {unit}. {'; '.join(marks)}", paint)
        if known
        else "",
        {target: styles[target] for target in known},
        f"The slowest hundredth at each load. A ring marks the knee: beyond it, p99 is more than "
        f"{KNEE_FACTOR:g} times that of the lightest load and {KNEE_SECONDS * MS:g} ms above it, "
        f"or more than {MAX_FAILED_SHARE:.0%} of the turns fail. "
        f"{'; '.join(marks)}.",
        "a knee below the calls that you expect in your busiest minute, plus a reserve.",
    )


def describe_knee(found: Sequence[LoadStep]) -> str:
    """Return where the knee is, in words."""
    held = count_held_steps(found)
    if held == len(found):
        return f"no knee up to {found[-1].load_text}"
    return (
        f"knee at {found[held - 1].load_text}" if held else f"already past the knee at {found[0].load_text}"
    )
