"""The tape of requests, judged: what stood alone, what came late, and what was not tried."""

from __future__ import annotations

import pytest

from voicegw.simulate.checks import Check
from voicegw.simulate.http_checks import CHAT, DONE, STATUS, HttpRecording, RecordedStream, split_first_words, begins_within
from voicegw.simulate.platforms.elevenlabs import JOINS
from voicegw.simulate.platforms.vapi import CLAUSE, IN_TIME
from voicegw.simulate.script import CallScript

SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})


def spoken(*said: tuple[float, str]) -> RecordedStream:
    first = said[0][0] if said else None
    return RecordedStream(
        "turn 1", 0.0, 200, "text/event-stream", first, list(said), done_at=9.0, body_ended_at=9.0, left_at=9.0, was_read_to_end=True
    )


def judged(check: Check, *streams: RecordedStream) -> list[str] | None:
    return check.evaluate(HttpRecording(streams=list(streams)), SCRIPT)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [(0.0, "It")],
        [(0.0, "It"), (0.1, " is")],
        [(0.0, "U."), (0.1, "S.")],
        [(0.0, "Hi"), (0.4, ", you")],
    ],
)
def test_words_that_go_on_at_once_do_not_stand_alone(said: list[tuple[float, str]]) -> None:
    assert split_first_words(spoken(*said)) is None


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([(0.0, "One moment. "), (0.1, "It is")], ("One moment. ", "It is", 0.1)),
        ([(0.0, "One moment"), (0.0, " "), (2.0, "It is")], ("One moment ", "It is", 2.0)),
        ([(0.0, " "), (0.5, "Well"), (1.0, " then")], (" Well", " then", 0.5)),
    ],
)
def test_a_clause_and_what_a_pause_follows_stand_alone(
    said: list[tuple[float, str]], found: tuple[str, str, float]
) -> None:
    assert split_first_words(spoken(*said)) == found


@pytest.mark.parametrize(
    ("first", "more", "why"),
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
def test_first_words_join_what_follows(first: str, more: str, why: str | None) -> None:
    told = judged(JOINS, spoken((0.0, first), (2.0, more)))
    assert told == ([f"turn 1: {why}"] if why else [])


@pytest.mark.parametrize(
    ("first", "pause", "why"),
    [
        ("One moment. ", 2.0, None),
        ("One moment", 2.0, "'One moment' is no clause and waits 2.00 s for its end"),
        ("请稍等。", 2.0, None),
    ],
)
def test_first_words_are_a_clause(first: str, pause: float, why: str | None) -> None:
    told = judged(CLAUSE, spoken((0.0, first), (pause, " It is")))
    assert told == ([f"turn 1: {why}"] if why else [])


def test_without_first_words_that_stand_alone_nothing_was_tried() -> None:
    assert judged(JOINS, spoken((0.0, "Hello"))) is None
    assert judged(CLAUSE, spoken((0.0, "Hello"))) is None
    assert judged(IN_TIME) is None
    assert [check.evaluate(HttpRecording(), SCRIPT) for check in (STATUS, DONE)] == [None, None]


def test_a_wait_counts_to_the_first_words_or_to_the_end_without_any() -> None:
    judge = begins_within(2.0)
    streams = [spoken((2.0, "Hi")), spoken((2.5, "Hi")), spoken()]
    assert judge(HttpRecording(streams=streams), SCRIPT) == [
        "turn 1: nothing for 2.50 s; the platform waits 2 s",
        "turn 1: nothing for 9.00 s; the platform waits 2 s",
    ]


def test_a_broken_connection_is_told_with_its_place() -> None:
    before, after, never = (spoken((0.0, "Hi")) for _ in range(3))
    before.failure = after.failure = "connection reset"
    before.done_at = None
    never.status, never.failure = None, "nobody is there"
    assert judged(DONE, before, after) == [
        "turn 1: before [DONE]: connection reset",
        "turn 1: after [DONE]: connection reset",
    ]
    assert judged(STATUS, before, never) == ["turn 1: nobody is there"]


def test_every_entry_has_a_name_of_its_own_and_a_plain_sentence() -> None:
    assert len({check.item for check in CHAT}) == len(CHAT)
    for check in CHAT:
        assert check.description[0] == check.description[0].lower() or check.description.startswith("[DONE]")
        assert not check.description.endswith(".")
