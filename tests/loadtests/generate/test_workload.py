"""An offer is the same for the same seed, and every turn of it is judged by what its plan promised."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from loadtests.generate.closed_loop import NO_ANSWER
from loadtests.generate.response_plan import ResponsePlan
from loadtests.generate.streams import NO_SOCKETS, Stream
from loadtests.generate.target import Target
from loadtests.generate.workload import (
    HUNG_UP,
    MAX_LATENESS,
    HANG_UP_DELAY,
    NOT_CONNECTED,
    Thresholds,
    Workload,
    PlannedTurn,
    plan_turns,
    record_turns,
    void_reason,
)
from loadtests.report.results import Run

DOOR = Target("voicegw", 1)
STORM = Workload("storm", ("voice", "quick"), 50, 10.0, seed=3, barge_in=0.5, hang_up=0.5)


def run() -> Run:
    return Run("voicegw", "S", "open", 10.0, 0.0)


def turn(stream: Stream | None = None, model: str = "tokens=3", **how: float) -> PlannedTurn:
    return PlannedTurn(0.0, b"", ResponsePlan.from_model_name(model), stream=stream, lateness=0.001, **how)


def stream(**how: float | str) -> Stream:
    whole = {"first_chunk": 0.01, "ack": 0.01, "answer": 0.5, "waited": 0.4, "done": 0.6, "tokens": 3}
    return Stream(**{**whole, **how})  # type: ignore[arg-type]


def shape(turns: list[PlannedTurn]) -> list[tuple[float, ResponsePlan, float, bool]]:
    return [(turn.due_at, turn.plan, turn.hang_up_after, turn.interrupts is None) for turn in turns]


def test_the_same_seed_offers_the_same_turns_in_order_and_on_calls_of_their_own() -> None:
    turns = plan_turns(STORM, DOOR, "a")
    assert shape(turns) == shape(plan_turns(STORM, DOOR, "b"))
    assert [turn.due_at for turn in turns] == sorted(turn.due_at for turn in turns)
    calls = {turn.request.partition(b"x-voicegw-call: ")[2].split(b"\r\n")[0] for turn in turns}
    assert len(calls) == sum(turn.interrupts is None for turn in turns)
    assert all(call.startswith(b"a-") for call in calls)


def test_shares_of_the_turns_are_interrupted_and_left() -> None:
    turns = plan_turns(STORM, DOOR, "a")
    barging = [turn for turn in turns if turn.interrupts]
    plain = [turn for turn in turns if not turn.interrupts and turn not in [b.interrupts for b in barging]]
    calls = len(turns) - len(barging)
    assert len(barging) / calls == pytest.approx(0.5, abs=0.1)
    assert sum(turn.hang_up_after < inf for turn in plain) / len(plain) == pytest.approx(0.5, abs=0.15)
    for newer in barging:
        assert newer.interrupts is not None
        assert 0.1 <= newer.due_at - newer.interrupts.due_at <= 1.5
        assert newer.interrupts.hang_up_after == pytest.approx(newer.due_at - newer.interrupts.due_at + HANG_UP_DELAY)
        assert 0.1 <= newer.hang_up_after <= 1.5
        assert newer.request != newer.interrupts.request


def test_drawn_waits_have_a_seed_per_turn_which_both_sides_of_a_pair_share() -> None:
    offer = Workload("S", ("first=exponential:0.3,tokens=2",), 50, 1.0, seed=2, steady=True)
    sides = [[t.request.partition(b",seed=")[2][:7] for t in plan_turns(offer, DOOR, name)] for name in "ab"]
    assert sides[0] == sides[1]
    assert sides[0][:2] == [b"2000000", b"2000001"]


def test_a_turn_went_well_when_every_token_came() -> None:
    assert turn(stream()).failure == ""
    assert turn(stream(tokens=2)).failure == "2 of 3 tokens arrived"
    assert turn(stream(failed="HTTP/1.1 503")).failure == "HTTP/1.1 503"
    assert turn(stream(failed=NO_ANSWER, answer=nan)).failure == NO_ANSWER
    assert turn().failure == NOT_CONNECTED
    assert turn(stream()).added == pytest.approx(0.1)
    assert isnan(turn(stream(tokens=2)).added)


def test_an_interrupted_turn_may_be_short_but_must_end_well() -> None:
    short = stream(tokens=0, failed=NO_ANSWER, answer=nan)
    assert turn(short, barged=0.2).failure == ""
    assert turn(stream(failed="cut"), barged=0.2).failure == "cut"


def test_a_faulty_turn_must_end_in_words() -> None:
    words = stream(tokens=0, failed=NO_ANSWER, answer=nan)
    silence = stream(tokens=0, failed=NO_ANSWER, answer=nan, ack=nan)
    assert turn(words, "fault=silent").failure == ""
    assert turn(silence, "fault=silent").failure == "not a word was said"
    assert turn(stream(failed="cut"), "fault=cut").failure == "cut"


def test_a_run_has_a_row_for_each_good_turn_and_counts_the_others() -> None:
    kept = run()
    hung, cut = turn(stream(failed=HUNG_UP)), turn(stream(failed="cut"))
    record_turns(kept, [turn(stream()), turn(stream(), barged=0.5), hung, cut], 2.0)
    record_turns(kept, [turn(stream())], 2.0)
    assert (kept.turns, kept.left, kept.failed, kept.seconds) == (5, 1, {"cut": 1}, 4.0)
    assert kept.times["at"] == [0.0, 0.0, 2.0]
    assert kept.times["stop"] == [None, pytest.approx(0.1), None]
    assert kept.values("late") == [0.001] * 3
    assert kept.added == pytest.approx([0.1] * 3)


def test_a_late_generator_voids_what_it_measured() -> None:
    turns = [turn(stream()) for _ in range(100)]
    assert void_reason(turns, 100) == void_reason(turns, None) == ""
    turns[0].lateness = turns[1].lateness = 2 * MAX_LATENESS
    assert void_reason(turns, 100) == "the generator was late: p99 10.0 ms, 5 ms are allowed"
    assert "late" in void_reason([PlannedTurn(0.0, b"", ResponsePlan())], None)


def test_turns_of_which_none_went_well_prove_nothing() -> None:
    lost = [turn(stream(failed="status 500")) for _ in range(3)]
    assert void_reason(lost, 3) == void_reason(lost, None) == "not one turn went well: status 500"
    assert void_reason([*lost, turn(stream())], 4) == ""
    assert void_reason([*lost, turn(stream(failed=HUNG_UP))], 4) == ""
    short = f"{NO_SOCKETS}: ulimit -n is 256"
    assert void_reason([turn(stream()), turn(stream(failed=short))], 2) == short


def test_an_agent_asked_more_or_less_often_than_callers_spoke_voids_the_run() -> None:
    turns = [turn(stream())] * 3
    assert void_reason(turns, 4) == "3 turns were offered, the agent was asked 4 times"


def test_a_rate_is_held_while_everything_stays_below() -> None:
    kept = run()
    record_turns(kept, [turn(stream(gap=0.3))], 1.0)
    assert Thresholds(max_added=0.11, max_gap=0.31).are_met_by(kept)
    assert not Thresholds(max_added=0.09, max_gap=0.31).are_met_by(kept)
    assert not Thresholds(max_added=0.11, max_gap=0.3).are_met_by(kept)
    kept.void = "late"
    assert not Thresholds(1.0, 1.0).are_met_by(kept)
    assert not Thresholds().are_met_by(run())
