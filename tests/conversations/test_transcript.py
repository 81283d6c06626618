"""The transcript keeps an interrupted reply up to the last word that the caller heard."""

from __future__ import annotations

import pytest

from voicegw.conversations import transcript as transcript_module
from voicegw.conversations.spoken_reply import SpokenReply
from voicegw.conversations.transcript import ReplayDetector, Transcript
from voicegw.events import Message, ToolCall
from voicegw.turns.prompts import ACTION_CUT_OFF, ACTION_DONE
from voicegw.wire.memory_size import messages_bytes

HELLO, REPLY = Message("user", "Hello?"), Message("assistant", "We are open from nine to five.")


def short_transcript() -> Transcript:
    transcript = Transcript()
    transcript.add_user("Hello?")
    transcript.add_assistant(SpokenReply("We are open from nine to five. "))
    return transcript


def test_messages_are_kept_in_order() -> None:
    assert short_transcript().messages == [HELLO, REPLY]


def test_an_empty_reply_adds_no_message() -> None:
    transcript = Transcript()
    transcript.add_assistant(SpokenReply(" "))
    assert transcript.messages == []


@pytest.mark.parametrize(
    ("heard", "messages", "heard_text"),
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
def test_an_interrupted_reply_is_cut_to_the_words_that_the_caller_heard(
    heard: str, messages: list[Message], heard_text: str | None
) -> None:
    transcript = short_transcript()
    transcript.truncate(heard)
    assert (transcript.messages, transcript.heard_text) == (messages, heard_text)


def test_only_a_reply_is_truncated() -> None:
    transcript = Transcript()
    transcript.truncate("Hm")
    transcript.add_user("Hello?")
    transcript.truncate("Hm")
    assert (transcript.messages, transcript.heard_text) == ([HELLO], None)


def test_tool_calls_and_their_results_are_kept_with_the_reply() -> None:
    transcript, tool_call = Transcript(), ToolCall("1", "send_digits", '{"digits": "5"}')
    transcript.add_user("Go on.")
    transcript.add_assistant(SpokenReply("One moment. "), [tool_call], {"1": ACTION_DONE})
    done = Message("tool", "Done.", tool_call_id="1", name="send_digits")
    said = Message("assistant", "One moment.", tool_calls=(tool_call,))
    assert transcript.messages == [Message("user", "Go on."), said, done]
    transcript.truncate("")
    assert transcript.messages[1:] == [Message("assistant", "", tool_calls=(tool_call,)), done]
    assert transcript.heard_text == ""


def test_the_next_reply_resets_the_heard_text() -> None:
    transcript = short_transcript()
    transcript.truncate("We")
    transcript.add_user("Sorry?")
    assert transcript.heard_text == "We"
    transcript.add_assistant(SpokenReply("From nine to five."))
    assert transcript.heard_text is None


def test_a_transcript_has_a_limit_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "MAX_MESSAGES", 2)
    transcript = short_transcript()
    transcript.add_user("Thanks.")
    assert transcript.messages == [REPLY, Message("user", "Thanks.")]


def test_a_tool_call_without_a_result_was_cut_off() -> None:
    transcript = Transcript()
    added = transcript.add_assistant(SpokenReply(""), [ToolCall("1", "transfer_call")])
    assert [message.text for message in transcript.messages] == ["", ACTION_CUT_OFF]
    assert added == tuple(transcript.messages)


def test_unanswered_words_of_the_caller_are_removed_and_returned() -> None:
    transcript = short_transcript()
    assert transcript.pop_unanswered() is None
    transcript.add_user("When?")
    assert (transcript.pop_unanswered(), transcript.messages) == ("When?", [HELLO, REPLY])
    assert Transcript().pop_unanswered() is None


def test_a_transcript_has_a_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "MAX_BYTES", 1000)
    transcript = Transcript()
    for text in (300 * "1", 300 * "2", 300 * "3", 2000 * "y"):
        transcript.add_user(text)
        assert transcript.byte_count == messages_bytes(transcript.messages)
    assert [message.text for message in transcript.messages] == [2000 * "y"]


def test_arguments_and_results_of_tools_count_towards_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "MAX_BYTES", 10_000)
    transcript = Transcript()
    for number in range(20):
        call = ToolCall(str(number), "note", '{"text":"' + 1000 * "a" + '"}')
        transcript.add_assistant(SpokenReply("Noted."), [call], {str(number): 1000 * "b"})
    assert 4 <= len(transcript.messages) <= 8
    assert transcript.byte_count <= 10_000


def test_words_that_are_cut_or_asked_again_count_no_more() -> None:
    transcript = short_transcript()
    transcript.truncate("We are")
    transcript.add_user("When?")
    transcript.pop_unanswered()
    assert transcript.byte_count == messages_bytes(transcript.messages)
    transcript.truncate("")
    assert transcript.byte_count == messages_bytes(transcript.messages)


@pytest.mark.parametrize(
    ("report", "reply", "heard_text"),
    [
        ("We are", "We are", "We are"),
        ("", REPLY.text, None),
        ("We are closed", REPLY.text, None),
        ("Something", REPLY.text, None),
    ],
)
def test_late_report_has_to_name_the_reply(report: str, reply: str, heard_text: str | None) -> None:
    transcript = short_transcript()
    transcript.add_user("And on Sunday?")
    transcript.truncate(report)
    assert transcript.messages[1] == Message("assistant", reply)
    assert transcript.heard_text == heard_text
    transcript.add_user("Hello?")
    transcript.truncate("We")
    assert transcript.messages[1] == Message("assistant", reply), "two questions later"


def test_second_report_of_one_interruption_changes_nothing() -> None:
    transcript = short_transcript()
    for report in ("We are", "We are", "We are open"):
        transcript.truncate(report)
    assert (transcript.messages[1].text, transcript.heard_text) == ("We are", "We are")
    transcript = short_transcript()
    transcript.add_user("When?")
    transcript.add_assistant(SpokenReply("At nine."))
    transcript.truncate("")
    transcript.truncate("")
    assert transcript.messages == [HELLO, REPLY, Message("user", "When?")]


def reconnected_detector() -> ReplayDetector:
    transcript = short_transcript()
    transcript.add_user("When?")
    transcript.add_assistant(SpokenReply("From nine to five."))
    transcript.add_user("Thanks.")
    return ReplayDetector(transcript, 10.0)


def test_words_that_a_platform_repeats_in_the_burst_after_a_reconnect_are_detected() -> None:
    detector = reconnected_detector()
    for now, text in ((10.1, "Hello?"), (10.3, "When?"), (10.5, "Thanks.")):
        detector.on_frame(now)
        assert detector.in_burst
        assert detector.is_repeated(text)
    assert not detector.in_burst
    assert not detector.is_repeated("When?"), "the caller asks again"


@pytest.mark.parametrize(
    ("said", "now"), [("Something else?", 10.1), ("Hello?", 11.5), ("Thanks.", 10.3), ("Thanks.", 13.0)]
)
def test_new_words_and_words_after_a_pause_are_no_replays(said: str, now: float) -> None:
    detector = reconnected_detector()
    detector.on_frame(now)
    assert not detector.is_repeated(said)
    assert not detector.is_repeated("Hello?")


def test_words_in_another_order_are_no_replays() -> None:
    detector = reconnected_detector()
    assert detector.is_repeated("When?")
    assert not detector.is_repeated("Hello?")


def test_a_new_call_has_no_replays() -> None:
    assert not ReplayDetector().is_repeated("Hello?")


YES, NO, NEXT = Message("assistant", "Yes."), Message("assistant", "No, never."), Message("user", "Why?")


def test_result_of_the_last_replys_action_is_replaced() -> None:
    transcript = Transcript()
    assert not transcript.replace_result("transfer_call", "No.")
    calls = [ToolCall("1", "transfer_call"), ToolCall("2", "send_digits")]
    transcript.add_assistant(SpokenReply("One moment."), calls, {"1": "Done.", "2": "Done."})
    assert transcript.replace_result("transfer_call", "Not done: busy.")
    assert [message.text for message in transcript.messages] == ["One moment.", "Not done: busy.", "Done."]
    assert transcript.byte_count == messages_bytes(transcript.messages)
    assert not transcript.replace_result("play_audio", "No.")
    transcript.add_user("Hello?")
    assert not transcript.replace_result("transfer_call", "No.")
