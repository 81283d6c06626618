"""The hash of messages is equal for equal texts alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from voicegw.conversations.last_turn import hash_texts, make_last_turn
from voicegw.events import Activity, Message, ToolCall

MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant", "tool"]),
        st.text(max_size=3),
        parts=st.sampled_from([(), ({"type": "image_url"},)]),
        tool_calls=st.sampled_from([(), (ToolCall("c", "f"),), (ToolCall("c", "g"),)]),
    ),
    max_size=3,
)


@given(MESSAGES, MESSAGES)
def test_hashes_are_equal_exactly_if_texts_and_tool_calls_are(
    one: list[Message], other: list[Message]
) -> None:
    same = [replace(message, parts=()) for message in one] == [
        replace(message, parts=()) for message in other
    ]
    assert (hash_texts(other) == hash_texts(one)) == same


def test_the_reply_is_the_text_of_the_events() -> None:
    last = make_last_turn([Message("user", "Hi")], ["One ", Activity("tool"), "two."])
    assert (last.reply, last.message_count) == ("One two.", 1)
    assert last.byte_count > 100
