"""The transcript of a call: what was said, as far as it was heard."""

from __future__ import annotations

from voicegw.simulate.transcript import PlatformTranscript

USER = {"role": "user", "content": "Hello?"}


def answered(*words: str) -> PlatformTranscript:
    talk = PlatformTranscript()
    talk.add_user("Hello?")
    for word in words:
        talk.append_reply(word)
    return talk


def test_an_answer_is_one_entry_and_an_empty_one_is_none() -> None:
    assert answered("", "We are", " open.").entries == [USER, {"role": "agent", "content": "We are open."}]
    assert answered("").entries == [USER]


def test_the_next_answer_is_an_entry_of_its_own() -> None:
    talk = answered("Yes.")
    talk.end_reply()
    talk.append_reply("Still there?")
    assert [entry["content"] for entry in talk.entries] == ["Hello?", "Yes.", "Still there?"]


def test_of_an_answer_that_was_cut_only_what_was_heard_is_left() -> None:
    talk = answered("We are open.")
    talk.truncate_reply("We are")
    talk.append_reply("From nine.")
    assert [entry["content"] for entry in talk.entries] == ["Hello?", "We are", "From nine."]


def test_of_an_answer_that_nobody_heard_nothing_is_left() -> None:
    talk = answered("We are open.")
    talk.truncate_reply("")
    assert talk.entries == [USER]


def test_nothing_is_cut_where_nothing_was_said() -> None:
    talk = answered()
    talk.truncate_reply("We are")
    assert talk.entries == [USER]


def test_words_that_may_still_change_are_not_kept() -> None:
    talk = answered()
    assert talk.with_partial("And") == [USER, {"role": "user", "content": "And"}]
    assert talk.entries == [USER]
