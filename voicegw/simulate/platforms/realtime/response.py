"""One response of a realtime session, followed from event to event. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from voicegw.simulate.platform import abbreviate
from voicegw.simulate.recording import ActionSeen, Observation, TextHeard, Violation

JsonObject: TypeAlias = dict[str, Any]

TEXTS = ("text", "output_text")


@dataclass(slots=True)
class MessagePart:
    """A part of a message."""

    text: str = ""
    is_done: bool = False


@dataclass(slots=True)
class ResponseItem:
    """An item of a response: a message in `parts`, or a call with its `arguments`.

    `kept` is what of it the caller heard, None if all.
    """

    id: str
    kind: str
    parts: list[MessagePart] = field(default_factory=list)
    arguments: str = ""
    is_done: bool = False
    heard_prefix: str | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    @property
    def heard_text(self) -> str:
        """What of it is part of the conversation."""
        return self.text if self.heard_prefix is None else self.heard_prefix

    def find_difference(self, item: Mapping[str, Any]) -> str | None:
        """Why this is not the item that was told piece by piece; None if it is."""
        if self.kind == "message" and self.heard_prefix is None and (whole := _text(item)) != self.text:
            return f"{abbreviate(self.id)} has {len(whole)} characters, its deltas {len(self.text)}, or others"
        return None


class ReceivedResponse:
    """What became of a response.create of ours. `turn` is the question's, `cancelled` if we cancelled it."""

    def __init__(self, id: str, turn: int | None, *, is_cancelled: bool = False) -> None:
        self.id = id
        self.turn = turn
        self.is_cancelled = is_cancelled
        self.is_done = False
        self.items: list[ResponseItem] = []
        self.calls: list[ActionSeen] = []

    @property
    def messages(self) -> list[ResponseItem]:
        return [piece for piece in self.items if piece.kind == "message"]

    def receive(self, kind: str, data: JsonObject) -> Iterator[Observation]:
        """What an event between response.created and response.done means."""
        if self.is_done:
            yield Violation("created-done", f"{kind} after response.done")
        if kind == "response.output_text.delta":
            yield TextHeard(self.turn, data["delta"])
        if kind == "response.output_item.added":
            yield from self._added(data["output_index"], data["item"])
        elif (piece := self._piece(data)) is None:
            yield Violation("items", f"{kind} of no open item, at output_index {data['output_index']}")
        elif kind == "response.output_item.done":
            yield from self._closed(piece, data["item"])
        elif kind.startswith("response.function_call_arguments."):
            yield from self._argued(piece, data)
        elif kind == "response.content_part.added":
            yield from self._opened(piece, data["content_index"], data["part"])
        else:
            yield from self._told(piece, kind, data)

    def finish(self, output: list[Any]) -> Iterator[Violation]:
        """The response is done, and this is all of it. One that was cancelled may have loose ends."""
        self.is_done = True
        if self.is_cancelled:
            return
        ids = [item.get("id") if isinstance(item, dict) else None for item in output]
        if ids != [piece.id for piece in self.items]:
            yield Violation("items", f"response.done has {len(ids)} items, not the {len(self.items)} that came")
            return
        for piece, item in zip(self.items, output, strict=True):
            if not piece.is_done:
                yield Violation("items", f"{abbreviate(piece.id)} has no response.output_item.done")
            if why := piece.find_difference(item):
                yield Violation("deltas", f"response.done: {why}")

    def _piece(self, data: JsonObject) -> ResponseItem | None:
        """The open item that an event is about."""
        id, index = data["item"]["id"] if "item" in data else data["item_id"], data["output_index"]
        piece = self.items[index] if index < len(self.items) else None
        return piece if piece is not None and piece.id == id and not piece.is_done else None

    def _added(self, index: int, item: JsonObject) -> Iterator[Violation]:
        if index != len(self.items):
            yield Violation("items", f"output_index {index} of a new item, not {len(self.items)}")
        self.items.append(ResponseItem(item["id"], item["type"]))

    def _opened(self, piece: ResponseItem, index: int, part: JsonObject) -> Iterator[Violation]:
        if index != len(piece.parts):
            yield Violation("items", f"content_index {index} of a new part, not {len(piece.parts)}")
        if part["type"] not in TEXTS:
            yield Violation("items", f"a part of type {abbreviate(part['type'])}, though only text was asked for")
        piece.parts.append(MessagePart())

    def _told(self, piece: ResponseItem, kind: str, data: JsonObject) -> Iterator[Violation]:
        """A delta, the whole text, or the end of a part."""
        index = data["content_index"]
        part = piece.parts[index] if index < len(piece.parts) else None
        if part is None or part.is_done:
            yield Violation("items", f"{kind} of no open part, at content_index {index}")
            return
        if "delta" in data:
            part.text += data["delta"]
            return
        whole = data["part"].get("text", part.text) if "part" in data else data["text"]
        if whole != part.text:
            yield Violation("deltas", f"{kind}: {abbreviate(whole)} is not what the deltas were")
        part.is_done = "part" in data

    def _argued(self, piece: ResponseItem, data: JsonObject) -> Iterator[Violation]:
        if "delta" in data:
            piece.arguments += data["delta"]
        elif data["arguments"] != piece.arguments:
            why = f"{abbreviate(data['arguments'])} is not what the deltas were"
            yield Violation("tools", f"response.function_call_arguments.done: {why}")

    def _closed(self, piece: ResponseItem, item: JsonObject) -> Iterator[Observation]:
        piece.is_done = True
        if not self.is_cancelled and not all(part.is_done for part in piece.parts):
            yield Violation("items", f"{abbreviate(piece.id)} is done, but a part of it is not")
        if why := piece.find_difference(item):
            yield Violation("deltas", f"response.output_item.done: {why}")
        if piece.kind == "function_call":
            name, call, arguments = (_field(item, key) for key in ("name", "call_id", "arguments"))
            if arguments != piece.arguments:
                yield Violation("tools", f"{abbreviate(name)}: its arguments are not what the deltas were")
            self.calls.append(ActionSeen(self.turn, name, arguments, call))
            yield self.calls[-1]


def _text(item: Mapping[str, Any]) -> str:
    """What a message says."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return "".join(_field(part, "text") for part in parts if isinstance(part, dict))


def _field(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""
