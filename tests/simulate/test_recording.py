"""The tape of a call: what is noted for which turn, and the times that come of it."""

from __future__ import annotations

import pytest

from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, HangUpSeen, PongSeen, FramesReturned, Recording, RecordedTurn, TextHeard, Violation
from voicegw.simulate.script import CallStep

STEP = CallStep(say="Hello?")


def taped(*words: tuple[float, str], asked: float = 1.0, ends: tuple[float, ...] = ()) -> RecordedTurn:
    return RecordedTurn(STEP, asked, texts=[*words], end_times=[*ends])


def test_what_comes_is_noted_where_it_belongs() -> None:
    tape = Recording(turns=[taped(), taped()])
    act = ActionSeen(1, "end_call", "{}", "c1")
    came: list[Observation] = [
        TextHeard(None, "Hi."),
        TextHeard(0, "Yes."),
        AnswerEnded(0),
        TextHeard(1, "Bye."),
        act,
        AnswerEnded(1),
        Violation("x", "y"),
        HangUpSeen(),
    ]
    for now, heard in enumerate(came):
        tape.record(heard, float(now))
    first, second = tape.turns
    assert tape.greeting == [(0.0, "Hi.")]
    assert (first.texts, first.end_times) == ([(1.0, "Yes.")], [2.0])
    assert (second.texts, second.actions, second.end_times) == ([(3.0, "Bye.")], [(4.0, act)], [5.0])
    assert tape.violations == [Violation("x", "y")]
    assert tape.agent_ended_call


def test_what_belongs_to_no_turn_leaves_no_trace_but_words() -> None:
    tape = Recording()
    for heard in (AnswerEnded(None), ActionSeen(None, "play"), FramesReturned(("x",))):
        tape.record(heard, 1.0)
    assert tape == Recording()


def test_words_after_the_stop_are_late_and_not_heard() -> None:
    tape = Recording(turns=[taped((1.1, "We are"))])
    [turn] = tape.turns
    turn.stopped_at = 2.0
    tape.record(TextHeard(0, " open"), 2.125)
    tape.record(TextHeard(0, " now"), 2.25)
    tape.record(TextHeard(0, ""), 2.5)
    assert (turn.text, turn.late_texts) == ("We are", [(2.125, " open"), (2.25, " now"), (2.5, "")])
    assert turn.stop_delay == 0.25


def test_pongs_answer_pings_in_order_and_a_wrong_one_answers_none() -> None:
    tape = Recording(pings=[(1.0, None), (2.0, None)])
    tape.record(PongSeen(), 2.125)
    tape.record(PongSeen(False), 2.25)
    assert tape.pings == [(1.0, 2.125), (2.0, None)]
    tape.record(PongSeen(), 2.5)
    tape.record(PongSeen(), 2.625)
    assert tape.pings == [(1.0, 2.125), (2.0, 2.5)]
    assert tape.violations == [Violation("pong", "a pong that nobody asked for")]


def test_a_ping_of_a_lost_connection_is_answered_by_no_pong_of_the_next() -> None:
    tape = Recording(pings=[(1.0, None), (3.0, None)], current_connection_at=2.0)
    tape.record(PongSeen(), 3.125)
    assert tape.pings == [(1.0, None), (3.0, 3.125)]


@pytest.mark.parametrize(
    ("turn", "outcome"),
    [
        (taped(ends=(2.0,)), "answered"),
        (taped(), "unanswered"),
        (RecordedTurn(STEP, 1.0, end_times=[2.0], stopped_at=3.0), "stopped"),
        (RecordedTurn(STEP, 1.0, lost_at=2.0), "lost"),
        (RecordedTurn(STEP, 1.0, lost_at=2.0, end_times=[3.0]), "answered"),
    ],
)
def test_how_a_turn_went_is_one_word(turn: RecordedTurn, outcome: str) -> None:
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
def test_times_to_words_are_from_the_question_and_blanks_are_none(
    words: list[tuple[float, str]], first: float | None, ack: float | None, answer: float | None, gap: float
) -> None:
    turn = taped(*words)
    assert (turn.first_text_delay, turn.ack_delay, turn.answer_delay, turn.longest_silence) == (first, ack, answer, gap)


def test_an_answer_without_words_was_silent_to_its_end() -> None:
    assert taped(ends=(4.0,)).longest_silence == 3.0


def test_without_an_interruption_nothing_stopped_and_without_late_words_it_stopped_at_once() -> None:
    assert taped().stop_delay is None
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
def test_a_second_acknowledgement_is_not_the_answer(
    words: list[tuple[float, str]], anew: float | None, answer: float
) -> None:
    turn = taped(*words)
    turn.repeated_at = anew
    assert (turn.ack_delay, turn.answer_delay) == (0.0, answer)


def test_who_hangs_up_is_said_so_and_leaves_an_acknowledgement_as_one() -> None:
    turn = taped((1.0, "One moment. "))
    turn.caller_hung_up = True
    assert (turn.outcome, turn.ack_delay, turn.answer_delay) == ("hung up", 0.0, None)


def test_what_is_wrong_names_the_turn_in_which_it_came() -> None:
    tape = Recording()
    tape.record(Violation("x", "early"), 0.0)
    tape.turns.append(RecordedTurn(STEP, 1.0, 3))
    tape.record(Violation("x", "late"), 1.0)
    assert [wrong.location for wrong in tape.violations] == ["", "turn 3"]
