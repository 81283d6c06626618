"""OpenAI's Responses API as we answer it: numbered events, and the response that they add up to.

One template per message: a text delta is a prebuilt head, its number, the delta as JSON and a tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.events import ToolCall, Usage
from voicegw.turns.completion import Completion
from voicegw.wire.json import dumps, loads
from voicegw.wire.openai import KEEPALIVE

SHAPE: Mapping[str, Any] = {
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
"""What every response has; the request's own words replace it."""
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reasons for which an answer is not complete, under their names here."""
EVENT = b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b\n\n'
DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",%b,"sequence_number":'


def response_id(id: str) -> str:
    """What the response to a turn is called."""
    return f"resp_{id}"


def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }


def part_json(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ResponseEventEncoder:
    """Encodes one streamed response. `id` is that of the turn, from which all others are made.

    A message is open while there are words; a tool call or the end closes it. Its pieces are kept as the
    JSON that was sent, so that the deltas and the whole text are the same down to the last byte.
    """

    keepalive = KEEPALIVE

    def __init__(self, id: str, model: str, created: int, echo: Mapping[str, Any]) -> None:
        self.id = id
        self.response = {
            "id": response_id(id),
            "object": "response",
            "created_at": created,
            "model": model,
            **SHAPE,
            **echo,
        }
        self.number = 0
        self.output: list[dict[str, Any]] = []
        self.place: dict[str, Any] = {}
        self.head = b""
        self.pieces: list[bytes] = []

    def start(self, words: str) -> bytes:
        """The response itself, and our own words if there are any."""
        body = dumps({"response": {**self.response, "status": "in_progress", "output": []}})
        created = self._event(b"response.created", body) + self._event(b"response.in_progress", body)
        return created + self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        if not delta:
            return b""
        opening = b"" if self.head else self._open()
        number, self.number = self.number, self.number + 1
        piece = dumps(delta)
        self.pieces.append(piece[1:-1])
        return b'%b%b%d,"delta":%b}\n\n' % (opening, self.head, number, piece)

    def tool_call(self, call: ToolCall) -> bytes:
        """A tool call is an item of its own; its arguments come whole, in one delta."""
        closing = self._close("completed")
        index, id = len(self.output), f"fc_{self.id}_{len(self.output)}"
        place = {"item_id": id, "output_index": index}
        item = {"id": id, "type": "function_call", "call_id": call.id, "name": call.name}
        begun = {**item, "status": "in_progress", "arguments": ""}
        whole = {**item, "status": "completed", "arguments": call.arguments}
        self.output.append(whole)
        arguments = {**place, "name": call.name, "arguments": call.arguments}
        return b"".join(
            (
                closing,
                self._say(b"response.output_item.added", output_index=index, item=begun),
                self._say(b"response.function_call_arguments.delta", **place, delta=call.arguments),
                self._say(b"response.function_call_arguments.done", **arguments),
                self._say(b"response.output_item.done", output_index=index, item=whole),
            )
        )

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """The end of what is open, a comment if there is a note, and last the response as it became."""
        closing = self.close_items(reason)
        comment = f": {note}\n\n".encode() if note else b""
        response = self.result(reason, usage)
        return closing + comment + self._say(f"response.{response['status']}".encode(), response=response)

    def close_items(self, reason: str) -> bytes:
        """The end of the last item. An answer without a word is one empty message: clients look for one."""
        opening = b"" if self.head or self.output else self._open()
        return opening + self._close(_status(reason))

    def result(self, reason: str, usage: Usage | None) -> dict[str, Any]:
        """The response as it became."""
        why = INCOMPLETE.get(reason)
        return {
            **self.response,
            "status": _status(reason),
            "incomplete_details": {"reason": why} if why else None,
            "output": self.output,
            "usage": usage_json(usage or Usage()),
        }

    def _open(self) -> bytes:
        """A new message, of which nothing is known yet."""
        id, index = f"msg_{self.id}_{len(self.output)}", len(self.output)
        self.place = {"item_id": id, "output_index": index, "content_index": 0}
        self.head = DELTA % dumps({**self.place, "logprobs": []})[1:-1]
        self.pieces = []
        return self._say(
            b"response.output_item.added", output_index=index, item=self._message("in_progress")
        ) + self._say(b"response.content_part.added", **self.place, part=part_json(""))

    def _close(self, status: str) -> bytes:
        """The end of the message, if one is open."""
        if not self.head:
            return b""
        text: str = loads(b'"%b"' % b"".join(self.pieces))
        item = self._message(status, part_json(text))
        self.head = b""
        self.output.append(item)
        return b"".join(
            (
                self._say(b"response.output_text.done", **self.place, text=text, logprobs=[]),
                self._say(b"response.content_part.done", **self.place, part=part_json(text)),
                self._say(b"response.output_item.done", output_index=self.place["output_index"], item=item),
            )
        )

    def _message(self, status: str, *content: dict[str, Any]) -> dict[str, Any]:
        id = self.place["item_id"]
        return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _say(self, kind: bytes, **fields: Any) -> bytes:
        return self._event(kind, dumps(fields))

    def _event(self, kind: bytes, body: bytes) -> bytes:
        number, self.number = self.number, self.number + 1
        return EVENT % (kind, kind, number, body[1:])


def encode_response(id: str, model: str, created: int, echo: Mapping[str, Any], answer: Completion) -> bytes:
    """The answer to a request that did not ask for a stream: what the stream's last event would hold."""
    events = ResponseEventEncoder(id, model, created, echo)
    for said in answer.said:
        events.text_delta(said) if isinstance(said, str) else events.tool_call(said)
    events.close_items(answer.reason)
    return dumps(events.result(answer.reason, answer.usage))


def _status(reason: str) -> str:
    return "incomplete" if reason in INCOMPLETE else "completed"
