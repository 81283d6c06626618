"""Encodes one response of a realtime session: its events, its items and its end.

It asks no agent: it is the `voicegw.calls.codec.TurnEncoder` of the Realtime protocol. Source: the order of
events in OpenAI's documentation of the Realtime API, and the event types of the official `openai` library.
"""

from __future__ import annotations

from typing import Any

from voicegw.calls.action_results import ActionResults
from voicegw.calls.codec import TurnEncoder
from voicegw.events import Message, ToolCall, Usage
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import RealtimeConversation, RealtimeItem, item_to_json
from voicegw.platforms.realtime.session_config import ResponseConfig
from voicegw.wire.json import dumps, loads
from voicegw.wire.openai import CANCELLED

INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""The finish_reason of an incomplete response, and OpenAI's name for it in `status_details`."""
DELTA = b'"type":"response.output_text.delta",%b,"delta":'


def usage_to_json(usage: Usage) -> dict[str, Any]:
    """Return the token counts in the form of the Realtime API."""
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


class RealtimeResponse(TurnEncoder):
    """Encodes one response and keeps its items in the conversation, unless it is out of band.

    Words are gathered into a message item, which a function call or the end closes. An item is in the
    conversation from its first word on.
    """

    keepalive = b""
    ends_call = False  # the protocol has no action that ends the call

    def __init__(
        self,
        events: EventWriter,
        conversation: RealtimeConversation,
        request: ResponseConfig,
        *,
        tools: bool,
    ) -> None:
        self.events = events  # encodes the events of the session
        self.conversation = None if request.out_of_band else conversation
        self.tools = tools  # without tools, calls are dropped: the client could not run them
        self.id = events.new_id("resp")  # the response's id in its events
        self.seen_client_items = conversation.client_item_count  # when this response began
        self.cancel_reason = "turn_detected"  # why the response is cancelled, if `stop` ends it
        self.started = self.ended = False  # set by `start`, and by `finish` and `stop`
        self.output: list[dict[str, Any]] = []  # the finished items
        self.gathered: list[str] = []  # words that are not in a delta yet
        self.actions = ActionResults()  # stays empty: the protocol has no actions
        self.open_item_id = ""  # the message that receives deltas; "" if none is open
        self._item_ids = conversation.items  # ids that a new item must not have
        self._closed_texts: list[str] = []  # the texts of the closed messages
        # The deltas of the open message as JSON, so that its whole text is equal to them to the last byte.
        self._sent_json: list[bytes] = []
        self._heard_text: str | None = None  # set by `truncate`, for the open message
        self._previous_item_id: str | None = None  # of the newest item
        self._delta_head = b""  # a delta event of the open message, up to its value
        self._position: dict[str, Any] = {}  # the ids and indexes in each event of the open message
        # The fields of the response object that never change.
        self._base_fields = {
            "object": "realtime.response",
            "id": self.id,
            "conversation_id": None if request.out_of_band else conversation.id,
            "output_modalities": ["text"],
            "max_output_tokens": request.config.max_output_tokens,
            "metadata": request.metadata,
        }

    @property
    def spoken_text(self) -> str:
        """All text that was put into deltas so far."""
        return "".join(self._closed_texts) + self._open_text()

    def start(self, words: str) -> bytes:
        """Return response.created and gather the words; return b"" if the response has begun."""
        self.text_delta(words)
        if self.started or self.ended:
            return b""
        self.started = True
        return self._encode_response("response.created", "in_progress", None, None)

    def text_delta(self, delta: str) -> bytes:
        """Gather words; return b""."""
        if delta and not self.ended:
            self.gathered.append(delta)
        return b""

    def drain(self) -> bytes:
        """Return the gathered words as one delta, behind the events that open a message if none is open."""
        if not self.gathered:
            return b""
        piece = dumps("".join(self.gathered))
        self.gathered.clear()
        opening = b"" if self.open_item_id else self._open_message()
        self._sent_json.append(piece[1:-1])
        return opening + self.events.encode_parts(self._delta_head, piece)

    def tool_call(self, call: ToolCall) -> bytes:
        """Return a function call as its own item, with its arguments in one delta; b"" without tools."""
        if self.ended or not self.tools:
            return b""
        encode, arguments = self.events.encode, call.arguments
        id = call.id or self.events.new_id("call")
        before = self.start("") + self.drain() + self._close_message("completed")
        begun = RealtimeItem(self._new_item_id(), ToolCall(id, call.name, ""), "in_progress")
        position = {
            "response_id": self.id,
            "item_id": begun.id,
            "output_index": len(self.output),
            "call_id": id,
        }
        done = {"name": call.name, "arguments": arguments}
        return b"".join(
            (
                before,
                self._add_item(begun),
                encode("response.function_call_arguments.delta", **position, delta=arguments),
                encode("response.function_call_arguments.done", **position, **done),
                self._finish_item(RealtimeItem(begun.id, ToolCall(id, call.name, arguments))),
            )
        )

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the end of the open message, and response.done with the whole response."""
        if self.ended:
            return b""
        if reason == CANCELLED:
            return self.start("") + self.stop()
        incomplete = INCOMPLETE_REASONS.get(reason)
        status = "incomplete" if incomplete else "completed"
        return self.start("") + self.drain() + self._end(status, incomplete, usage)

    def stop(self) -> bytes:
        """Drop the gathered words; return the end of a cancelled response, b"" if it has not begun."""
        self.gathered.clear()
        if self.ended or not self.started:
            self.ended = True
            return b""
        return self._end("cancelled", self.cancel_reason, None)

    def sync_conversation(self) -> None:
        """Write the words of the open message into the conversation, as far as they were sent."""
        if self.open_item_id and self.conversation is not None:
            text = self._open_text() if self._heard_text is None else self._heard_text
            item = RealtimeItem(self.open_item_id, Message("assistant", text), "in_progress")
            self.conversation.replace(item)

    def truncate(self, heard_text: str) -> None:
        """Keep only `heard_text` of the open message in the conversation, also if more words follow."""
        self._heard_text = heard_text
        self.sync_conversation()

    def owns(self, id: str) -> bool:
        """Return whether this is the id of one of the response's items."""
        return id == self.open_item_id or any(item["id"] == id for item in self.output)

    def _new_item_id(self) -> str:
        return self.events.new_id("item", self._item_ids)

    def _open_text(self) -> str:
        """Return the words of the open message that were sent."""
        return str(loads(b'"%b"' % b"".join(self._sent_json)))

    def _open_message(self) -> bytes:
        """Return the events that open a message."""
        created = self.start("")
        item = RealtimeItem(self._new_item_id(), Message("assistant"), "in_progress")
        self.open_item_id = item.id
        self._position = {
            "response_id": self.id,
            "item_id": item.id,
            "output_index": len(self.output),
            "content_index": 0,
        }
        self._delta_head = DELTA % dumps(self._position)[1:-1]
        added, part = self._add_item(item), {"type": "text", "text": ""}
        opened = self.events.encode("response.content_part.added", **self._position, part=part)
        return created + added + opened

    def _close_message(self, status: str) -> bytes:
        """Return the events that close the open message, b"" if none is open."""
        if not self.open_item_id:
            return b""
        text = self._open_text()
        encode, item = self.events.encode, RealtimeItem(self.open_item_id, Message("assistant", text), status)
        part = {"type": "text", "text": text}
        frames = b"".join(
            (
                encode("response.output_text.done", **self._position, text=text),
                encode("response.content_part.done", **self._position, part=part),
                self._finish_item(item),
            )
        )
        if self._heard_text is not None and self.conversation is not None:
            self.conversation.replace(RealtimeItem(item.id, Message("assistant", self._heard_text), status))
        self._closed_texts.append(text)
        self._sent_json.clear()
        self.open_item_id, self._heard_text = "", None
        return frames

    def _add_item(self, item: RealtimeItem) -> bytes:
        """Return the events of a new item of the response, and add it to the conversation."""
        encoded, index = item_to_json(item), len(self.output)
        frames = self.events.encode(
            "response.output_item.added", response_id=self.id, output_index=index, item=encoded
        )
        if self.conversation is None:
            return frames
        self._previous_item_id = self.conversation.add(item)
        return frames + self._encode_conversation_item("added", encoded)

    def _finish_item(self, item: RealtimeItem) -> bytes:
        """Return the events of a finished item, and replace it in the conversation."""
        encoded, index = item_to_json(item), len(self.output)
        self.output.append(encoded)
        frames = self.events.encode(
            "response.output_item.done", response_id=self.id, output_index=index, item=encoded
        )
        if self.conversation is None:
            return frames
        self.conversation.replace(item)
        return frames + self._encode_conversation_item("done", encoded)

    def _encode_conversation_item(self, change: str, item: dict[str, Any]) -> bytes:
        previous = self._previous_item_id
        return self.events.encode(f"conversation.item.{change}", previous_item_id=previous, item=item)

    def _end(self, status: str, reason: str | None, usage: Usage | None) -> bytes:
        closing = self._close_message("completed" if status == "completed" else "incomplete")
        self.ended = True
        return closing + self._encode_response("response.done", status, reason, usage)

    def _encode_response(self, kind: str, status: str, reason: str | None, usage: Usage | None) -> bytes:
        response = {
            **self._base_fields,
            "status": status,
            "status_details": {"type": status, "reason": reason} if reason else None,
            "output": self.output,
            "usage": usage and usage_to_json(usage),
        }
        return self.events.encode(kind, response=response)
