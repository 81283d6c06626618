"""The bytes of memory that messages and other values take, for limits of what is remembered. Pure.

Values that several objects share count for each of them, so a limit errs towards less memory. The bookkeeping
of Python's allocator is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from sys import getsizeof

from voicegw.events import Message

SLOT_BYTES = 8
"""Bytes of a reference in a tuple or list."""
MESSAGE_BYTES = getsizeof(Message("user")) + SLOT_BYTES
"""Bytes of a message without its text."""


def messages_bytes(messages: Iterable[Message]) -> int:
    """Return the bytes of messages, with their content parts and tool calls."""
    return sum(map(message_bytes, messages))


def message_bytes(message: Message) -> int:
    """Return the bytes of a message, with its content parts and tool calls."""
    count = MESSAGE_BYTES + getsizeof(message.text)
    if message.parts or message.tool_calls or message.tool_call_id or message.name:
        count += sum(map(deep_bytes, (message.parts, message.tool_calls, message.tool_call_id, message.name)))
    return count


def deep_bytes(value: object) -> int:
    """Return the bytes of a value and of everything in it: dataclasses, mappings, lists, tuples, sets."""
    count, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        count += getsizeof(value)
        if isinstance(value, Mapping):
            waiting += (*value.keys(), *value.values())
        elif isinstance(value, (tuple, list, frozenset, set)):
            waiting += value
        elif is_dataclass(value):
            waiting += (getattr(value, field.name) for field in fields(value))
    return count
