"""The ledger: an interrupted reply is remembered as far as it was heard."""

from __future__ import annotations

import pytest

from voicegw.conversations import transcript as ledger
from voicegw.conversations.transcript import ReplayDetector, Transcript
from voicegw.events import Message, ToolCall

HELLO, REPLY = Message("user", "Hello?"), Message("assistant", "We are open from nine to five.")


def talk() -> Transcript:
    book = Transcript()
    book.add_user("Hello?")
    book.add_assistant("We are open from nine to five. ")
    return book


def test_what_was_said_is_kept_in_order() -> None:
    assert talk().messages == [HELLO, REPLY]


def test_a_reply_without_words_is_none() -> None:
    book = Transcript()
    book.add_assistant(" ")
    assert book.messages == []


@pytest.mark.parametrize(
    ("heard", "messages", "told"),
    [
        ("We are open", [HELLO, Message("assistant", "We are open")], "We are open"),
        ("We  are open ", [HELLO, Message("assistant", "We are open")], "We are open"),
        ("We are open from nine to five.", [HELLO, REPLY], None),
        ("We are open\nfrom nine to five.", [HELLO, REPLY], None),
        ("We are OPEN, from", [HELLO, Message("assistant", "We are open from")], "We are open from"),
        ("Something else", [HELLO, REPLY], None),
        ("", [HELLO], ""),
    ],
)
def test_an_interrupted_reply_ends_where_hearing_ended(
    heard: str, messages: list[Message], told: str | None
) -> None:
    book = talk()
    book.truncate(heard)
    assert (book.messages, book.heard) == (messages, told)


def test_only_a_reply_can_be_cut() -> None:
    book = Transcript()
    book.truncate("Hm")
    book.add_user("Hello?")
    book.truncate("Hm")
    assert (book.messages, book.heard) == ([HELLO], None)


def test_what_the_agent_did_is_kept_with_what_it_said() -> None:
    book, press = Transcript(), ToolCall("1", "send_digits", '{"digits": "5"}')
    book.add_user("Go on.")
    book.add_assistant("One moment. ", [press], done=["1"])
    done = Message("tool", "Done.", tool_call_id="1", name="send_digits")
    said = Message("assistant", "One moment.", tool_calls=(press,))
    assert book.messages == [Message("user", "Go on."), said, done]
    book.truncate("")
    assert book.messages[1:] == [Message("assistant", "", tool_calls=(press,)), done]
    assert book.heard == ""


def test_the_next_reply_settles_what_was_heard() -> None:
    book = talk()
    book.truncate("We")
    book.add_user("Sorry?")
    assert book.heard == "We"
    book.add_assistant("From nine to five.")
    assert book.heard is None


def test_a_ledger_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_MESSAGES", 2)
    book = talk()
    book.add_user("Thanks.")
    assert book.messages == [REPLY, Message("user", "Thanks.")]


def test_what_could_not_be_done_is_told() -> None:
    book = Transcript()
    book.add_assistant("", [ToolCall("1", "transfer_call")])
    assert [message.text for message in book.messages] == ["", ledger.NOT_DONE]


def test_a_question_whose_answer_was_lost_is_taken_out() -> None:
    book = talk()
    assert book.pop_unanswered() is None
    book.add_user("When?")
    assert (book.pop_unanswered(), book.messages) == ("When?", [HELLO, REPLY])
    assert Transcript().pop_unanswered() is None


def test_a_ledger_is_bounded_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_TEXT", 10)
    book = Transcript()
    for text in ("12345", "67890", "x", 20 * "y"):
        book.add_user(text)
    assert [message.text for message in book.messages] == [20 * "y"]


def came_back() -> ReplayDetector:
    book = talk()
    book.add_user("When?")
    book.add_assistant("From nine to five.")
    book.add_user("Thanks.")
    return ReplayDetector(book, 10.0)


def test_what_a_platform_repeats_after_a_reconnect_is_not_answered_twice() -> None:
    replays = came_back()
    assert replays.may_repeat(11.0)
    assert replays.is_repeated("Hello?", 10.5)
    assert replays.is_repeated("When?", 10.5)
    assert replays.is_repeated("Thanks.", 14.0), "the last words may be repeated a little later"
    assert not replays.may_repeat(10.5)
    assert not replays.is_repeated("When?", 10.5), "asked again"


@pytest.mark.parametrize(
    ("said", "now"), [("Something else?", 10.5), ("Hello?", 11.5), ("Thanks.", 15.1), ("When?", 14.0)]
)
def test_new_words_and_late_ones_are_meant(said: str, now: float) -> None:
    replays = came_back()
    assert not replays.is_repeated(said, now)
    assert not replays.is_repeated("Hello?", 10.5)


def test_a_new_call_has_nothing_to_repeat() -> None:
    assert not ReplayDetector().is_repeated("Hello?", 0.0)


YES, NO, NEXT = Message("assistant", "Yes."), Message("assistant", "No, never."), Message("user", "Why?")
