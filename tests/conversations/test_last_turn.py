"""The digest of messages is equal for equal messages alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from voicegw.conversations.last_turn import digest_of, make_last_turn
from voicegw.events import Activity, Message, ToolCall

MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant", "tool"]),
        st.text(max_size=3),
        parts=st.sampled_from([(), ({"type": "image_url"},)]),
        tool_calls=st.sampled_from([(), (ToolCall("c", "f"),), (ToolCall("c", "g"),)]),
        tool_call_id=st.sampled_from([None, "c"]),
        name=st.sampled_from([None, "", "Ada"]),
    ),
    max_size=3,
)


@given(MESSAGES, MESSAGES)
def test_digests_are_equal_exactly_if_the_messages_are(one: list[Message], other: list[Message]) -> None:
    assert digest_of([replace(message) for message in one]) == digest_of(one)
    assert (digest_of(other) == digest_of(one)) == (other == one)


def test_a_lone_surrogate_has_a_digest() -> None:
    assert digest_of([Message("user", "\ud83d")]) == digest_of([Message("user", "\ud83d")])


def test_the_reply_is_the_text_of_the_events() -> None:
    last = make_last_turn([Message("user", "Hi")], ["One ", Activity("tool"), "two."])
    assert (last.reply, last.message_count) == ("One two.", 1)
    assert last.byte_count > 100
