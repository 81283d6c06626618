"""The recording of a call: observations by turn, and the times that follow from them."""

from __future__ import annotations

import pytest

from voicegw.simulate.recording import (
    ActionSeen,
    AnswerEnded,
    FramesReturned,
    HangUpSeen,
    Observation,
    PongSeen,
    RecordedTurn,
    Recording,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallStep

STEP = CallStep(say="Hello?")


def make_turn(*words: tuple[float, str], asked: float = 1.0, ends: tuple[float, ...] = ()) -> RecordedTurn:
    return RecordedTurn(STEP, asked, texts=[*words], end_times=[*ends])


def test_observations_are_recorded_in_their_turn() -> None:
    recording = Recording(turns=[make_turn(), make_turn()])
    action = ActionSeen(1, "end_call", "{}", "c1")
    came: list[Observation] = [
        TextHeard(None, "Hi."),
        TextHeard(0, "Yes."),
        AnswerEnded(0),
        TextHeard(1, "Bye."),
        action,
        AnswerEnded(1),
        Violation("x", "y"),
        HangUpSeen(),
    ]
    for now, observation in enumerate(came):
        recording.record(observation, float(now))
    first, second = recording.turns
    assert recording.greeting == [(0.0, "Hi.")]
    assert (first.texts, first.end_times) == ([(1.0, "Yes.")], [2.0])
    assert (second.texts, second.actions, second.end_times) == ([(3.0, "Bye.")], [(4.0, action)], [5.0])
    assert recording.violations == [Violation("x", "y")]
    assert recording.agent_ended_call


def test_only_text_is_recorded_outside_of_turns() -> None:
    recording = Recording()
    for observation in (AnswerEnded(None), ActionSeen(None, "play"), FramesReturned(("x",))):
        recording.record(observation, 1.0)
    assert recording == Recording()


def test_text_after_the_stop_is_late_and_not_heard() -> None:
    recording = Recording(turns=[make_turn((1.1, "We are"))])
    [turn] = recording.turns
    turn.stopped_at = 2.0
    recording.record(TextHeard(0, " open"), 2.125)
    recording.record(TextHeard(0, " now"), 2.25)
    recording.record(TextHeard(0, ""), 2.5)
    assert (turn.text, turn.late_texts) == ("We are", [(2.125, " open"), (2.25, " now"), (2.5, "")])
    assert turn.stop_delay == 0.25


def test_pongs_answer_pings_in_order_and_an_unexpected_one_answers_none() -> None:
    recording = Recording(pings=[(1.0, None), (2.0, None)])
    recording.record(PongSeen(), 2.125)
    recording.record(PongSeen(False), 2.25)
    assert recording.pings == [(1.0, 2.125), (2.0, None)]
    recording.record(PongSeen(), 2.5)
    recording.record(PongSeen(), 2.625)
    assert recording.pings == [(1.0, 2.125), (2.0, 2.5)]
    assert recording.violations == [Violation("pong", "a pong without a ping")]


def test_pong_of_a_new_connection_answers_no_older_ping() -> None:
    recording = Recording(pings=[(1.0, None), (3.0, None)], current_connection_at=2.0)
    recording.record(PongSeen(), 3.125)
    assert recording.pings == [(1.0, None), (3.0, 3.125)]


@pytest.mark.parametrize(
    ("turn", "outcome"),
    [
        (make_turn(ends=(2.0,)), "answered"),
        (make_turn(), "unanswered"),
        (RecordedTurn(STEP, 1.0, end_times=[2.0], stopped_at=3.0), "stopped"),
        (RecordedTurn(STEP, 1.0, lost_at=2.0), "lost"),
        (RecordedTurn(STEP, 1.0, lost_at=2.0, end_times=[3.0]), "answered"),
    ],
)
def test_outcome_is_one_word(turn: RecordedTurn, outcome: str) -> None:
    assert turn.outcome == outcome


@pytest.mark.parametrize(
    ("words", "first", "ack", "answer", "gap"),
    [
        ([], None, None, None, 0.0),
        ([(1.5, "Yes.")], 0.5, None, 0.5, 0.5),
        ([(1.0, "One moment. "), (3.0, "Yes"), (3.25, ".")], 0.0, 0.0, 2.0, 2.0),
        ([(1.0, "Um, "), (1.5, "yes.")], 0.0, 0.0, 0.5, 0.5),
        ([(1.5, "We are"), (2.0, " open.")], 0.5, None, 0.5, 0.5),
        ([(1.25, " "), (1.5, "لحظة، "), (2.0, "نعم")], 0.5, 0.5, 1.0, 0.5),
        ([(1.5, "好的，"), (1.75, " "), (2.0, "是")], 0.5, 0.5, 1.0, 0.5),
    ],
)
def test_delays_count_from_the_question_to_nonblank_text(
    words: list[tuple[float, str]], first: float | None, ack: float | None, answer: float | None, gap: float
) -> None:
    turn = make_turn(*words)
    assert (turn.first_text_delay, turn.ack_delay, turn.answer_delay, turn.longest_silence) == (
        first,
        ack,
        answer,
        gap,
    )


def test_answer_without_text_is_silent_until_its_end() -> None:
    assert make_turn(ends=(4.0,)).longest_silence == 3.0


def test_stop_delay_is_none_without_an_interruption_and_zero_without_late_text() -> None:
    assert make_turn().stop_delay is None
    assert RecordedTurn(STEP, 1.0, stopped_at=2.0).stop_delay == 0.0


@pytest.mark.parametrize(
    ("words", "anew", "answer"),
    [
        ([(1.0, "One moment. "), (1.5, "One moment. "), (3.0, "Yes.")], None, 2.0),
        ([(1.0, "One moment. "), (1.5, "Just a second. "), (3.0, "Yes.")], 1.5, 2.0),
        ([(1.0, "One moment. "), (1.5, "We are open. "), (3.0, "Come in.")], None, 0.5),
        ([(1.0, "One moment. "), (1.25, "We are open. "), (1.5, "One moment. "), (3.0, "Yes.")], 1.5, 0.25),
        ([(1.0, "One moment. "), (3.0, "We are closed.")], 1.5, 2.0),
    ],
)
def test_second_acknowledgement_is_not_the_answer(
    words: list[tuple[float, str]], anew: float | None, answer: float
) -> None:
    turn = make_turn(*words)
    turn.repeated_at = anew
    assert (turn.ack_delay, turn.answer_delay) == (0.0, answer)


def test_acknowledgement_before_a_hang_up_is_not_the_answer() -> None:
    turn = make_turn((1.0, "One moment. "))
    turn.caller_hung_up = True
    assert (turn.outcome, turn.ack_delay, turn.answer_delay) == ("hung up", 0.0, None)


def test_violation_is_located_in_the_newest_turn() -> None:
    recording = Recording()
    recording.record(Violation("x", "early"), 0.0)
    recording.turns.append(RecordedTurn(STEP, 1.0, 3))
    recording.record(Violation("x", "late"), 1.0)
    assert [violation.location for violation in recording.violations] == ["", "turn 3"]
