"""The report of a load test: one HTML file that needs nothing else, for screens, paper and listeners.

    python -m loadtests.report.page RESULTS.json [MORE.json ...] [-o page.html]

A void run is in no figure and no drawing; what it was, and why it is void, stands at the top.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.generate.signals import print_lines
from loadtests.report import plots, tables, timelines
from loadtests.report.grouping import LoadStep, comparable_steps, merge, ascending_steps, group_runs
from loadtests.report.markup import Markup, join, tag
from loadtests.report.results import Overhead, Results, Run
from loadtests.report.svg import SeriesStyle

STYLE = Markup(Path(__file__).with_suffix(".css").read_text("utf-8"))
HEAD = Markup(
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def write_page(results: Results, path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(results), "utf-8")


def render(results: Results) -> str:
    measured: list[Run | Overhead] = [*results.runs, *results.overheads]
    targets = dict.fromkeys(one.target for one in measured)
    pens = {target: SeriesStyle(place) for place, target in enumerate(targets)}
    names = list(dict.fromkeys(one.scenario for one in measured))
    body = tag(
        "body",
        tag("header", tag("h1", "Load test"), subtitle(results.environment), table_of_contents(names)),
        tag(
            "main",
            void_section(results.runs),
            overview_section(results),
            *(scenario_section(f"s{i}", name, results, pens) for i, name in enumerate(names)),
            section("checks", "Checks after the runs", tables.check_table(results.runs)),
            section("runs", "Every run", tables.run_table(results.runs)),
            environment_section(results),
        ),
    )
    head = tag("head", HEAD, tag("title", "Load test"), tag("style", STYLE))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def subtitle(environment: Mapping[str, Any]) -> Markup:
    """When, and of which revision; of several files, of each."""
    several = environments_by_file(environment)
    lines = [
        join(
            (
                found.get("when", "date unknown"),
                ", revision ",
                tag("code", found.get("revision") or "unknown"),
            )
        )
        for found in (several or {"": environment}).values()
    ]
    return join(tag("p", line, class_="under") for line in lines)


def environments_by_file(environment: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The environments of merged results, by the name of their file; none if there was one."""
    return {name: of for name, of in environment.items() if isinstance(of, dict) and "when" in of}


def table_of_contents(names: Sequence[str]) -> Markup:
    places = [(f"s{i}", name) for i, name in enumerate(names)]
    places += [("checks", "Checks"), ("runs", "Every run"), ("environment", "Environment")]
    links = (tag("li", tag("a", name, href=f"#{place}")) for place, name in places)
    return tag("nav", tag("ul", *links), aria_label="Contents")


def void_section(runs: Sequence[Run]) -> Markup:
    """What must not be overlooked."""
    gone = [run for run in runs if run.void]
    if not gone:
        return Markup()
    said = tag("p", "They prove nothing, and are in no figure and no drawing below.")
    listed = tag("ul", *(tag("li", tables.run_title(run), ": ", tag("strong", run.void)) for run in gone))
    title = f"VOID: {len(gone)} of {len(runs)} runs"
    return tag("section", tag("h2", title), said, listed, class_="void")


def overview_section(results: Results) -> Markup:
    """The few figures that say whether reading on is worth it."""
    found = group_runs(results.runs)
    failed, gone = sum(step.failed.total() for step in found), sum(bool(run.void) for run in results.runs)
    wrong = sum(not check.ok for run in results.runs for check in run.checks)
    counts = [
        (len(results.runs), "runs", False),
        (sum(step.turns for step in found), "turns that went well", False),
        (failed, "turns failed", failed > 0),
        (gone, "runs void", gone > 0),
        (wrong, "checks not ok", wrong > 0),
    ]
    listed = tag(
        "ul",
        *(tag("li", tag("b", f"{n:,}"), name, class_="alarm" if bad else None) for n, name, bad in counts),
        class_="glance",
    )
    nothing = "" if results.runs else tag("p", "There are no runs in these results.", class_="empty")
    return tag("section", listed, nothing, *(tag("p", note) for note in results.notes))


def scenario_section(section_id: str, name: str, results: Results, pens: Mapping[str, SeriesStyle]) -> Markup:
    """Everything about one scenario: its figures, then its drawings."""
    found = group_runs(run for run in results.runs if run.scenario == name)
    overheads = [one for one in results.overheads if one.scenario == name]
    parts: list[Markup] = [tag("h2", "Scenario ", name, id=section_id)]
    side = comparable_steps(found)
    if found:
        first = [step for step in found if step in side or not step.valid_runs] if side else found
        parts += [tables.latency_table(name, first), other_loads(name, [step for step in found if step not in first])]
        parts.append(tag("p", tables.LEGEND, class_="under"))
    if overheads:
        parts.append(tables.overhead_table(name, overheads))
    if side:
        parts.append(describe_drawn_loads(found, side))
    else:
        parts.append(
            tag("p", "No turn of a sound run went well, so there is nothing to draw.", class_="empty")
        )
    figures = tag("div", *drawings(section_id, found, side, overheads, pens), class_="plots")
    return tag("section", *parts, figures, aria_labelledby=section_id)


def other_loads(name: str, found: Sequence[LoadStep]) -> Markup:
    """The loads that the drawings do not show."""
    if not found:
        return Markup()
    loads = ", ".join(dict.fromkeys(step.load_text for step in found))
    return tag("details", tag("summary", f"Other loads: {loads}"), tables.latency_table(name, found))


def describe_drawn_loads(found: Sequence[LoadStep], side: Sequence[LoadStep]) -> Markup:
    """Which loads the drawings are of."""
    loads = {step.load_text for step in side}
    each = loads if len(loads) == 1 else [f"{step.target} at {step.load_text}" for step in side]
    why = ", the highest that all had" if len(loads) == 1 < len({step.load_text for step in found}) else ""
    return tag("p", "The drawings over time and of distributions show ", ", ".join(each), why, ".")


def drawings(
    section_id: str,
    found: Sequence[LoadStep],
    side: Sequence[LoadStep],
    overheads: Sequence[Overhead],
    pens: Mapping[str, SeriesStyle],
) -> Iterator[Markup]:
    """What can be drawn of a scenario."""
    if side:
        yield plots.plot_ecdf(section_id, "ack", side, pens).figure()
        yield plots.plot_ecdf(section_id, "answer", side, pens).figure()
        yield plots.plot_added(section_id, side, pens).figure()
    if overheads:
        yield plots.plot_overhead(section_id, overheads, pens).figure()
    climbs = ascending_steps(found)
    for loop in dict.fromkeys(loop for loop, _ in climbs):
        ways = {target: climb for (other, target), climb in climbs.items() if other == loop}
        yield plots.plot_latency_by_load(f"{section_id}-{loop}", ways, pens).figure()
    if side:
        yield timelines.plot_gaps(section_id, side, pens).figure()
        yield from (plot.figure() for plot in timelines.plot_usage(section_id, side, pens))


def section(section_id: str, heading: str, listed: Markup) -> Markup:
    return tag(
        "section", tag("h2", heading, id=section_id), listed or tag("p", "There are none in these results.")
    )


def environment_section(results: Results) -> Markup:
    """Where, of what and by which command it was measured."""
    known = results.environment
    parts = environments_by_file(known) or {"": known}
    heading = tag("h2", "Environment", id="environment")
    lists = (join((tag("h3", name) if name else "", definition_list(found))) for name, found in parts.items())
    return tag("section", heading, *(lists if known else [tag("p", "Nothing is known of it.")]))


def definition_list(found: Mapping[str, Any]) -> Markup:
    return tag(
        "dl",
        *(
            join((tag("dt", key), tag("dd", tag("code", value) if key in CODE_KEYS else format_value(value))))
            for key, value in found.items()
        ),
    )


CODE_KEYS = ("command", "revision")


def format_value(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(
        "loadtests.report.page", description="Make one page of the results of load tests."
    )
    parser.add_argument("results", nargs="+", type=Path, help="JSON files that a load test has written")
    parser.add_argument("-o", "--output", type=Path, help="the page (default: beside the first file)")
    args = parser.parse_args()
    page = args.output or args.results[0].with_suffix(".html")
    if page.resolve() in [path.resolve() for path in args.results]:
        parser.error(f"{page} holds results: name another file for the page, with -o")
    try:
        found = [(path, Results.read(path)) for path in args.results]
        write_page(merge(found), page)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print_lines(str(page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
