"""Encodes responses of the Responses API: numbered events, and the response that they add up to. Pure.

The encoder prepares one template for each message: a text delta is a prebuilt head, its sequence number, the
delta as JSON and a tail.
Source: OpenAI's API reference, "The response object" and "Streaming events".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.api.response_ids import call_item_id, message_item_id, response_id
from voicegw.errors import VoicegwError
from voicegw.events import ToolCall, Usage
from voicegw.turns.completion import Completion
from voicegw.wire.json import dumps, loads
from voicegw.wire.openai import CANCELLED, KEEPALIVE

RESPONSE_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "usage": None,
}
"""Fields that every response has. Those of the request replace them."""
INCOMPLETE_REASONS = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    CANCELLED: "cancelled",
}
"""From a finish reason of chat completions to the reason of `incomplete_details`. The last one is our own."""
EVENT_TEMPLATE = b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b\n\n'
"""One event: its type twice, its number, and its other fields as JSON without the opening brace."""
DELTA_TEMPLATE = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",%b,"sequence_number":'
)
"""The head of the text deltas of one message, up to the number."""


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return the token usage as the Responses API has it."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def part_json(text: str) -> dict[str, Any]:
    """Return a text as a content part."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ResponseEventEncoder:
    """Encodes one streamed response. A `StreamEncoder`.

    A message opens with the first text; a tool call or the end closes it. The encoder keeps the JSON of the
    deltas, so that the deltas and the whole text agree down to the last byte.
    """

    keepalive = KEEPALIVE
    """The bytes that keep a silent stream alive."""

    def __init__(self, id: str, model: str, created: int, echoed_fields: Mapping[str, Any]) -> None:
        # The id of the turn. The ids of the response and its items contain it.
        self.turn_id = id
        # The response object without status, output and usage. `created` is in seconds since 1970.
        self.response = {
            "id": response_id(id),
            "object": "response",
            "created_at": created,
            "model": model,
            **RESPONSE_DEFAULTS,
            **echoed_fields,
        }
        # The number of the next event.
        self.sequence_number = 0
        # The closed items.
        self.output: list[dict[str, Any]] = []
        # Tool calls so far.
        self.tool_call_count = 0
        # The fields that locate the text of the open message.
        self.part_location: dict[str, Any] = {}
        # The head of a text delta; empty while no message is open.
        self.delta_head = b""
        # The text of the open message as JSON, without quotes, one piece for each delta.
        self.json_pieces: list[bytes] = []

    def start(self, words: str) -> bytes:
        """Return the events that create the response, and the gateway's own words if there are any."""
        body = dumps({"response": {**self.response, "status": "in_progress", "output": []}})
        created = self._number_event(b"response.created", body)
        return created + self._number_event(b"response.in_progress", body) + self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        """Return a text delta, and before it the events that open a message if none is open. Empty for ""."""
        if not delta:
            return b""
        opening = b"" if self.delta_head else self._open_message()
        number, self.sequence_number = self.sequence_number, self.sequence_number + 1
        piece = dumps(delta)
        self.json_pieces.append(piece[1:-1])
        return b'%b%b%d,"delta":%b}\n\n' % (opening, self.delta_head, number, piece)

    def tool_call(self, call: ToolCall) -> bytes:
        """Return the events of a tool call, an item with all its arguments in one delta."""
        closing = self._close_message("completed")
        index, id = len(self.output), call_item_id(self.turn_id, self.tool_call_count)
        self.tool_call_count += 1
        location = {"item_id": id, "output_index": index}
        item = {"id": id, "type": "function_call", "call_id": call.id, "name": call.name}
        added = {**item, "status": "in_progress", "arguments": ""}
        done = {**item, "status": "completed", "arguments": call.arguments}
        self.output.append(done)
        arguments = {**location, "name": call.name, "arguments": call.arguments}
        return b"".join(
            (
                closing,
                self._encode_event(b"response.output_item.added", output_index=index, item=added),
                self._encode_event(
                    b"response.function_call_arguments.delta", **location, delta=call.arguments
                ),
                self._encode_event(b"response.function_call_arguments.done", **arguments),
                self._encode_event(b"response.output_item.done", output_index=index, item=done),
            )
        )

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the events that close the last item, the note as a comment, and the final response."""
        closing = self.close_items(reason)
        comment = f": {note}\n\n".encode() if note else b""
        response = self.final_response(reason, usage)
        kind = f"response.{response['status']}".encode()
        return closing + comment + self._encode_event(kind, response=response)

    def fail(self, failure: VoicegwError) -> bytes:
        """Return the events that close an open message as incomplete, and `response.failed`."""
        closing = self._close_message("incomplete")
        error = {"code": failure.type, "message": failure.message}
        response = {**self.response, "status": "failed", "error": error, "output": self.output}
        return closing + self._encode_event(b"response.failed", response=response)

    def close_items(self, reason: str) -> bytes:
        """Return the events that close the last item.

        An empty answer becomes an empty message, because clients expect one.
        """
        opening = b"" if self.delta_head or self.output else self._open_message()
        return opening + self._close_message(_status(reason))

    def final_response(self, reason: str, usage: Usage | None) -> dict[str, Any]:
        """Return the response object with status, output and usage. Call `close_items` before."""
        details = INCOMPLETE_REASONS.get(reason)
        return {
            **self.response,
            "status": _status(reason),
            "incomplete_details": {"reason": details} if details else None,
            "output": self.output,
            "usage": usage_json(usage or Usage()),
        }

    def _open_message(self) -> bytes:
        id, index = message_item_id(self.turn_id, self.tool_call_count), len(self.output)
        self.part_location = {"item_id": id, "output_index": index, "content_index": 0}
        self.delta_head = DELTA_TEMPLATE % dumps({**self.part_location, "logprobs": []})[1:-1]
        self.json_pieces = []
        return self._encode_event(
            b"response.output_item.added", output_index=index, item=self._message("in_progress")
        ) + self._encode_event(b"response.content_part.added", **self.part_location, part=part_json(""))

    def _close_message(self, status: str) -> bytes:
        """Return the events that close the open message; empty if none is open."""
        if not self.delta_head:
            return b""
        text: str = loads(b'"%b"' % b"".join(self.json_pieces))
        location, part = self.part_location, part_json(text)
        item = self._message(status, part)
        self.delta_head = b""
        self.output.append(item)
        return b"".join(
            (
                self._encode_event(b"response.output_text.done", **location, text=text, logprobs=[]),
                self._encode_event(b"response.content_part.done", **location, part=part),
                self._encode_event(
                    b"response.output_item.done", output_index=location["output_index"], item=item
                ),
            )
        )

    def _message(self, status: str, *content: dict[str, Any]) -> dict[str, Any]:
        id = self.part_location["item_id"]
        return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _encode_event(self, kind: bytes, **fields: Any) -> bytes:
        return self._number_event(kind, dumps(fields))

    def _number_event(self, kind: bytes, body: bytes) -> bytes:
        """Return an event with the next sequence number. `body` is a JSON object of its other fields."""
        number, self.sequence_number = self.sequence_number, self.sequence_number + 1
        return EVENT_TEMPLATE % (kind, kind, number, body[1:])


def encode_response(
    id: str, model: str, created: int, echoed_fields: Mapping[str, Any], completion: Completion
) -> bytes:
    """Return a whole response as JSON: the same object as in the last event of a stream."""
    encoder = ResponseEventEncoder(id, model, created, echoed_fields)
    for part in completion.parts:
        encoder.text_delta(part) if isinstance(part, str) else encoder.tool_call(part)
    encoder.close_items(completion.reason)
    return dumps(encoder.final_response(completion.reason, completion.usage))


def _status(reason: str) -> str:
    return "incomplete" if reason in INCOMPLETE_REASONS else "completed"
