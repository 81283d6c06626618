"""Checks of recorded streams: first words, delays, and checks that are not tried."""

from __future__ import annotations

import pytest

from voicegw.simulate.checks import Check
from voicegw.simulate.http_checks import (
    CHAT,
    DONE,
    STATUS,
    HttpRecording,
    RecordedStream,
    begins_within,
    split_first_words,
)
from voicegw.simulate.platforms.elevenlabs import JOINS
from voicegw.simulate.platforms.vapi import CLAUSE, IN_TIME
from voicegw.simulate.script import CallScript

SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})


def make_stream(*texts: tuple[float, str]) -> RecordedStream:
    first = texts[0][0] if texts else None
    return RecordedStream(
        "turn 1",
        0.0,
        200,
        "text/event-stream",
        first,
        list(texts),
        done_at=9.0,
        body_ended_at=9.0,
        left_at=9.0,
        was_read_to_end=True,
    )


def evaluate(check: Check, *streams: RecordedStream) -> list[str] | None:
    return check.evaluate(HttpRecording(streams=list(streams)), SCRIPT)


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [(0.0, "It")],
        [(0.0, "It"), (0.1, " is")],
        [(0.0, "U."), (0.1, "S.")],
        [(0.0, "Hi"), (0.4, ", you")],
    ],
)
def test_continuous_words_are_not_split(texts: list[tuple[float, str]]) -> None:
    assert split_first_words(make_stream(*texts)) is None


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([(0.0, "One moment. "), (0.1, "It is")], ("One moment. ", "It is", 0.1)),
        ([(0.0, "One moment"), (0.0, " "), (2.0, "It is")], ("One moment ", "It is", 2.0)),
        ([(0.0, " "), (0.5, "Well"), (1.0, " then")], (" Well", " then", 0.5)),
    ],
)
def test_clause_and_words_before_a_pause_are_split(
    texts: list[tuple[float, str]], found: tuple[str, str, float]
) -> None:
    assert split_first_words(make_stream(*texts)) == found


@pytest.mark.parametrize(
    ("first", "more", "reason"),
    [
        ("One moment... ", "It is", None),
        ("One moment. ", "It is", None),
        ("One moment.", " It is", None),
        ("One moment", " it is", None),
        ("请稍等。", "今天", None),
        ("Really?", "!", None),
        ("One moment...", " It is", "'One moment...' has no space after the dots"),
        ("One moment…", "It is", "'One moment…' has no space after the dots"),
        ("One moment.", "It is", "'One moment.' has no space after it, and 'It is' follows"),
        ("One moment", "It is", "'One moment' runs into 'It is' after 2.00 s"),
    ],
)
def test_bad_joins_of_first_words_are_found(first: str, more: str, reason: str | None) -> None:
    flaws = evaluate(JOINS, make_stream((0.0, first), (2.0, more)))
    assert flaws == ([f"turn 1: {reason}"] if reason else [])


@pytest.mark.parametrize(
    ("first", "pause", "reason"),
    [
        ("One moment. ", 2.0, None),
        ("One moment", 2.0, "'One moment' is not a whole clause, and the rest follows 2.00 s later"),
        ("请稍等。", 2.0, None),
    ],
)
def test_unfinished_first_clause_is_found(first: str, pause: float, reason: str | None) -> None:
    flaws = evaluate(CLAUSE, make_stream((0.0, first), (pause, " It is")))
    assert flaws == ([f"turn 1: {reason}"] if reason else [])


def test_checks_of_first_words_are_not_tried_without_a_split() -> None:
    assert evaluate(JOINS, make_stream((0.0, "Hello"))) is None
    assert evaluate(CLAUSE, make_stream((0.0, "Hello"))) is None
    assert evaluate(IN_TIME) is None
    assert [check.evaluate(HttpRecording(), SCRIPT) for check in (STATUS, DONE)] == [None, None]


def test_begins_within_counts_to_the_first_output_or_to_the_end() -> None:
    judge = begins_within(2.0)
    streams = [make_stream((2.0, "Hi")), make_stream((2.5, "Hi")), make_stream()]
    assert judge(HttpRecording(streams=streams), SCRIPT) == [
        "turn 1: nothing for 2.50 s; the platform waits 2 s",
        "turn 1: nothing for 9.00 s; the platform waits 2 s",
    ]


def test_broken_connection_is_located_before_or_after_done() -> None:
    before, after, never = (make_stream((0.0, "Hi")) for _ in range(3))
    before.failure = after.failure = "connection reset"
    before.done_at = None
    never.status, never.failure = None, "nobody is there"
    assert evaluate(DONE, before, after) == [
        "turn 1: before [DONE]: connection reset",
        "turn 1: after [DONE]: connection reset",
    ]
    assert evaluate(STATUS, before, never) == ["turn 1: nobody is there"]


def test_checks_have_unique_names_and_one_sentence() -> None:
    assert len({check.item for check in CHAT}) == len(CHAT)
    for check in CHAT:
        assert check.description[0] == check.description[0].lower() or check.description.startswith("[DONE]")
        assert not check.description.endswith(".")
