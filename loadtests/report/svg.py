"""Matplotlib's drawings as inline SVG that takes its colours and its typeface from the page around it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from loadtests.report.markup import Markup, tag

WIDTH, HEIGHT = 5.4, 3.0
"""Inches, at 72 points each; the page stretches drawings to its columns."""
COLOUR_COUNT = 8
"""The number of line colours of the page; after that they repeat with other dashes."""
TEXT, FAINT = "#fe0001", "#fe0002"
"""Colours that `to_inline_svg` replaces by those of the page."""
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1.2, 1.2)))
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": TEXT,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "font.size": 10.5,
}
OMITTED_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class SeriesStyle:
    """The style of a target's lines throughout a report; colour and dash together identify it."""

    number: int

    @property
    def colour(self) -> str:
        return f"#fe01{self.number % COLOUR_COUNT:02x}"

    @property
    def dash(self) -> Any:
        return DASHES[self.number % len(DASHES)]

    def legend_entry(self, name: str) -> Markup:
        """Return the entry of a legend."""
        line = tag("i", class_=f"pen c{self.number % COLOUR_COUNT} d{self.number % len(DASHES)}")
        return tag("li", line, name)


def draw(
    name: str, description: str, paint: Callable[[Axes], None], left: float = 0.105, top: float = 0.9
) -> Markup:
    """Return the SVG that `paint` draws.

    `name` is unique on the page, `description` is for screen readers.
    """
    with warnings.catch_warnings(), rc_context(STYLE | {"svg.hashsalt": name}):  # type: ignore[arg-type]
        figure = Figure(figsize=(WIDTH, HEIGHT))
        axes = figure.add_axes((left, 0.165, 0.985 - left, top - 0.165))
        axes.tick_params(length=0, pad=5)
        paint(axes)
        drawn = StringIO()
        warnings.filterwarnings(
            "ignore", "Glyph .* missing"
        )  # matplotlib's font lacks it; browsers have more fonts
        figure.savefig(drawn, format="svg", transparent=True, metadata=OMITTED_METADATA)
    return to_inline_svg(drawn.getvalue(), description)


def to_inline_svg(svg: str, description: str) -> Markup:
    """Return matplotlib's SVG without the parts that the page has already or must not have."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    used = set(re.findall(r"#(\w+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r' (d|x|y|transform)="[^"]*"', lambda found: round_numbers(found[0]), svg)
    svg = re.sub(r"#fe01(\d\d)", lambda found: f"var(--c{int(found[1])})", svg)
    svg = svg.replace(TEXT, "currentColor").replace(FAINT, "var(--line)")
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    svg = re.sub(r"\n\s*", "\n", svg.replace("xlink:href", "href"))
    body = Markup(svg[svg.index(">") + 1 : svg.rindex("</svg>")])
    return tag("svg", body, viewBox=f"0 0 {WIDTH * 72:g} {HEIGHT * 72:g}", role="img", aria_label=description)


def round_numbers(text: str) -> str:
    """Return the text with one decimal per number: more is invisible, and half of the file's size."""
    return re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}", text)


def scale_axis(
    axes: Axes, which: str, values: Iterable[float], room: float = 1.12, zero: bool = True
) -> None:
    """Set the limits of an axis, with room at both ends.

    It is logarithmic where the values span a factor of twenty, or of four if `zero` need not be visible.
    """
    known = sorted(values)
    low, high = known[0], known[-1]
    axis = getattr(axes, f"{which}axis")
    limits = getattr(axes, f"set_{which}lim")
    if 0 < low * (20 if zero else 4) < high:
        getattr(axes, f"set_{which}scale")("log")
        limits(low / room, high * room)
        axis.set_major_locator(LogLocator(subs=(1.0,) if high > 800 * low else (1.0, 2.0, 5.0)))
        axis.set_minor_formatter(NullFormatter())
    else:
        low = min(low, 0.0) if zero else low
        spare = (high - low or abs(high) or 1.0) * (room - 1)
        limits(low - spare * (low != 0), high + spare)
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
