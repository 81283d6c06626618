"""One response of a realtime session, followed from event to event. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from voicegw.simulate.platform import shown
from voicegw.simulate.recording import Acted, Heard, Words, Wrong

Object: TypeAlias = dict[str, Any]

TEXTS = ("text", "output_text")


@dataclass(slots=True)
class Part:
    """A part of a message."""

    text: str = ""
    closed: bool = False


@dataclass(slots=True)
class Piece:
    """An item of a response: a message in `parts`, or a call with its `arguments`.

    `kept` is what of it the caller heard, None if all.
    """

    id: str
    kind: str
    parts: list[Part] = field(default_factory=list)
    arguments: str = ""
    closed: bool = False
    kept: str | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    @property
    def heard(self) -> str:
        """What of it is part of the conversation."""
        return self.text if self.kept is None else self.kept

    def told(self, item: Mapping[str, Any]) -> str | None:
        """Why this is not the item that was told piece by piece; None if it is."""
        if self.kind == "message" and self.kept is None and (whole := _text(item)) != self.text:
            return f"{shown(self.id)} has {len(whole)} characters, its deltas {len(self.text)}, or others"
        return None


class Response:
    """What became of a response.create of ours. `turn` is the question's, `cancelled` if we cancelled it."""

    def __init__(self, id: str, turn: int | None, *, cancelled: bool = False) -> None:
        self.id = id
        self.turn = turn
        self.cancelled = cancelled
        self.done = False
        self.pieces: list[Piece] = []
        self.calls: list[Acted] = []

    @property
    def messages(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.kind == "message"]

    def hear(self, kind: str, data: Object) -> Iterator[Heard]:
        """What an event between response.created and response.done means."""
        if self.done:
            yield Wrong("created-done", f"{kind} after response.done")
        if kind == "response.output_text.delta":
            yield Words(self.turn, data["delta"])
        if kind == "response.output_item.added":
            yield from self._added(data["output_index"], data["item"])
        elif (piece := self._piece(data)) is None:
            yield Wrong("items", f"{kind} of no open item, at output_index {data['output_index']}")
        elif kind == "response.output_item.done":
            yield from self._closed(piece, data["item"])
        elif kind.startswith("response.function_call_arguments."):
            yield from self._argued(piece, data)
        elif kind == "response.content_part.added":
            yield from self._opened(piece, data["content_index"], data["part"])
        else:
            yield from self._told(piece, kind, data)

    def end(self, output: list[Any]) -> Iterator[Wrong]:
        """The response is done, and this is all of it. One that was cancelled may have loose ends."""
        self.done = True
        if self.cancelled:
            return
        ids = [item.get("id") if isinstance(item, dict) else None for item in output]
        if ids != [piece.id for piece in self.pieces]:
            yield Wrong("items", f"response.done has {len(ids)} items, not the {len(self.pieces)} that came")
            return
        for piece, item in zip(self.pieces, output, strict=True):
            if not piece.closed:
                yield Wrong("items", f"{shown(piece.id)} has no response.output_item.done")
            if why := piece.told(item):
                yield Wrong("deltas", f"response.done: {why}")

    def _piece(self, data: Object) -> Piece | None:
        """The open item that an event is about."""
        id, index = data["item"]["id"] if "item" in data else data["item_id"], data["output_index"]
        piece = self.pieces[index] if index < len(self.pieces) else None
        return piece if piece is not None and piece.id == id and not piece.closed else None

    def _added(self, index: int, item: Object) -> Iterator[Wrong]:
        if index != len(self.pieces):
            yield Wrong("items", f"output_index {index} of a new item, not {len(self.pieces)}")
        self.pieces.append(Piece(item["id"], item["type"]))

    def _opened(self, piece: Piece, index: int, part: Object) -> Iterator[Wrong]:
        if index != len(piece.parts):
            yield Wrong("items", f"content_index {index} of a new part, not {len(piece.parts)}")
        if part["type"] not in TEXTS:
            yield Wrong("items", f"a part of type {shown(part['type'])}, though only text was asked for")
        piece.parts.append(Part())

    def _told(self, piece: Piece, kind: str, data: Object) -> Iterator[Wrong]:
        """A delta, the whole text, or the end of a part."""
        index = data["content_index"]
        part = piece.parts[index] if index < len(piece.parts) else None
        if part is None or part.closed:
            yield Wrong("items", f"{kind} of no open part, at content_index {index}")
            return
        if "delta" in data:
            part.text += data["delta"]
            return
        whole = data["part"].get("text", part.text) if "part" in data else data["text"]
        if whole != part.text:
            yield Wrong("deltas", f"{kind}: {shown(whole)} is not what the deltas were")
        part.closed = "part" in data

    def _argued(self, piece: Piece, data: Object) -> Iterator[Wrong]:
        if "delta" in data:
            piece.arguments += data["delta"]
        elif data["arguments"] != piece.arguments:
            why = f"{shown(data['arguments'])} is not what the deltas were"
            yield Wrong("tools", f"response.function_call_arguments.done: {why}")

    def _closed(self, piece: Piece, item: Object) -> Iterator[Heard]:
        piece.closed = True
        if not self.cancelled and not all(part.closed for part in piece.parts):
            yield Wrong("items", f"{shown(piece.id)} is done, but a part of it is not")
        if why := piece.told(item):
            yield Wrong("deltas", f"response.output_item.done: {why}")
        if piece.kind == "function_call":
            name, call, arguments = (_field(item, key) for key in ("name", "call_id", "arguments"))
            if arguments != piece.arguments:
                yield Wrong("tools", f"{shown(name)}: its arguments are not what the deltas were")
            self.calls.append(Acted(self.turn, name, arguments, call))
            yield self.calls[-1]


def _text(item: Mapping[str, Any]) -> str:
    """What a message says."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return "".join(_field(part, "text") for part in parts if isinstance(part, dict))


def _field(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""
