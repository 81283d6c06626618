"""An offer is the same for the same seed, and every turn of it is judged by what its plan promised."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from loadtests.generate.closed_loop import UNANSWERED
from loadtests.generate.response_plan import Plan
from loadtests.generate.streams import NO_FILES, Stream
from loadtests.generate.target import Door
from loadtests.generate.workload import (
    HUNG_UP,
    LATE,
    PATIENCE,
    UNCONNECTED,
    Bound,
    Offer,
    Turn,
    planned,
    record,
    voided,
)
from loadtests.report.results import Run

DOOR = Door("voicegw", 1)
STORM = Offer("storm", ("voice", "quick"), 50, 10.0, seed=3, barge_in=0.5, hang_up=0.5)


def run() -> Run:
    return Run("voicegw", "S", "open", 10.0, 0.0)


def turn(stream: Stream | None = None, model: str = "tokens=3", **how: float) -> Turn:
    return Turn(0.0, b"", Plan.named(model), stream=stream, late=0.001, **how)


def stream(**how: float | str) -> Stream:
    whole = {"first_chunk": 0.01, "ack": 0.01, "answer": 0.5, "waited": 0.4, "done": 0.6, "tokens": 3}
    return Stream(**{**whole, **how})  # type: ignore[arg-type]


def shape(turns: list[Turn]) -> list[tuple[float, Plan, float, bool]]:
    return [(turn.at, turn.plan, turn.leave, turn.barges is None) for turn in turns]


def test_the_same_seed_offers_the_same_turns_in_order_and_on_calls_of_their_own() -> None:
    turns = planned(STORM, DOOR, "a")
    assert shape(turns) == shape(planned(STORM, DOOR, "b"))
    assert [turn.at for turn in turns] == sorted(turn.at for turn in turns)
    calls = {turn.request.partition(b"x-voicegw-call: ")[2].split(b"\r\n")[0] for turn in turns}
    assert len(calls) == sum(turn.barges is None for turn in turns)
    assert all(call.startswith(b"a-") for call in calls)


def test_shares_of_the_turns_are_interrupted_and_left() -> None:
    turns = planned(STORM, DOOR, "a")
    barging = [turn for turn in turns if turn.barges]
    plain = [turn for turn in turns if not turn.barges and turn not in [b.barges for b in barging]]
    calls = len(turns) - len(barging)
    assert len(barging) / calls == pytest.approx(0.5, abs=0.1)
    assert sum(turn.leave < inf for turn in plain) / len(plain) == pytest.approx(0.5, abs=0.15)
    for newer in barging:
        assert newer.barges is not None
        assert 0.1 <= newer.at - newer.barges.at <= 1.5
        assert newer.barges.leave == pytest.approx(newer.at - newer.barges.at + PATIENCE)
        assert 0.1 <= newer.leave <= 1.5
        assert newer.request != newer.barges.request


def test_drawn_waits_have_a_seed_per_turn_which_both_sides_of_a_pair_share() -> None:
    offer = Offer("S", ("first=exponential:0.3,tokens=2",), 50, 1.0, seed=2, steady=True)
    sides = [[t.request.partition(b",seed=")[2][:7] for t in planned(offer, DOOR, name)] for name in "ab"]
    assert sides[0] == sides[1]
    assert sides[0][:2] == [b"2000000", b"2000001"]


def test_a_turn_went_well_when_every_token_came() -> None:
    assert turn(stream()).failed == ""
    assert turn(stream(tokens=2)).failed == "2 of 3 tokens arrived"
    assert turn(stream(failed="HTTP/1.1 503")).failed == "HTTP/1.1 503"
    assert turn(stream(failed=UNANSWERED, answer=nan)).failed == UNANSWERED
    assert turn().failed == UNCONNECTED
    assert turn(stream()).added == pytest.approx(0.1)
    assert isnan(turn(stream(tokens=2)).added)


def test_an_interrupted_turn_may_be_short_but_must_end_well() -> None:
    short = stream(tokens=0, failed=UNANSWERED, answer=nan)
    assert turn(short, barged=0.2).failed == ""
    assert turn(stream(failed="cut"), barged=0.2).failed == "cut"


def test_a_faulty_turn_must_end_in_words() -> None:
    words = stream(tokens=0, failed=UNANSWERED, answer=nan)
    silence = stream(tokens=0, failed=UNANSWERED, answer=nan, ack=nan)
    assert turn(words, "fault=silent").failed == ""
    assert turn(silence, "fault=silent").failed == "not a word was said"
    assert turn(stream(failed="cut"), "fault=cut").failed == "cut"


def test_a_run_has_a_row_for_each_good_turn_and_counts_the_others() -> None:
    kept = run()
    hung, cut = turn(stream(failed=HUNG_UP)), turn(stream(failed="cut"))
    record(kept, [turn(stream()), turn(stream(), barged=0.5), hung, cut], 2.0)
    record(kept, [turn(stream())], 2.0)
    assert (kept.turns, kept.left, kept.failed, kept.seconds) == (5, 1, {"cut": 1}, 4.0)
    assert kept.times["at"] == [0.0, 0.0, 2.0]
    assert kept.times["stop"] == [None, pytest.approx(0.1), None]
    assert kept.known("late") == [0.001] * 3
    assert kept.added == pytest.approx([0.1] * 3)


def test_a_late_generator_voids_what_it_measured() -> None:
    turns = [turn(stream()) for _ in range(100)]
    assert voided(turns, 100) == voided(turns, None) == ""
    turns[0].late = turns[1].late = 2 * LATE
    assert voided(turns, 100) == "the generator was late: p99 10.0 ms, 5 ms are allowed"
    assert "late" in voided([Turn(0.0, b"", Plan())], None)


def test_turns_of_which_none_went_well_prove_nothing() -> None:
    lost = [turn(stream(failed="status 500")) for _ in range(3)]
    assert voided(lost, 3) == voided(lost, None) == "not one turn went well: status 500"
    assert voided([*lost, turn(stream())], 4) == ""
    assert voided([*lost, turn(stream(failed=HUNG_UP))], 4) == ""
    short = f"{NO_FILES}: ulimit -n is 256"
    assert voided([turn(stream()), turn(stream(failed=short))], 2) == short


def test_an_agent_asked_more_or_less_often_than_callers_spoke_voids_the_run() -> None:
    turns = [turn(stream())] * 3
    assert voided(turns, 4) == "3 turns were offered, the agent was asked 4 times"


def test_a_rate_is_held_while_everything_stays_below() -> None:
    kept = run()
    record(kept, [turn(stream(gap=0.3))], 1.0)
    assert Bound(added=0.11, gap=0.31).holds(kept)
    assert not Bound(added=0.09, gap=0.31).holds(kept)
    assert not Bound(added=0.11, gap=0.3).holds(kept)
    kept.void = "late"
    assert not Bound(1.0, 1.0).holds(kept)
    assert not Bound().holds(run())
