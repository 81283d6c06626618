"""Answers are found by whom they were given, for a while, and take bounded room."""

from __future__ import annotations

import pytest

from voicegw.conversations.response_store import PreviousResponseNotFound, ResponseStore, StoredResponse
from voicegw.events import Message, ToolCall
from voicegw.turns.stream import EventLog

HELLO = (Message("user", "Hello?"),)
HI = Message("assistant", "Hi there.")


def past(used: float = 0.0, size: int = 10, *events: str | ToolCall, over: bool = True) -> StoredResponse:
    return StoredResponse(HELLO, EventLog(list(events), ended=over), size, used)


def test_an_answer_is_found_while_it_is_given_and_after() -> None:
    answers, record = ResponseStore(), EventLog()
    answers.begin("shop", "resp_1", StoredResponse(HELLO, record, 10, 0.0))
    assert answers.find("shop", "resp_1", 1.0).messages == HELLO
    record.events += ["Hi", " there."]
    assert answers.find("shop", "resp_1", 1.0).messages == (*HELLO, HI)
    answers.end("shop", "resp_1", 2.0)
    assert (answers.held, answers.find("shop", "resp_1", 2.0).event_log) == (10, record), "it still runs"
    record.ended = True
    for _ in range(2):
        answers.end("shop", "resp_1", 3.0)
        assert answers.held == 10 + len(HI.text)
    found = answers.find("shop", "resp_1", 4.0)
    assert (found.messages, found.event_log) == ((*HELLO, HI), None)


@pytest.mark.parametrize(("tenant", "id"), [("other", "resp_1"), ("shop", "resp_2"), ("", "")])
def test_nobody_finds_another_s_answer(tenant: str, id: str) -> None:
    answers = ResponseStore()
    answers.begin("shop", "resp_1", past())
    with pytest.raises(PreviousResponseNotFound) as raised:
        answers.find(tenant, id, 1.0)
    failure = raised.value
    assert (failure.status, failure.code, failure.param) == (
        404, "previous_response_not_found", "previous_response_id",
    )  # fmt: skip


def test_an_answer_that_is_used_lives_on() -> None:
    answers = ResponseStore(idle=10.0)
    answers.begin("shop", "resp_1", past())
    answers.find("shop", "resp_1", 9.0)
    answers.find("shop", "resp_1", 18.0)
    with pytest.raises(PreviousResponseNotFound):
        answers.find("shop", "resp_1", 28.0)
    answers.begin("shop", "resp_2", past(28.0))
    assert (len(answers), answers.held) == (1, 10)


def test_the_latest_are_kept_when_there_are_too_many() -> None:
    answers = ResponseStore(max_responses=2)
    for number in range(3):
        answers.begin("shop", f"resp_{number}", past(float(number)))
    with pytest.raises(PreviousResponseNotFound):
        answers.find("shop", "resp_0", 3.0)
    assert (len(answers), answers.held) == (2, 20)


def test_the_latest_are_kept_when_they_take_too_much_room() -> None:
    answers = ResponseStore(size=30)
    answers.begin("shop", "resp_1", past(0.0, 20))
    answers.begin("shop", "resp_2", past(1.0, 20))
    assert (len(answers), answers.held) == (1, 20)
    answers.begin("shop", "resp_3", past(2.0, 10, "Hi there."))
    answers.end("shop", "resp_3", 2.0)
    assert (len(answers), answers.held) == (1, 19)
    answers.begin("shop", "resp_4", past(3.0, 31))
    assert (len(answers), answers.held) == (0, 0)
    answers.end("shop", "resp_4", 4.0)


def test_the_same_answer_given_again_is_counted_once() -> None:
    answers = ResponseStore()
    answers.begin("shop", "resp_1", past())
    answers.begin("shop", "resp_1", past())
    assert (len(answers), answers.held) == (1, 10)
