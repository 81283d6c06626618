"""The summary has all measurements, and no figure of a void run."""

from __future__ import annotations

from loadtests.report.results import Check, Overhead, Results, Run
from loadtests.report.summary import format_checks, format_overheads, format_runs, format_summary


def run(answer: float, void: str = "", **fields: float) -> Run:
    result = Run("voicegw", "S1", "open", 100.0, 3.0, void=void, turns=2, left=1, **fields)  # type: ignore[arg-type]
    result.add(at=0.0, late=0.0, ack=0.001, answer=answer, waited=0.3)
    return result


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell]


def test_runs_of_one_load_share_a_line_without_void_runs() -> None:
    line = format_runs([run(0.301), run(9.0, "too late"), run(0.302)]).splitlines()[1]
    assert cells(line) == [
        *("S1", "voicegw", "100", "4", "0", "2"),
        *("0.000/0.000", "1.00/1.00", "302/302", "2.00/2.00", "-", "-", "1 of 3 void: too late"),
    ]


def test_a_single_void_run_is_marked() -> None:
    assert format_runs([run(9.0, "too late")]).splitlines()[1].endswith("void: too late")


def test_failed_turns_are_counted_by_reason() -> None:
    failing = run(0.3)
    failing.failed = {"cut": 3}
    assert format_runs([failing, run(0.3)]).splitlines()[-1] == "3 x cut"


def test_overheads_and_checks_have_tables_if_there_are_any() -> None:
    results = Results({}, [run(0.3)], [Overhead("voicegw", "S1", 0.999, 0.0012, 0.001, 0.002)], ["a note"])
    results.runs[0].checks += [Check("files", True, "3", "at most 4"), Check("runs", False, "1", "0")]
    assert cells(format_overheads(results).splitlines()[1])[2:] == ["p99.9", "1.20", "1.00 to 2.00"]
    assert [line.endswith("FAILED") for line in format_checks(results).splitlines()] == [False, False, True]
    assert format_summary(results).endswith("\n\na note")
    assert format_overheads(Results({})) == format_checks(Results({})) == ""
