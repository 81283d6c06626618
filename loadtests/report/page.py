"""The report of a load test: one HTML file without scripts or downloads, for screen, paper and screen reader.

    python -m loadtests.report.page RESULTS.json [MORE.json ...] [-o page.html]

A void run is in no figure and no drawing; the top of the page names it, with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtests.generate.signals import print_lines
from loadtests.report import plots, tables, timelines
from loadtests.report.grouping import LoadStep, ascending_steps, comparable_steps, group_runs, merge
from loadtests.report.markup import Markup, join, tag
from loadtests.report.results import Overhead, Results, Run
from loadtests.report.svg import SeriesStyle

STYLE = Markup(Path(__file__).with_suffix(".css").read_text("utf-8"))
HEAD = Markup(
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)


def write_page(results: Results, path: Path) -> None:
    """Write the page. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(results), "utf-8")


def render(results: Results) -> str:
    """Return the page as HTML."""
    measured: list[Run | Overhead] = [*results.runs, *results.overheads]
    targets = dict.fromkeys(record.target for record in measured)
    styles = {target: SeriesStyle(number) for number, target in enumerate(targets)}
    names = list(dict.fromkeys(one.scenario for one in measured))
    body = tag(
        "body",
        tag("header", tag("h1", "Load test"), subtitle(results.environment), table_of_contents(names)),
        tag(
            "main",
            void_section(results.runs),
            overview_section(results),
            *(scenario_section(f"s{i}", name, results, styles) for i, name in enumerate(names)),
            section("checks", "Checks after the runs", tables.check_table(results.runs)),
            section("runs", "Every run", tables.run_table(results.runs)),
            environment_section(results),
        ),
    )
    head = tag("head", HEAD, tag("title", "Load test"), tag("style", STYLE))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def subtitle(environment: Mapping[str, Any]) -> Markup:
    """Return date and revision of the results, of each file if there are several."""
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
    """Return the environments of merged results by file name; none for the results of one file."""
    return {name: of for name, of in environment.items() if isinstance(of, dict) and "when" in of}


def table_of_contents(names: Sequence[str]) -> Markup:
    sections = [(f"s{i}", name) for i, name in enumerate(names)]
    sections += [("checks", "Checks"), ("runs", "Every run"), ("environment", "Environment")]
    links = (tag("li", tag("a", name, href=f"#{section_id}")) for section_id, name in sections)
    return tag("nav", tag("ul", *links), aria_label="Contents")


def void_section(runs: Sequence[Run]) -> Markup:
    """Return the void runs with their reasons."""
    void_runs = [run for run in runs if run.void]
    if not void_runs:
        return Markup()
    note = tag("p", "They prove nothing, and are in no figure and no drawing below.")
    listed = tag(
        "ul", *(tag("li", tables.run_title(run), ": ", tag("strong", run.void)) for run in void_runs)
    )
    title = f"VOID: {len(void_runs)} of {len(runs)} runs"
    return tag("section", tag("h2", title), note, listed, class_="void")


def overview_section(results: Results) -> Markup:
    """Return the counts that show whether the results are good."""
    found = group_runs(results.runs)
    failed, void = sum(step.failed.total() for step in found), sum(bool(run.void) for run in results.runs)
    wrong = sum(not check.ok for run in results.runs for check in run.checks)
    counts = [
        (len(results.runs), "runs", False),
        (sum(step.turns for step in found), "turns succeeded", False),
        (failed, "turns failed", failed > 0),
        (void, "runs void", void > 0),
        (wrong, "checks not ok", wrong > 0),
    ]
    listed = tag(
        "ul",
        *(tag("li", tag("b", f"{n:,}"), name, class_="alarm" if bad else None) for n, name, bad in counts),
        class_="glance",
    )
    nothing = "" if results.runs else tag("p", "There are no runs in these results.", class_="empty")
    return tag("section", listed, nothing, *(tag("p", note) for note in results.notes))


def scenario_section(
    section_id: str, name: str, results: Results, styles: Mapping[str, SeriesStyle]
) -> Markup:
    """Return everything about one scenario: its figures, then its drawings."""
    found = group_runs(run for run in results.runs if run.scenario == name)
    overheads = [overhead for overhead in results.overheads if overhead.scenario == name]
    parts: list[Markup] = [tag("h2", "Scenario ", name, id=section_id)]
    drawn = comparable_steps(found)
    if found:
        first = [step for step in found if step in drawn or not step.valid_runs] if drawn else found
        parts += [
            tables.latency_table(name, first),
            other_loads(name, [step for step in found if step not in first]),
        ]
        parts.append(tag("p", tables.LEGEND, class_="under"))
    if overheads:
        parts.append(tables.overhead_table(name, overheads))
    if drawn:
        parts.append(describe_drawn_loads(found, drawn))
    else:
        parts.append(
            tag("p", "No turn of a valid run succeeded, so there is nothing to draw.", class_="empty")
        )
    figures = tag("div", *drawings(section_id, found, drawn, overheads, styles), class_="plots")
    return tag("section", *parts, figures, aria_labelledby=section_id)


def other_loads(name: str, found: Sequence[LoadStep]) -> Markup:
    """Return the figures of the loads that the drawings do not show."""
    if not found:
        return Markup()
    loads = ", ".join(dict.fromkeys(step.load_text for step in found))
    return tag("details", tag("summary", f"Other loads: {loads}"), tables.latency_table(name, found))


def describe_drawn_loads(found: Sequence[LoadStep], drawn: Sequence[LoadStep]) -> Markup:
    """Return a sentence that names the loads in the drawings."""
    loads = {step.load_text for step in drawn}
    each = loads if len(loads) == 1 else [f"{step.target} at {step.load_text}" for step in drawn]
    reason = (
        ", the highest load that all targets had"
        if len(loads) == 1 < len({step.load_text for step in found})
        else ""
    )
    return tag("p", "The drawings over time and of distributions show ", ", ".join(each), reason, ".")


def drawings(
    section_id: str,
    found: Sequence[LoadStep],
    drawn: Sequence[LoadStep],
    overheads: Sequence[Overhead],
    styles: Mapping[str, SeriesStyle],
) -> Iterator[Markup]:
    """Yield the drawings for which a scenario has data."""
    if drawn:
        yield plots.plot_ecdf(section_id, "ack", drawn, styles).figure()
        yield plots.plot_ecdf(section_id, "answer", drawn, styles).figure()
        yield plots.plot_added(section_id, drawn, styles).figure()
    if overheads:
        yield plots.plot_overhead(section_id, overheads, styles).figure()
    ascending = ascending_steps(found)
    for loop in dict.fromkeys(loop for loop, _ in ascending):
        by_target = {target: steps for (other, target), steps in ascending.items() if other == loop}
        yield plots.plot_latency_by_load(f"{section_id}-{loop}", by_target, styles).figure()
    if drawn:
        yield timelines.plot_gaps(section_id, drawn, styles).figure()
        yield from (plot.figure() for plot in timelines.plot_usage(section_id, drawn, styles))


def section(section_id: str, heading: str, listed: Markup) -> Markup:
    return tag(
        "section", tag("h2", heading, id=section_id), listed or tag("p", "There are none in these results.")
    )


def environment_section(results: Results) -> Markup:
    """Return machine, versions and command of the measurement."""
    known = results.environment
    parts = environments_by_file(known) or {"": known}
    heading = tag("h2", "Environment", id="environment")
    lists = (join((tag("h3", name) if name else "", definition_list(found))) for name, found in parts.items())
    return tag(
        "section", heading, *(lists if known else [tag("p", "The results do not describe the environment.")])
    )


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
    """Return 0, or 2 when a file cannot be read or written."""
    parser = argparse.ArgumentParser(
        "loadtests.report.page", description="Make one HTML page from the results of load tests."
    )
    parser.add_argument("results", nargs="+", type=Path, help="JSON files written by load tests")
    parser.add_argument(
        "-o", "--output", type=Path, help="the page to write (default: beside the first file)"
    )
    args = parser.parse_args()
    page = args.output or args.results[0].with_suffix(".html")
    if page.resolve() in [path.resolve() for path in args.results]:
        parser.error(f"{page} holds results: name another file for the page with -o")
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
