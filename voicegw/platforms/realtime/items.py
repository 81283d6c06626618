"""The items of a realtime conversation: parsing, encoding, and conversion to an agent's messages.

It encodes no events (`voicegw.platforms.realtime.events`). Source: the item types of the official `openai`
library (`openai.types.realtime`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from voicegw.conversations.spoken_reply import heard_end, word_end
from voicegw.conversations.transcript import MAX_MESSAGES
from voicegw.errors import BadRequest
from voicegw.events import Message, Role, ToolCall
from voicegw.platforms.realtime.events import EventWriter, RealtimeError
from voicegw.wire import openai
from voicegw.wire.openai import TEXT_PART_TYPES, merge_assistant
from voicegw.wire.validation import NULL, check_printable, get_field, map_objects

ItemContent: TypeAlias = Message | ToolCall

ROLES = ("system", "user", "assistant")
ITEM_TYPES = ("message", "function_call", "function_call_output")
MAX_ID_LENGTH = 64
ROOT = "root"
"""The previous_item_id of an item that becomes the first one."""


@dataclass(frozen=True, slots=True)
class RealtimeItem:
    """One item of the conversation."""

    id: str
    """The item's id: the client's, or one that the gateway made."""
    content: ItemContent
    """The item as an agent gets it; the output of a function call is a message with the role "tool"."""
    status: str = "completed"
    """"in_progress", "completed" or "incomplete"."""


MAX_CHARS = 1_000_000
"""Limit of a conversation in characters. Above it, the oldest items are removed."""


class RealtimeConversation:
    """Holds the items in order. Above `max_items` or `max_chars`, the oldest items are removed."""

    def __init__(self, id: str, *, max_items: int = MAX_MESSAGES, max_chars: int = MAX_CHARS) -> None:
        self.id = id  # the conversation_id of its responses
        # The limits above which the oldest items are removed.
        self.max_items, self.max_chars = max_items, max_chars
        self.items: dict[str, RealtimeItem] = {}  # by id, in the order of the conversation
        self.size = 0  # characters of all items
        self.client_item_count = 0  # items that the client created; it only grows

    def find(self, id: str, param: str) -> RealtimeItem:
        """Return the item with this id. Raises `RealtimeError` that names `param`, the field with the id."""
        if id not in self.items:
            raise RealtimeError("item_not_found", f"'{param}' names no item of this conversation.", param)
        return self.items[id]

    def add(self, item: RealtimeItem, after: str | None = None) -> str | None:
        """Insert a new item behind `after`, None for the end; return the id of the item before it.

        `after` is the id of an item or `ROOT`. Returns None if the item is the first.
        Raises `ValueError` for an unknown id.
        """
        previous = next(reversed(self.items), None)
        later: dict[str, RealtimeItem] = {}
        if after is not None and after != previous:
            ids = list(self.items)
            position = 0 if after == ROOT else ids.index(after) + 1
            previous = ids[position - 1] if position else None
            later = {id: self.items.pop(id) for id in ids[position:]}
        self.items[item.id] = item
        self.items.update(later)
        self.size += _size(item.content)
        self._remove_oldest()
        return previous

    def replace(self, item: RealtimeItem) -> None:
        """Replace the item with the same id; nothing happens if it was removed."""
        if old := self.items.get(item.id):
            self.size += _size(item.content) - _size(old.content)
            self.items[item.id] = item

    def remove(self, id: str) -> None:
        """Remove an item. Raises `KeyError` for an unknown id."""
        self.size -= _size(self.items.pop(id).content)

    def messages(self) -> list[Message]:
        """Return the conversation as messages for an agent."""
        return to_messages([item.content for item in self.items.values()])

    def _remove_oldest(self) -> None:
        """Remove the oldest items until the limits hold, a function call and its output together."""
        while len(self.items) > self.max_items or (self.size > self.max_chars and len(self.items) > 1):
            oldest = next(iter(self.items.values()))
            self.remove(oldest.id)
            if (call := _call_id(oldest.content)) is not None:
                for id in [id for id, item in self.items.items() if _call_id(item.content) == call]:
                    self.remove(id)


def parse_item(data: dict[str, Any], path: str, events: EventWriter) -> ItemContent:
    """Return the content of a client's item. Raises `BadRequest`.

    `path` leads to the item and ends with a dot, for the error. `events` names a function call without a
    call_id.
    """
    kind = get_field(data, "type", str, path=path)
    if kind == "function_call":
        call = get_field(data, "call_id", str, NULL, path=path) or events.new_id("call")
        name, arguments = (get_field(data, key, str, path=path) for key in ("name", "arguments"))
        return ToolCall(call, name, arguments or "{}")
    if kind == "function_call_output":
        call = get_field(data, "call_id", str, path=path)
        return Message("tool", get_field(data, "output", str, path=path), tool_call_id=call)
    if kind != "message":
        raise BadRequest(f"'{path}type' must be one of {', '.join(ITEM_TYPES)}.", param=f"{path}type")
    role = get_field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(ROLES)}.", param=f"{path}role")
    parts = map_objects(get_field(data, "content", list, path=path), f"{path}content", _parse_part)
    return Message(cast(Role, role), openai.parse_content(parts, path)[0])


def _parse_part(data: dict[str, Any], path: str) -> dict[str, Any]:
    if get_field(data, "type", str, path=path) not in TEXT_PART_TYPES:
        raise BadRequest(
            f"'{path}type' must be input_text or output_text: only text is supported.", param=path + "type"
        )
    return {"type": "text", "text": get_field(data, "text", str, path=path)}


def parse_item_id(data: dict[str, Any], path: str) -> str | None:
    """Return the id that the client gave an item, None if it gave none. Raises `BadRequest`."""
    id = get_field(data, "id", str, NULL, path=path)
    if id == "":
        raise BadRequest(f"'{path}id' must not be empty.", param=f"{path}id")
    return None if id is None else check_printable(id, f"{path}id", MAX_ID_LENGTH)


def item_to_json(item: RealtimeItem) -> dict[str, Any]:
    """Return an item as OpenAI's events hold it. A reply without words so far has no content part."""
    content = item.content
    base = {"id": item.id, "object": "realtime.item", "status": item.status}
    if isinstance(content, ToolCall):
        call = {"call_id": content.id, "name": content.name, "arguments": content.arguments}
        return {**base, "type": "function_call", **call}
    if content.role == "tool":
        output = {"call_id": content.tool_call_id, "output": content.text}
        return {**base, "type": "function_call_output", **output}
    kind = "output_text" if content.role == "assistant" else "input_text"
    is_empty = item.status == "in_progress" and not content.text
    parts = [] if is_empty else [{"type": kind, "text": content.text}]
    return {**base, "type": "message", "role": content.role, "content": parts}


def to_messages(items: Sequence[ItemContent]) -> list[Message]:
    """Return items as messages for an agent.

    Many model servers refuse calls without results, results without calls and empty messages: these are left
    out. They also want a result directly behind its call: results are moved there.
    """
    results = _results_by_call(items)
    found: list[ItemContent] = []
    pending_results: list[ItemContent] = []
    for index, content in enumerate(items):
        if isinstance(content, ToolCall):
            if index in results:
                found.append(content)
                pending_results.append(results[index])
            continue
        if content.role != "assistant":
            found += pending_results
            pending_results.clear()
        if content.role != "tool" and content.text:
            found.append(content)
    return merge_assistant([*found, *pending_results])


def _results_by_call(items: Sequence[ItemContent]) -> dict[int, Message]:
    """Return the result of each call that has one, by the call's index."""
    open_calls: dict[str | None, int] = {}
    found: dict[int, Message] = {}
    for index, content in enumerate(items):
        if isinstance(content, ToolCall):
            open_calls[content.id] = index
        elif content.role == "tool" and (call := open_calls.pop(content.tool_call_id, None)) is not None:
            found[call] = content
    return found


def heard_prefix(text: str, heard: str) -> str:
    """Return the words of `text` with which `heard` begins too."""
    return text[: heard_end(text, heard)]


def words_within(text: str, max_chars: float) -> str:
    """Return the whole words within the first `max_chars` characters of a text."""
    end = int(min(max_chars, len(text)))
    return text[: word_end(text, end)].rstrip()


def _call_id(content: ItemContent) -> str | None:
    return content.id if isinstance(content, ToolCall) else content.tool_call_id


def _size(content: ItemContent) -> int:
    if isinstance(content, ToolCall):
        return len(content.id) + len(content.name) + len(content.arguments)
    return len(content.text) + len(content.tool_call_id or "")
