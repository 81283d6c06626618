"""One response of a realtime session, read event by event. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from voicegw.simulate.platform import abbreviate
from voicegw.simulate.recording import ActionSeen, Observation, TextHeard, Violation

JsonObject: TypeAlias = dict[str, Any]

TEXT_TYPES = ("text", "output_text")


@dataclass(slots=True)
class MessagePart:
    """A content part of a message."""

    text: str = ""
    """The text of the deltas so far."""
    is_done: bool = False
    """Did its content_part.done arrive?"""


@dataclass(slots=True)
class ResponseItem:
    """An item of a response: a message with its `parts`, or a function call with its `arguments`.

    `heard_prefix` is the part of the text that the caller heard; None if all of it.
    """

    id: str
    """The item's id."""
    kind: str
    """The item's `type`."""
    parts: list[MessagePart] = field(default_factory=list)
    arguments: str = ""
    is_done: bool = False
    """Did its output_item.done arrive?"""
    heard_prefix: str | None = None

    @property
    def text(self) -> str:
        """The whole text of its parts."""
        return "".join(part.text for part in self.parts)

    @property
    def heard_text(self) -> str:
        """The text that belongs to the conversation."""
        return self.text if self.heard_prefix is None else self.heard_prefix

    def find_difference(self, item: Mapping[str, Any]) -> str | None:
        """Return a sentence if the text of `item` is not that of the deltas; None if it is."""
        if self.kind != "message" or self.heard_prefix is not None:
            return None
        if (whole := _message_text(item)) == self.text:
            return None
        lengths = f"{len(whole)} characters, its deltas {len(self.text)}, or others"
        return f"{abbreviate(self.id)} has {lengths}"


class ReceivedResponse:
    """Reads the response to one response.create. `turn` is the index of its question.

    `is_cancelled` is True once the client has cancelled it.
    """

    def __init__(self, id: str, turn: int | None, *, is_cancelled: bool = False) -> None:
        self.id = id  # the response's id
        self.turn = turn
        self.is_cancelled = is_cancelled
        self.is_done = False  # did response.done arrive?
        self.items: list[ResponseItem] = []  # in the order of output_index
        self.calls: list[ActionSeen] = []  # the finished function calls

    @property
    def messages(self) -> list[ResponseItem]:
        """The items that are messages."""
        return [item for item in self.items if item.kind == "message"]

    def receive(self, event_type: str, data: JsonObject) -> Iterator[Observation]:
        """Yield the observations in an event between response.created and response.done."""
        if self.is_done:
            yield Violation("created-done", f"{event_type} after response.done")
        if event_type == "response.output_text.delta":
            yield TextHeard(self.turn, data["delta"])
        if event_type == "response.output_item.added":
            yield from self._add_item(data["output_index"], data["item"])
        elif (item := self._find_open_item(data)) is None:
            index = data["output_index"]
            yield Violation("items", f"{event_type} of no open item, at output_index {index}")
        elif event_type == "response.output_item.done":
            yield from self._finish_item(item, data["item"])
        elif event_type.startswith("response.function_call_arguments."):
            yield from self._receive_arguments(item, data)
        elif event_type == "response.content_part.added":
            yield from self._add_part(item, data["content_index"], data["part"])
        else:
            yield from self._receive_text(item, event_type, data)

    def finish(self, output: list[Any]) -> Iterator[Violation]:
        """End the response, and compare the `output` of response.done with the items.

        A cancelled response may end with open items.
        """
        self.is_done = True
        if self.is_cancelled:
            return
        ids = [entry.get("id") if isinstance(entry, dict) else None for entry in output]
        if ids != [item.id for item in self.items]:
            yield Violation(
                "items", f"response.done has {len(ids)} items, not the {len(self.items)} that came"
            )
            return
        for item, entry in zip(self.items, output, strict=True):
            if not item.is_done:
                yield Violation("items", f"{abbreviate(item.id)} has no response.output_item.done")
            if difference := item.find_difference(entry):
                yield Violation("deltas", f"response.done: {difference}")

    def _find_open_item(self, data: JsonObject) -> ResponseItem | None:
        """Return the open item that an event is about; None if there is none."""
        id, index = data["item"]["id"] if "item" in data else data["item_id"], data["output_index"]
        item = self.items[index] if index < len(self.items) else None
        return item if item is not None and item.id == id and not item.is_done else None

    def _add_item(self, index: int, item: JsonObject) -> Iterator[Violation]:
        if index != len(self.items):
            yield Violation("items", f"output_index {index} of a new item, not {len(self.items)}")
        self.items.append(ResponseItem(item["id"], item["type"]))

    def _add_part(self, item: ResponseItem, index: int, part: JsonObject) -> Iterator[Violation]:
        if index != len(item.parts):
            yield Violation("items", f"content_index {index} of a new part, not {len(item.parts)}")
        if part["type"] not in TEXT_TYPES:
            reason = f"a part of type {abbreviate(part['type'])}, though only text was asked for"
            yield Violation("items", reason)
        item.parts.append(MessagePart())

    def _receive_text(self, item: ResponseItem, event_type: str, data: JsonObject) -> Iterator[Violation]:
        """Read a delta, the whole text, or the end of a part."""
        index = data["content_index"]
        part = item.parts[index] if index < len(item.parts) else None
        if part is None or part.is_done:
            yield Violation("items", f"{event_type} of no open part, at content_index {index}")
            return
        if "delta" in data:
            part.text += data["delta"]
            return
        whole = data["part"].get("text", part.text) if "part" in data else data["text"]
        if whole != part.text:
            yield Violation("deltas", f"{event_type}: {abbreviate(whole)} is not the text of the deltas")
        part.is_done = "part" in data

    def _receive_arguments(self, item: ResponseItem, data: JsonObject) -> Iterator[Violation]:
        if "delta" in data:
            item.arguments += data["delta"]
        elif data["arguments"] != item.arguments:
            reason = f"{abbreviate(data['arguments'])} is not the text of the deltas"
            yield Violation("tools", f"response.function_call_arguments.done: {reason}")

    def _finish_item(self, item: ResponseItem, data: JsonObject) -> Iterator[Observation]:
        item.is_done = True
        if not self.is_cancelled and not all(part.is_done for part in item.parts):
            yield Violation("items", f"{abbreviate(item.id)} is done, but a part of it is not")
        if difference := item.find_difference(data):
            yield Violation("deltas", f"response.output_item.done: {difference}")
        if item.kind == "function_call":
            name, call_id, arguments = (_text_field(data, key) for key in ("name", "call_id", "arguments"))
            if arguments != item.arguments:
                yield Violation("tools", f"{abbreviate(name)}: its arguments are not those of the deltas")
            self.calls.append(ActionSeen(self.turn, name, arguments, call_id))
            yield self.calls[-1]


def _message_text(item: Mapping[str, Any]) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return "".join(_text_field(part, "text") for part in parts if isinstance(part, dict))


def _text_field(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""
