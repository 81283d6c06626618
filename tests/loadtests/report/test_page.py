"""The report of a load test is complete, robust, and self-contained."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from loadtests.report import page, plots, tables, timelines
from loadtests.report.grouping import LoadStep, comparable_steps, count_held_steps, group_runs, merge
from loadtests.report.markup import Markup, row, tag
from loadtests.report.results import Check, Overhead, Results, Run, Sample, describe_environment
from loadtests.report.svg import SeriesStyle

ROOT = Path(__file__).parents[3]
SCRIPT = '<script>alert("1 & 2")</script>'
OVERHEAD = Overhead("voicegw", "voice", 0.99, 0.004, -0.001, 0.009)


class Page(HTMLParser):
    """A parsed page: checks that its elements nest, and keeps their attributes and texts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))
        if name != "meta":
            self.open.append(name)
            self.texts.append((name, ""))

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attributes)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def every(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == name]

    def titles(self, name: str) -> list[str]:
        """Return the texts of all elements of this kind."""
        return [data for found, data in self.texts if found == name and data]

    @property
    def rows(self) -> list[list[str]]:
        """The rows of all tables, cell by cell."""
        rows: list[list[str]] = []
        for name, data in self.texts:
            if name == "tr" and not data:
                rows.append([])
            elif name in ("th", "td") and not data:
                rows[-1].append("")
            elif name in ("th", "td", "span"):
                rows[-1][-1] += data
        return rows

    @property
    def whole(self) -> str:
        return " ".join(data for name, data in self.texts if name != "style")


def run(target: str = "voicegw", offered: float = 2, turns: int = 3, void: str = "") -> Run:
    built = Run(target, "voice", "open", offered, 5.0, 7, void=void)
    for i in range(turns):
        answer = 0.31 + i / 100
        built.add(at=i, late=0.0, first_chunk=0.001, ack=0.002, answer=answer, waited=0.3, gap=0.02)
    return built


def with_samples(run: Run, streams: int = 2) -> Run:
    run.samples += [Sample(float(at), at * 0.1, 60_000_000, 20, streams) for at in range(4)]
    return run


def page_of(*runs: Run, overheads: tuple[Overhead, ...] = ()) -> Page:
    return Page(page.render(Results(describe_environment(7, ["bench"]), list(runs), list(overheads))))


@pytest.fixture(scope="module")
def full() -> Page:
    """Two targets, two loads, failures, checks, samples, an overhead, and a void run."""
    bad = run(offered=4)
    bad.failed["status 500"] = 2
    bad.checks += [Check("tasks left", True, "0", "0"), Check("memory", False, "210 MB", "at most 200 MB")]
    void = run(offered=9, void="the generator was the limit")
    return page_of(
        with_samples(run("direct")), run("direct", 4), run(), with_samples(bad), void, overheads=(OVERHEAD,)
    )


def test_every_run_has_its_verdict_and_its_failures_by_reason(full: Page) -> None:
    assert full.rows[-5:] == [
        ["voice, 2 turns/s, direct", "valid", "5", "7", "3", "0", "0.000", "none failed"],
        ["voice, 4 turns/s, direct", "valid", "5", "7", "3", "0", "0.000", "none failed"],
        ["voice, 2 turns/s, voicegw", "valid", "5", "7", "3", "0", "0.000", "none failed"],
        ["voice, 4 turns/s, voicegw", "valid", "5", "7", "3", "2", "0.000", "2 × status 500"],
        ["voice, 9 turns/s, voicegw", "VOID", "5", "7", "3", "0", "0.000", "the generator was the limit"],
    ]


def test_a_void_run_is_at_the_top_and_in_no_figure(full: Page) -> None:
    assert full.titles("h2")[0] == "VOID: 1 of 5 runs"
    assert full.titles("strong") == ["the generator was the limit"]
    assert [line[1:] for line in full.rows if line[0] == "voicegw, 9 turns/s"] == [
        ["void", "all of its runs are void"]
    ]


def test_failed_checks_come_first(full: Page) -> None:
    assert [line for line in full.rows if line[1:2] in (["ok"], ["NOT OK"])] == [
        ["memory", "NOT OK", "210 MB", "at most 200 MB", "voice, 4 turns/s, voicegw"],
        ["tasks left", "ok", "0", "0", "voice, 4 turns/s, voicegw"],
    ]


def test_targets_at_one_load_stand_under_each_other(full: Page) -> None:
    """Added is the answer minus the wait; with three turns, the tail is the slowest of them."""
    figures = [line for line in full.rows if line[0] == "voicegw, 4 turns/s"]
    tail = ["1.00*", "2.00*", "330*", "30.0*", "20.0*", "–"]
    assert [line[1:] for line in figures] == [
        ["3", "2 × status 500"],
        ["1.00", "2.00", "320", "20.0", "20.0", "–"],
        *[tail] * 3,
    ]
    heads = [line[0] for line in full.rows if line[0].startswith(("p50:", "p95:", "p99:", "p99.9:"))]
    assert heads == [*tables.QUANTILE_TITLES.values()] * 2, "once for the drawn load, once for the other one"


def test_the_overhead_has_its_interval(full: Page) -> None:
    assert ["voicegw", "p99", "4.00", "-1.00", "9.00"] in full.rows


def test_every_drawing_has_a_description_for_screen_readers(full: Page) -> None:
    drawings = full.every("svg")
    assert len(drawings) == len(full.every("figure")) == len(full.every("figcaption")) == 8
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    assert full.whole.count("Bad would be:") == 8
    labels = [str(drawing["aria-label"]) for drawing in drawings]
    assert labels[1] == (
        "answer-TTFT, cumulative. direct: p50 320 ms, p99 330 ms; voicegw: p50 320 ms, p99 330 ms"
    )
    assert "voicegw: knee at 2 turns/s" in labels[4], "two of five turns failed at the next load"
    assert "direct: no knee up to 4 turns/s" in labels[4]


def test_headings_nest_tables_have_captions_and_ids_are_unique(full: Page) -> None:
    levels = [int(name[1]) for name, _ in full.found if re.fullmatch("h[1-6]", name)]
    assert levels[0] == levels.count(1) == 1
    assert all(lower <= higher + 1 for higher, lower in pairwise(levels))
    assert len(full.every("caption")) == len(full.every("table"))
    ids = [attributes["id"] for _, attributes in full.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(link["href"]) for link in full.every("a")]
    assert links
    assert {link[1:] for link in links} <= set(ids)


def test_a_page_loads_nothing_and_drawings_have_no_fixed_colours() -> None:
    source = page.render(Results({}, [with_samples(run())], [OVERHEAD]))
    assert not re.findall(r"https?:|//\w|@import|url\((?!#)|<script|<link|\bsrc=", source)
    assert not re.findall(r"#[0-9a-f]{6}\b", source.split("</style>")[1])
    assert "currentColor" in source
    assert "var(--c0)" in source


def test_names_are_escaped_everywhere() -> None:
    hostile = with_samples(run(SCRIPT))
    hostile.scenario, hostile.void = SCRIPT, ""
    hostile.failed[SCRIPT] = 1
    hostile.checks.append(Check(SCRIPT, False, SCRIPT, SCRIPT))
    lost = run(SCRIPT, void=SCRIPT)
    notes, known = [SCRIPT], {"revision": SCRIPT, SCRIPT: {SCRIPT: SCRIPT}}
    found = Page(
        page.render(Results(known, [hostile, lost], [Overhead(SCRIPT, SCRIPT, 0.5, 1, 1, 1)], notes))
    )
    assert not found.every("script")
    assert found.whole.count(SCRIPT) > 20


@pytest.mark.parametrize("name", ["_hidden", "$x^2$", "a" * 200, "", "電話"])
def test_no_target_name_breaks_a_drawing(name: str) -> None:
    """Matplotlib leaves out names that begin with an underscore, and typesets text between dollars."""
    drawn = plots.plot_added("s0", group_runs([run(name)]), {name: SeriesStyle(0)})
    assert (name if len(name) < 15 else f"{name[:13]}…") in Page(drawn.figure()).whole


def test_a_page_without_runs_says_so() -> None:
    found = page_of()
    assert not found.every("svg")
    assert "There are no runs in these results." in found.whole
    assert found.titles("h2") == ["Checks after the runs", "Every run", "Environment"]


def test_a_run_without_successful_turns_keeps_its_failures() -> None:
    lost = run(turns=0)
    lost.failed |= {"could not connect": 3}
    found = page_of(lost)
    assert not found.every("svg")
    assert "so there is nothing to draw" in found.whole
    assert ["voicegw, 2 turns/s", "0", "3 × could not connect"] in found.rows


def test_a_run_without_measurements_has_figures_that_say_so() -> None:
    """One turn, of which only the start is known, and no samples: no drawing, and no exception."""
    bare = run(turns=0)
    bare.add(at=0.0)
    found = page_of(bare)
    assert len(found.every("figure")) == 6
    assert not found.every("svg")
    assert found.whole.count("There are no values for this drawing.") == 6


def test_one_turn_of_zero_length_is_drawn() -> None:
    still = with_samples(run(turns=0), streams=0)
    still.add(at=0.0, ack=0.0, answer=0.0, gap=0.0)
    assert len(page_of(still).every("svg")) == 4


def test_overheads_alone_are_drawn() -> None:
    assert len(page_of(overheads=(OVERHEAD,)).every("svg")) == 1


def test_a_long_run_is_thinned_and_keeps_its_extremes() -> None:
    x, y = plots.thin_ecdf([float(i) for i in range(10_000, 0, -1)])
    assert (len(x), x[0], x[-1], y[0], y[-1]) == (300, 1.0, 10_000.0, 0.0001, 1.0)
    pairs = [(i / 100, 9.0 if i == 777 else 1.0) for i in range(10_000)]
    tops = timelines.max_per_slot(pairs)
    assert len(tops) == timelines.MAX_SLOTS
    assert max(tops, key=lambda pair: pair[1]) == (7.77, 9.0)
    many = Run("t", "s", "closed", 1, 1, samples=[Sample(i, i, 1, 1, 1) for i in range(10_000)])
    assert len(timelines.memory_per_stream(many)) <= timelines.MAX_SLOTS


def test_the_size_of_a_page_does_not_grow_with_its_turns() -> None:
    """Eight scenarios of four targets with half an hour of samples each stay below 2 MB."""
    runs = []
    for target in "abcd":
        long = run(target, turns=0)
        for i in range(5000):
            first, answer = 0.001 + i % 97 / 1e4, 0.3 + i % 89 / 1e3
            long.add(at=i / 10, first_chunk=first, ack=first, answer=answer, waited=0.3, gap=i % 83 / 1e3)
        long.samples += [Sample(i, i * (0.5 + i % 7 / 10), 10**8 + i % 5 * 10**6, 9, 90) for i in range(1800)]
        runs.append(long)
    overheads = [Overhead(target, "voice", q, 0.1, 0.05, 0.2) for target in "abcd" for q in (0.5, 0.99)]
    assert len(page.render(Results({}, runs, overheads))) < 2_000_000 / 8


def test_cpu_and_memory_are_divided_by_the_open_streams() -> None:
    """A tenth of a core for two streams is 50 ms a second each; the last sample has no streams."""
    made = with_samples(run())
    made.samples.append(Sample(4.0, 0.9, 60_000_000, 20, 0))
    assert [(at, round(cost, 6)) for at, cost in timelines.cpu_per_stream(made)] == [
        (1, 50),
        (2, 50),
        (3, 50),
    ]
    assert timelines.memory_per_stream(made) == [(float(at), 30.0) for at in range(4)]


def test_drawings_compare_the_highest_common_load() -> None:
    runs = [run("direct", 2), run("direct", 4), run("direct", 8), run("voicegw", 4), run("voicegw", 2)]
    runs.append(run("voicegw", 8, void="lost"))
    assert [(step.target, step.offered) for step in comparable_steps(group_runs(runs))] == [
        ("direct", 4),
        ("voicegw", 4),
    ]
    apart = [run("direct", 2), run("voicegw", 4)]
    assert [step.offered for step in comparable_steps(group_runs(apart))] == [2, 4]


def steps_with_tails(*tails: float, failed: int = 0) -> list[LoadStep]:
    """Return steps whose slowest turn had this many seconds added."""
    runs = []
    for offered, tail in enumerate(tails, 1):
        one = run(offered=offered, turns=0)
        one.add(at=0.0, answer=tail)
        runs.append(one)
    runs[-1].failed["gone"] = failed
    return group_runs(runs)


def test_the_knee_needs_a_threefold_tail_and_10_ms_more() -> None:
    assert count_held_steps(steps_with_tails(0.001, 0.010, 0.003)) == 3, (
        "ten times as much, but not 10 ms more"
    )
    assert count_held_steps(steps_with_tails(0.010, 0.030, 0.031, 0.010)) == 2, (
        "what comes down again is past the knee"
    )
    assert count_held_steps(steps_with_tails(0.010, 0.010, failed=1)) == 1
    assert count_held_steps(steps_with_tails(0.010, failed=1)) == 0


def test_rounds_of_a_step_are_pooled_turn_by_turn() -> None:
    [step] = group_runs([run(turns=2), run(turns=3), run(void="lost")])
    assert (step.turns, len(step.runs), len(step.valid_runs)) == (5, 3, 2)
    assert step.values("answer") == [0.31, 0.32, 0.31, 0.32, 0.33]
    assert step.pairs("gap") == [(0, 0.02), (1, 0.02), (0, 0.02), (1, 0.02), (2, 0.02)]


def test_merged_targets_get_file_names_only_if_revisions_differ() -> None:
    def results(revision: str, *targets: str) -> Results:
        return Results({"when": "now", "revision": revision}, [run(target) for target in targets])

    one, two, three = results("a", "direct", "voicegw"), results("b", "voicegw"), results("a", "naive")
    together = merge([(Path("old.json"), one), (Path("new.json"), two), (Path("more.json"), three)])
    assert [run.target for run in together.runs] == ["direct", "voicegw (old)", "voicegw (new)", "naive"]
    assert list(together.environment) == ["old.json", "new.json", "more.json"]
    found = Page(page.render(together))
    assert [title for title in found.titles("h3") if title.endswith(".json")] == list(together.environment)


def test_markup_is_escaped_once() -> None:
    made = tag("p", "a < b & c", tag("b", '"'), class_="x", title='"<&', hidden=None)
    assert made == '<p class="x" title="&quot;&lt;&amp;">a &lt; b &amp; c<b>&quot;</b></p>'
    assert row("<", Markup("<i></i>")) == '<tr><th scope="row">&lt;</th><td><i></i></td></tr>'


def test_the_pictures_of_the_docs_exist_and_are_small() -> None:
    docs = ROOT / "docs"
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', (docs / "load-testing.md").read_text("utf-8"))
    assert len(pictures) == len(set(pictures)) == 4
    assert all(0 < (docs / picture).stat().st_size < 150_000 for picture in pictures)


@pytest.mark.wire
def test_the_command_makes_one_page_of_several_files(tmp_path: Path) -> None:
    first, second, out = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "made" / "page.html"
    Results(describe_environment(1), [run("direct", turns=0)]).write(first)
    Results(describe_environment(1), [run("voicegw", turns=0)]).write(second)
    done = run_command(first, second, "-o", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert [line[0] for line in Page(out.read_text("utf-8")).rows[-2:]] == [
        "voice, 2 turns/s, direct",
        "voice, 2 turns/s, voicegw",
    ]
    first.write_text("{}")
    wrong = run_command(first)
    assert (wrong.returncode, wrong.stderr) == (2, f"{first} does not hold results of a load test\n")


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "loadtests.report.page", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
