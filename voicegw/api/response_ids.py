"""The ids of responses and of their items in the Responses API. Pure.

They follow from the turn's id, so a stream and a stored response name an item in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable

from voicegw.events import Message, ToolCall


def response_id(id: str) -> str:
    """Return the id of the response to the turn with this id."""
    return f"resp_{id}"


def message_item_id(turn_id: str, call_count: int) -> str:
    """Return the id of a message after so many tool calls. Between two tool calls is one message at most.

    The number is not that of the item, since a stream has messages with only the gateway's own words.
    """
    return f"msg_{turn_id}_{call_count}"


def call_item_id(turn_id: str, call_count: int) -> str:
    """Return the id of a tool call after so many others."""
    return f"fc_{turn_id}_{call_count}"


def output_items(turn_id: str, parts: Iterable[str | ToolCall]) -> dict[str, Message | ToolCall]:
    """Return the items of a response by their ids, as the agent gave them."""
    items: dict[str, Message | ToolCall] = {}
    call_count = 0
    for part in parts:
        if isinstance(part, ToolCall):
            items[call_item_id(turn_id, call_count)] = part
            call_count += 1
        else:
            items[message_item_id(turn_id, call_count)] = Message("assistant", part)
    return items
