"""The ledger: an interrupted reply is remembered as far as it was heard."""

from __future__ import annotations

import pytest

from voicegw import ledger
from voicegw.events import Message, ToolCall
from voicegw.ledger import Ledger, Replays, last_reply, part_heard, part_of_last, without

HELLO, REPLY = Message("user", "Hello?"), Message("assistant", "We are open from nine to five.")


def talk() -> Ledger:
    book = Ledger()
    book.asked("Hello?")
    book.answered("We are open from nine to five. ")
    return book


def test_what_was_said_is_kept_in_order() -> None:
    assert talk().messages == [HELLO, REPLY]


def test_a_reply_without_words_is_none() -> None:
    book = Ledger()
    book.answered(" ")
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
    book.cut(heard)
    assert (book.messages, book.heard) == (messages, told)


def test_only_a_reply_can_be_cut() -> None:
    book = Ledger()
    book.cut("Hm")
    book.asked("Hello?")
    book.cut("Hm")
    assert (book.messages, book.heard) == ([HELLO], None)


def test_what_the_agent_did_is_kept_with_what_it_said() -> None:
    book, press = Ledger(), ToolCall("1", "send_digits", '{"digits": "5"}')
    book.asked("Go on.")
    book.answered("One moment. ", [press], done=["1"])
    done = Message("tool", "Done.", tool_call_id="1", name="send_digits")
    said = Message("assistant", "One moment.", tool_calls=(press,))
    assert book.messages == [Message("user", "Go on."), said, done]
    book.cut("")
    assert book.messages[1:] == [Message("assistant", "", tool_calls=(press,)), done]
    assert book.heard == ""


def test_the_next_reply_settles_what_was_heard() -> None:
    book = talk()
    book.cut("We")
    book.asked("Sorry?")
    assert book.heard == "We"
    book.answered("From nine to five.")
    assert book.heard is None


def test_a_ledger_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_MESSAGES", 2)
    book = talk()
    book.asked("Thanks.")
    assert book.messages == [REPLY, Message("user", "Thanks.")]


@pytest.mark.parametrize(
    ("said", "heard", "part"),
    [
        ("We are open now.", "We are open now.", None),
        ("We are open now.", "We are", "We are"),
        ("We are open now.", "We are...", "We are"),
        ("We are open now.", "We are open now...", "We are open now"),
        ("We are open now.", " We  are\n", "We are"),
        ("We are open now.", "", ""),
        ("We are open now.", "They are", None),
        ("We are open now.", "We are open now. And then", None),
        ("", "We", None),
    ],
)
def test_what_was_heard_of_a_reply_is_known_if_the_reply_begins_with_it(
    said: str, heard: str, part: str | None
) -> None:
    assert part_heard(said, heard) == part


def test_the_last_reply_is_found_behind_calls_of_tools() -> None:
    call = Message("assistant", tool_calls=(ToolCall("1", "look"),))
    assert last_reply([HELLO, REPLY, call, Message("tool", "42"), HELLO]) == REPLY.text
    assert last_reply([HELLO]) is None


def test_words_of_ours_are_counted_and_left_out() -> None:
    for heard, text, told in [
        ("One moment. We are", "We are", "We are"),
        ("One mo", None, ""),
        ("One moment.", None, ""),
        ("One moment. We are open.", "We are open.", None),
    ]:
        book = Ledger()
        book.asked("Hello?")
        book.answered("One moment. We are open.", own="One moment.")
        assert book.messages[1:] == [Message("assistant", "We are open.")]
        book.cut(heard)
        assert [message.text for message in book.messages[1:]] == ([] if text is None else [text])
        assert book.heard == told


def test_what_could_not_be_done_is_told() -> None:
    book = Ledger()
    book.answered("", [ToolCall("1", "transfer_call")])
    assert [message.text for message in book.messages] == ["", ledger.NOT_DONE]


def test_a_question_whose_answer_was_lost_is_taken_out() -> None:
    book = talk()
    assert book.lost() is None
    book.asked("When?")
    assert (book.lost(), book.messages) == ("When?", [HELLO, REPLY])
    assert Ledger().lost() is None


def test_a_ledger_is_bounded_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST_TEXT", 10)
    book = Ledger()
    for text in ("12345", "67890", "x", 20 * "y"):
        book.asked(text)
    assert [message.text for message in book.messages] == [20 * "y"]


def came_back() -> Replays:
    book = talk()
    book.asked("When?")
    book.answered("From nine to five.")
    book.asked("Thanks.")
    return Replays(book, 10.0)


def test_what_a_platform_repeats_after_a_reconnect_is_not_answered_twice() -> None:
    replays = came_back()
    assert replays.going(11.0)
    assert replays.repeated("Hello?", 10.5)
    assert replays.repeated("When?", 10.5)
    assert replays.repeated("Thanks.", 14.0), "the last words may be repeated a little later"
    assert not replays.going(10.5)
    assert not replays.repeated("When?", 10.5), "asked again"


@pytest.mark.parametrize(
    ("said", "now"), [("Something else?", 10.5), ("Hello?", 11.5), ("Thanks.", 15.1), ("When?", 14.0)]
)
def test_new_words_and_late_ones_are_meant(said: str, now: float) -> None:
    replays = came_back()
    assert not replays.repeated(said, now)
    assert not replays.repeated("Hello?", 10.5)


def test_a_new_call_has_nothing_to_repeat() -> None:
    assert not Replays().repeated("Hello?", 0.0)


YES, NO, NEXT = Message("assistant", "Yes."), Message("assistant", "No, never."), Message("user", "Why?")


@pytest.mark.parametrize(
    ("said", "history", "heard"),
    [
        ([], [HELLO], None),
        ([NO], [HELLO, NEXT], ""),
        ([YES, NO], [HELLO, YES, NEXT], ""),
        ([YES, YES], [HELLO, YES, NEXT], None),
        ([YES, NO], [HELLO, YES, NEXT, Message("assistant", "No,")], "No,"),
        ([YES, NO], [HELLO, YES, NEXT, NO, NEXT], None),
        ([YES, NO], [HELLO, Message("assistant", "Perhaps."), NEXT], None),
    ],
)
def test_a_history_that_ends_before_our_last_reply_has_nothing_of_it(
    said: list[Message], history: list[Message], heard: str | None
) -> None:
    assert part_of_last(said, history) == heard


@pytest.mark.parametrize(
    ("own", "last", "left"),
    [
        ("One moment.", "One", False),
        ("One moment.", "One moment.", False),
        ("One moment.", "One moment. One", True),
        ("One moment.", "On it.", True),
        ("One moment.", "...", True),
        ("", "One", True),
    ],
)
def test_the_beginning_of_our_own_words_is_no_reply(own: str, last: str, left: bool) -> None:
    history = (HELLO, REPLY, NEXT, Message("assistant", last), HELLO)
    assert without(own, history) == (history if left else (*history[:3], HELLO))
    acted = (HELLO, Message("assistant", "One", tool_calls=(ToolCall("c", "f"),)))
    assert without(own, acted) == acted
    assert without(own, (HELLO,)) == (HELLO,)
