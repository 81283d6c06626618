"""The transcript of a call keeps the heard text only."""

from __future__ import annotations

from voicegw.simulate.transcript import PlatformTranscript

USER = {"role": "user", "content": "Hello?"}


def answered_transcript(*words: str) -> PlatformTranscript:
    transcript = PlatformTranscript()
    transcript.add_user("Hello?")
    for word in words:
        transcript.append_reply(word)
    return transcript


def test_reply_is_one_entry_and_empty_reply_is_none() -> None:
    assert answered_transcript("", "We are", " open.").entries == [
        USER,
        {"role": "agent", "content": "We are open."},
    ]
    assert answered_transcript("").entries == [USER]


def test_next_answer_is_a_new_entry() -> None:
    transcript = answered_transcript("Yes.")
    transcript.end_reply()
    transcript.append_reply("Still there?")
    assert [entry["content"] for entry in transcript.entries] == ["Hello?", "Yes.", "Still there?"]


def test_truncated_reply_keeps_only_the_heard_text() -> None:
    transcript = answered_transcript("We are open.")
    transcript.truncate_reply("We are")
    transcript.append_reply("From nine.")
    assert [entry["content"] for entry in transcript.entries] == ["Hello?", "We are", "From nine."]


def test_reply_without_heard_text_is_removed() -> None:
    transcript = answered_transcript("We are open.")
    transcript.truncate_reply("")
    assert transcript.entries == [USER]


def test_truncating_without_a_reply_changes_nothing() -> None:
    transcript = answered_transcript()
    transcript.truncate_reply("We are")
    assert transcript.entries == [USER]


def test_partial_utterance_is_not_kept() -> None:
    transcript = answered_transcript()
    assert transcript.with_partial("And") == [USER, {"role": "user", "content": "And"}]
    assert transcript.entries == [USER]
