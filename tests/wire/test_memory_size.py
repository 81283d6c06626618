"""The bytes of messages and other values, compared with what Python says of their parts."""

from __future__ import annotations

from sys import getsizeof

from voicegw.events import Message, ToolCall
from voicegw.wire.memory_size import MESSAGE_BYTES, deep_bytes, message_bytes, messages_bytes

IMAGE = {"type": "image_url", "image_url": {"url": "x" * 5000}}


def test_a_plain_message_counts_its_text() -> None:
    assert message_bytes(Message("user", "hello")) == MESSAGE_BYTES + getsizeof("hello")
    assert messages_bytes([Message("user", "\N{SNOWMAN}" * 500)] * 2) > 2 * 1000


def test_content_parts_tool_calls_and_names_count() -> None:
    plain = message_bytes(Message("user", "hello"))
    assert 5000 < message_bytes(Message("user", "hello", parts=(IMAGE,))) - plain < 6500
    call = ToolCall("c", "f", "y" * 5000)
    assert 5000 < message_bytes(Message("assistant", "hello", tool_calls=(call,))) - plain < 5500
    for fields in ({"name": "n" * 300}, {"tool_call_id": "n" * 300}):
        assert 300 < message_bytes(Message("tool", "hello", **fields)) - plain < 700


def test_everything_in_a_value_counts() -> None:
    value = {
        "a": ["b" * 100, ("c" * 100, {"d" * 100}, frozenset({"e" * 100}))],
        "f" * 100: ToolCall("", "g" * 100),
    }
    assert 600 < deep_bytes(value) < 2500
    assert deep_bytes(None) == getsizeof(None)
