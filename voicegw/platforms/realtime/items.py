"""The items of a realtime conversation: as they come, as they are shown, and as an agent is told of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from voicegw.conversations.history import bare
from voicegw.conversations.transcript import MAX_MESSAGES, MAX_TEXT
from voicegw.errors import BadRequest
from voicegw.events import Message, Role, ToolCall
from voicegw.platforms.realtime.events import EventWriter, RealtimeError
from voicegw.wire import openai
from voicegw.wire.openai import TEXTS, merge_assistant
from voicegw.wire.validation import NULL, field, map_objects, printable

Said: TypeAlias = Message | ToolCall

ROLES = ("system", "user", "assistant")
KINDS = ("message", "function_call", "function_call_output")
MAX_ID_LENGTH = 64
ROOT = "root"
"""What an item is put behind to become the first one."""
WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class RealtimeItem:
    """One item. `said` is what it means to an agent; a call's result is a message of a tool."""

    id: str
    said: Said
    status: str = "completed"


class RealtimeConversation:
    """Items in their order, at most `most` of them with so much `text` together: the oldest go first.

    `told` counts the items that the client added.
    """

    def __init__(self, id: str, *, most: int = MAX_MESSAGES, text: int = MAX_TEXT) -> None:
        self.id = id
        self.most, self.text = most, text
        self.items: dict[str, RealtimeItem] = {}
        self.size = 0
        self.told = 0

    def find(self, id: str, param: str) -> RealtimeItem:
        """The item of that name, which the client told in the field `param`."""
        if id not in self.items:
            raise RealtimeError("item_not_found", f"'{param}' names no item of this conversation.", param)
        return self.items[id]

    def add(self, item: RealtimeItem, after: str | None = None) -> str | None:
        """Put a new item behind another one, or last; gives the id of the item before it, if there is one."""
        previous = next(reversed(self.items), None)
        later: dict[str, RealtimeItem] = {}
        if after is not None and after != previous:
            ids = list(self.items)
            place = 0 if after == ROOT else ids.index(after) + 1
            previous = ids[place - 1] if place else None
            later = {id: self.items.pop(id) for id in ids[place:]}
        self.items[item.id] = item
        self.items.update(later)
        self.size += _size(item.said)
        self._shorten()
        return previous

    def put(self, item: RealtimeItem) -> None:
        """An item became another one; nothing happens if it is gone by now."""
        if old := self.items.get(item.id):
            self.size += _size(item.said) - _size(old.said)
            self.items[item.id] = item

    def drop(self, id: str) -> None:
        self.size -= _size(self.items.pop(id).said)

    def history(self) -> list[Message]:
        """The conversation as an agent is told of it."""
        return history([item.said for item in self.items.values()])

    def _shorten(self) -> None:
        """Drop the oldest items, a call and its result together."""
        while len(self.items) > self.most or (self.size > self.text and len(self.items) > 1):
            oldest = next(iter(self.items.values()))
            self.drop(oldest.id)
            if (call := _call_id(oldest.said)) is not None:
                for id in [id for id, item in self.items.items() if _call_id(item.said) == call]:
                    self.drop(id)


def parse(data: dict[str, Any], path: str, events: EventWriter) -> Said:
    """What an item says; `path` leads to it, and ends with a dot."""
    kind = field(data, "type", str, path=path)
    if kind == "function_call":
        call = field(data, "call_id", str, NULL, path=path) or events.name("call")
        name, arguments = (field(data, key, str, path=path) for key in ("name", "arguments"))
        return ToolCall(call, name, arguments or "{}")
    if kind == "function_call_output":
        call = field(data, "call_id", str, path=path)
        return Message("tool", field(data, "output", str, path=path), tool_call_id=call)
    if kind != "message":
        raise BadRequest(f"'{path}type' must be one of {', '.join(KINDS)}.", param=f"{path}type")
    role = field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(ROLES)}.", param=f"{path}role")
    parts = map_objects(field(data, "content", list, path=path), f"{path}content", _part)
    return Message(cast(Role, role), openai.parse_content(parts, path)[0])


def _part(data: dict[str, Any], path: str) -> dict[str, Any]:
    if field(data, "type", str, path=path) not in TEXTS:
        raise BadRequest(
            f"'{path}type' must be input_text or output_text: only text is taken.", param=path + "type"
        )
    return {"type": "text", "text": field(data, "text", str, path=path)}


def parse_id(data: dict[str, Any], path: str) -> str | None:
    """The id that a client gives an item, None if it gives none."""
    id = field(data, "id", str, NULL, path=path)
    if id == "":
        raise BadRequest(f"'{path}id' must not be empty.", param=f"{path}id")
    return None if id is None else printable(id, f"{path}id", MAX_ID_LENGTH)


def item_json(item: RealtimeItem) -> dict[str, Any]:
    """An item as it is shown. A message of ours that has no words yet has no content either."""
    said = item.said
    shape = {"id": item.id, "object": "realtime.item", "status": item.status}
    if isinstance(said, ToolCall):
        call = {"call_id": said.id, "name": said.name, "arguments": said.arguments}
        return {**shape, "type": "function_call", **call}
    if said.role == "tool":
        return {**shape, "type": "function_call_output", "call_id": said.tool_call_id, "output": said.text}
    kind = "output_text" if said.role == "assistant" else "input_text"
    content = [] if item.status == "in_progress" and not said.text else [{"type": kind, "text": said.text}]
    return {**shape, "type": "message", "role": said.role, "content": content}


def history(items: Sequence[Said]) -> list[Message]:
    """Items as messages. Many servers refuse calls without results, results without calls and empty messages,
    and want a result right behind its call: so the former are left out, and the latter are put there.
    """
    results = _results(items)
    found: list[Said] = []
    owed: list[Said] = []
    for place, said in enumerate(items):
        if isinstance(said, ToolCall):
            if place in results:
                found.append(said)
                owed.append(results[place])
            continue
        if said.role != "assistant":
            found += owed
            owed.clear()
        if said.role != "tool" and said.text:
            found.append(said)
    return merge_assistant([*found, *owed])


def _results(items: Sequence[Said]) -> dict[int, Message]:
    """The results of those calls that have one, by the places of the calls."""
    waiting: dict[str | None, int] = {}
    found: dict[int, Message] = {}
    for place, said in enumerate(items):
        if isinstance(said, ToolCall):
            waiting[said.id] = place
        elif said.role == "tool" and (call := waiting.pop(said.tool_call_id, None)) is not None:
            found[call] = said
    return found


def heard_prefix(text: str, heard: str) -> str:
    """The longest beginning of a text, in whole words, that was heard."""
    end = 0
    for word, other in zip(WORD.finditer(text), heard.split(), strict=False):
        if bare(word[0]) != bare(other):
            break
        end = word.end()
    return text[:end]


def words_within(text: str, most: float) -> str:
    """The whole words that a text has within so many characters."""
    end = int(min(most, len(text)))
    part = text[:end]
    if end == len(text) or text[end].isspace() or part[-1:].isspace():
        return part.rstrip()
    whole = part.rsplit(None, 1)
    return whole[0] if len(whole) > 1 else ""


def _call_id(said: Said) -> str | None:
    return said.id if isinstance(said, ToolCall) else said.tool_call_id


def _size(said: Said) -> int:
    if isinstance(said, ToolCall):
        return len(said.id) + len(said.name) + len(said.arguments)
    return len(said.text) + len(said.tool_call_id or "")
