"""A workload repeats with its seed, and every turn is judged by its response plan."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from loadtests.generate.closed_loop import NO_ANSWER
from loadtests.generate.response_plan import ResponsePlan
from loadtests.generate.streams import NO_SOCKETS, Stream
from loadtests.generate.target import Target
from loadtests.generate.workload import (
    HANG_UP_DELAY,
    HUNG_UP,
    MAX_LATENESS,
    NOT_CONNECTED,
    PlannedTurn,
    Thresholds,
    Workload,
    plan_turns,
    record_turns,
    void_reason,
)
from loadtests.report.results import Run

TARGET = Target("voicegw", 1)
STORM = Workload("storm", ("voice", "quick"), 50, 10.0, seed=3, barge_in=0.5, hang_up=0.5)


def run() -> Run:
    return Run("voicegw", "S", "open", 10.0, 0.0)


def turn(stream: Stream | None = None, model: str = "tokens=3", **fields: float) -> PlannedTurn:
    return PlannedTurn(0.0, b"", ResponsePlan.from_model_name(model), stream=stream, lateness=0.001, **fields)


def stream(**fields: float | str) -> Stream:
    complete = {"first_chunk": 0.01, "ack": 0.01, "answer": 0.5, "waited": 0.4, "done": 0.6, "tokens": 3}
    return Stream(**{**complete, **fields})  # type: ignore[arg-type]


def shape(turns: list[PlannedTurn]) -> list[tuple[float, ResponsePlan, float, bool]]:
    return [(turn.due_at, turn.plan, turn.hang_up_after, turn.interrupts is None) for turn in turns]


def test_one_seed_gives_equal_turns_on_new_calls() -> None:
    turns = plan_turns(STORM, TARGET, "a")
    assert shape(turns) == shape(plan_turns(STORM, TARGET, "b"))
    assert [turn.due_at for turn in turns] == sorted(turn.due_at for turn in turns)
    calls = {turn.request.partition(b"x-voicegw-call: ")[2].split(b"\r\n")[0] for turn in turns}
    assert len(calls) == sum(turn.interrupts is None for turn in turns)
    assert all(call.startswith(b"a-") for call in calls)


def test_shares_of_the_turns_are_interrupted_or_left() -> None:
    turns = plan_turns(STORM, TARGET, "a")
    interrupting = [turn for turn in turns if turn.interrupts]
    plain = [
        turn for turn in turns if not turn.interrupts and turn not in [b.interrupts for b in interrupting]
    ]
    calls = len(turns) - len(interrupting)
    assert len(interrupting) / calls == pytest.approx(0.5, abs=0.1)
    assert sum(turn.hang_up_after < inf for turn in plain) / len(plain) == pytest.approx(0.5, abs=0.15)
    for newer in interrupting:
        assert newer.interrupts is not None
        assert 0.1 <= newer.due_at - newer.interrupts.due_at <= 1.5
        assert newer.interrupts.hang_up_after == pytest.approx(
            newer.due_at - newer.interrupts.due_at + HANG_UP_DELAY
        )
        assert 0.1 <= newer.hang_up_after <= 1.5
        assert newer.request != newer.interrupts.request


def test_random_waits_have_one_seed_per_turn_on_both_sides() -> None:
    workload = Workload("S", ("first=exponential:0.3,tokens=2",), 50, 1.0, seed=2, steady=True)
    sides = [
        [t.request.partition(b",seed=")[2][:7] for t in plan_turns(workload, TARGET, name)] for name in "ab"
    ]
    assert sides[0] == sides[1]
    assert sides[0][:2] == [b"2000000", b"2000001"]


def test_a_turn_succeeds_when_every_token_came() -> None:
    assert turn(stream()).failure == ""
    assert turn(stream(tokens=2)).failure == "2 of 3 tokens arrived"
    assert turn(stream(failure="HTTP/1.1 503")).failure == "HTTP/1.1 503"
    assert turn(stream(failure=NO_ANSWER, answer=nan)).failure == NO_ANSWER
    assert turn().failure == NOT_CONNECTED
    assert turn(stream()).added == pytest.approx(0.1)
    assert isnan(turn(stream(tokens=2)).added)


def test_an_interrupted_turn_may_be_short_but_must_end_properly() -> None:
    short = stream(tokens=0, failure=NO_ANSWER, answer=nan)
    assert turn(short, interrupted_after=0.2).failure == ""
    assert turn(stream(failure="cut"), interrupted_after=0.2).failure == "cut"


def test_a_turn_with_a_fault_must_end_in_words() -> None:
    words = stream(tokens=0, failure=NO_ANSWER, answer=nan)
    silence = stream(tokens=0, failure=NO_ANSWER, answer=nan, ack=nan)
    assert turn(words, "fault=silent").failure == ""
    assert turn(silence, "fault=silent").failure == "no words were heard"
    assert turn(stream(failure="cut"), "fault=cut").failure == "cut"


def test_a_run_has_a_row_per_successful_turn_and_counts_failures() -> None:
    recorded = run()
    hung_up, cut = turn(stream(failure=HUNG_UP)), turn(stream(failure="cut"))
    record_turns(recorded, [turn(stream()), turn(stream(), interrupted_after=0.5), hung_up, cut], 2.0)
    record_turns(recorded, [turn(stream())], 2.0)
    assert (recorded.turns, recorded.left, recorded.failed, recorded.seconds) == (5, 1, {"cut": 1}, 4.0)
    assert recorded.times["at"] == [0.0, 0.0, 2.0]
    assert recorded.times["stop"] == [None, pytest.approx(0.1), None]
    assert recorded.values("late") == [0.001] * 3
    assert recorded.added == pytest.approx([0.1] * 3)


def test_a_late_generator_makes_its_turns_void() -> None:
    turns = [turn(stream()) for _ in range(100)]
    assert void_reason(turns, 100) == void_reason(turns, None) == ""
    turns[0].lateness = turns[1].lateness = 2 * MAX_LATENESS
    assert void_reason(turns, 100) == "the generator was late: p99 10.0 ms, 5 ms are allowed"
    assert "late" in void_reason([PlannedTurn(0.0, b"", ResponsePlan())], None)


def test_turns_are_void_if_all_failed() -> None:
    lost = [turn(stream(failure="status 500")) for _ in range(3)]
    assert void_reason(lost, 3) == void_reason(lost, None) == "every turn failed, most often: status 500"
    assert void_reason([*lost, turn(stream())], 4) == ""
    assert void_reason([*lost, turn(stream(failure=HUNG_UP))], 4) == ""
    no_sockets = f"{NO_SOCKETS}: ulimit -n is 256"
    assert void_reason([turn(stream()), turn(stream(failure=no_sockets))], 2) == no_sockets


def test_turns_are_void_if_the_request_count_differs() -> None:
    turns = [turn(stream())] * 3
    assert void_reason(turns, 4) == "3 turns were sent, the agent got 4 requests"


def test_a_rate_is_held_below_both_thresholds() -> None:
    recorded = run()
    record_turns(recorded, [turn(stream(gap=0.3))], 1.0)
    assert Thresholds(max_added=0.11, max_gap=0.31).are_met_by(recorded)
    assert not Thresholds(max_added=0.09, max_gap=0.31).are_met_by(recorded)
    assert not Thresholds(max_added=0.11, max_gap=0.3).are_met_by(recorded)
    recorded.void = "late"
    assert not Thresholds(1.0, 1.0).are_met_by(recorded)
    assert not Thresholds().are_met_by(run())
