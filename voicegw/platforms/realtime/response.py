"""One response of a realtime session on the wire: what is said, item by item, and how it ended."""

from __future__ import annotations

from typing import Any

from voicegw.events import Message, ToolCall, Usage
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import RealtimeConversation, RealtimeItem, item_json
from voicegw.platforms.realtime.session_config import ResponseConfig
from voicegw.wire.json import dumps, loads

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons for which a response is not complete, under their names here."""
DELTA = b'"type":"response.output_text.delta",%b,"delta":'


def usage_json(usage: Usage) -> dict[str, Any]:
    cached = {"text_tokens": usage.cached, "audio_tokens": 0, "image_tokens": 0}
    return {
        "total_tokens": usage.prompt + usage.completion,
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "input_token_details": {
            "cached_tokens": usage.cached,
            "text_tokens": usage.prompt,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens_details": cached,
        },
        "output_token_details": {"text_tokens": usage.completion, "audio_tokens": 0},
    }


class RealtimeResponse:
    """One response. Its items are part of the conversation from their first word on, unless it is `apart`.

    Words are gathered into a message, which a call or the end closes. What was sent of it is kept as JSON, so
    that the deltas and the whole text are the same to the last byte. Without `tools` there are no calls:
    the client could not answer them. `reason` is why it would be cancelled.
    """

    keepalive = b""
    ends_call = False

    def __init__(
        self, events: EventWriter, book: RealtimeConversation, order: ResponseConfig, *, tools: bool
    ) -> None:
        self.events = events
        self.book = None if order.apart else book
        self.taken = book.items
        self.tools = tools
        self.id = events.name("resp")
        self.told = book.told  # what the conversation had when this began
        self.reason = "turn_detected"
        self.begun = self.over = False
        self.shape = {
            "object": "realtime.response",
            "id": self.id,
            "conversation_id": None if order.apart else book.id,
            "output_modalities": ["text"],
            "max_output_tokens": order.wishes.most,
            "metadata": order.metadata,
        }
        self.output: list[dict[str, Any]] = []
        self.words: list[str] = []
        self.said: list[str] = []
        self.pieces: list[bytes] = []
        self.item = ""
        self.kept: str | None = None
        self.previous: str | None = None
        self.head = b""
        self.place: dict[str, Any] = {}
        self.executed: list[ToolCall] = []
        self.already_executed: set[tuple[str, str]] = set()

    @property
    def spoken_text(self) -> str:
        """Everything that was put into frames so far."""
        return "".join(self.said) + self._text()

    def start(self, words: str) -> bytes:
        """The response itself; the words wait to be gathered."""
        self.text_delta(words)
        if self.begun or self.over:
            return b""
        self.begun = True
        return self._response("response.created", "in_progress", None, None)

    def text_delta(self, delta: str) -> bytes:
        if delta and not self.over:
            self.words.append(delta)
        return b""

    def drain(self) -> bytes:
        """What was gathered, as one delta; before the first one the message that it is of."""
        if not self.words:
            return b""
        piece = dumps("".join(self.words))
        self.words.clear()
        opening = b"" if self.item else self._open()
        self.pieces.append(piece[1:-1])
        return opening + self.events.write(self.head, piece)

    def tool_call(self, call: ToolCall) -> bytes:
        """A call is an item of its own; its arguments come whole, in one delta."""
        if self.over or not self.tools:
            return b""
        say, arguments = self.events.say, call.arguments
        id = call.id or self.events.name("call")
        before = self.start("") + self.drain() + self._close("completed")
        begun = RealtimeItem(self._name(), ToolCall(id, call.name, ""), "in_progress")
        place = {
            "response_id": self.id,
            "item_id": begun.id,
            "output_index": len(self.output),
            "call_id": id,
        }
        return b"".join(
            (
                before,
                self._added(begun),
                say("response.function_call_arguments.delta", **place, delta=arguments),
                say("response.function_call_arguments.done", **place, name=call.name, arguments=arguments),
                self._finished(RealtimeItem(begun.id, ToolCall(id, call.name, arguments))),
            )
        )

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """The end of what is open, and last the response as it became."""
        if self.over:
            return b""
        why = INCOMPLETE.get(reason)
        return self.start("") + self.drain() + self._end("incomplete" if why else "completed", why, usage)

    def stop(self) -> bytes:
        """What is open ends as it is; gathered words are dropped."""
        self.words.clear()
        if self.over or not self.begun:
            self.over = True
            return b""
        return self._end("cancelled", self.reason, None)

    def settle(self) -> None:
        """Let the conversation know what was said of the open message so far."""
        if self.item and self.book is not None:
            text = self._text() if self.kept is None else self.kept
            self.book.put(RealtimeItem(self.item, Message("assistant", text), "in_progress"))

    def cut(self, kept: str) -> None:
        """Of the open message only this stays in the conversation, whatever else is still said."""
        self.kept = kept
        self.settle()

    def owns(self, id: str) -> bool:
        """Is this one of its items?"""
        return id == self.item or any(item["id"] == id for item in self.output)

    def _name(self) -> str:
        return self.events.name("item", self.taken)

    def _text(self) -> str:
        """What was said of the open message."""
        return str(loads(b'"%b"' % b"".join(self.pieces)))

    def _open(self) -> bytes:
        """A new message, of which nothing is known yet."""
        created = self.start("")
        item = RealtimeItem(self._name(), Message("assistant"), "in_progress")
        self.item = item.id
        self.place = {
            "response_id": self.id,
            "item_id": item.id,
            "output_index": len(self.output),
            "content_index": 0,
        }
        self.head = DELTA % dumps(self.place)[1:-1]
        added, part = self._added(item), {"type": "text", "text": ""}
        return created + added + self.events.say("response.content_part.added", **self.place, part=part)

    def _close(self, status: str) -> bytes:
        """The end of the message, if one is open."""
        if not self.item:
            return b""
        text = self._text()
        say, item = self.events.say, RealtimeItem(self.item, Message("assistant", text), status)
        frames = b"".join(
            (
                say("response.output_text.done", **self.place, text=text),
                say("response.content_part.done", **self.place, part={"type": "text", "text": text}),
                self._finished(item),
            )
        )
        if self.kept is not None and self.book is not None:
            self.book.put(RealtimeItem(item.id, Message("assistant", self.kept), status))
        self.said.append(text)
        self.pieces.clear()
        self.item, self.kept = "", None
        return frames

    def _added(self, item: RealtimeItem) -> bytes:
        """An item begins, in the response and in the conversation."""
        shown, index = item_json(item), len(self.output)
        frames = self.events.say(
            "response.output_item.added", response_id=self.id, output_index=index, item=shown
        )
        if self.book is None:
            return frames
        self.previous = self.book.add(item)
        return frames + self.events.say("conversation.item.added", previous_item_id=self.previous, item=shown)

    def _finished(self, item: RealtimeItem) -> bytes:
        """An item is what it is to be."""
        shown, index = item_json(item), len(self.output)
        self.output.append(shown)
        frames = self.events.say(
            "response.output_item.done", response_id=self.id, output_index=index, item=shown
        )
        if self.book is None:
            return frames
        self.book.put(item)
        return frames + self.events.say("conversation.item.done", previous_item_id=self.previous, item=shown)

    def _end(self, status: str, why: str | None, usage: Usage | None) -> bytes:
        closing = self._close("completed" if status == "completed" else "incomplete")
        self.over = True
        return closing + self._response("response.done", status, why, usage)

    def _response(self, kind: str, status: str, why: str | None, usage: Usage | None) -> bytes:
        response = {
            **self.shape,
            "status": status,
            "status_details": {"type": status, "reason": why} if why else None,
            "output": self.output,
            "usage": usage and usage_json(usage),
        }
        return self.events.say(kind, response=response)
