"""Encodes chat completions responses: streamed chunks and whole completions. Pure.

The encoder prepares one template for each turn: a text chunk is a prebuilt head, the delta as JSON and a
prebuilt tail.
Source: OpenAI's API reference, "The chat completion object" and "The chat completion chunk object".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voicegw.errors import VoicegwError
from voicegw.events import ToolCall, Usage
from voicegw.wire.json import dumps
from voicegw.wire.openai import CANCELLED, KEEPALIVE, encode_error

FINISH_REASONS = {CANCELLED: "length"}
"""Our reasons that OpenAI does not have, and its word for an answer that is not complete."""
DONE = b"data: [DONE]\n\n"
"""The last event of every stream."""
DELTA_HEAD = b',"choices":[{"index":0,"delta":'
"""The bytes between the fields that all chunks share and the delta."""
DELTA_TAIL = b',"finish_reason":null,"logprobs":null}]}\n\n'
"""The bytes after the delta of a chunk that is not the last."""
TEXT_TAIL = b"}" + DELTA_TAIL
"""The bytes after the text of a text chunk."""


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return the token usage as chat completions have it."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def tool_call_json(call: ToolCall) -> dict[str, Any]:
    """Return a tool call as chat completions have it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


class ChunkEncoder:
    """Encodes one streamed response as chat.completion.chunk events. A `StreamEncoder`."""

    keepalive = KEEPALIVE
    """The bytes that keep a silent stream alive."""

    def __init__(self, id: str, model: str, created: int, *, include_usage: bool = False) -> None:
        # The fields that all chunks share, up to the last one. `created` is in seconds since 1970.
        envelope = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self.envelope = b"data: " + dumps(envelope)[:-1]
        # True: a usage chunk follows the finish chunk.
        self.include_usage = include_usage
        # Tool calls so far, which gives the next one its index.
        self.tool_call_count = 0
        # The bytes before the delta, and before the text of a text chunk.
        self.delta_head = self.envelope + DELTA_HEAD
        self.text_head = self.delta_head + b'{"content":'

    def start(self, words: str) -> bytes:
        """Return the first chunk, with the role and the gateway's own words, which may be ""."""
        return self.delta_head + b'{"role":"assistant","content":' + dumps(words) + b"}" + DELTA_TAIL

    def text_delta(self, delta: str) -> bytes:
        """Return a text chunk."""
        return self.text_head + dumps(delta) + TEXT_TAIL

    def tool_call(self, call: ToolCall) -> bytes:
        """Return a whole tool call in one chunk. Indexes count from 0."""
        index, self.tool_call_count = self.tool_call_count, self.tool_call_count + 1
        delta = {"tool_calls": [{"index": index, **tool_call_json(call)}]}
        return self.delta_head + dumps(delta) + DELTA_TAIL

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the finish chunk, the usage chunk if requested, the note as a comment, and `[DONE]`."""
        reason = FINISH_REASONS.get(reason, reason)
        parts = [b'%b{},"finish_reason":%b,"logprobs":null}]}\n\n' % (self.delta_head, dumps(reason))]
        if self.include_usage:
            counts = dumps(usage_json(usage or Usage()))
            parts.append(b'%b,"choices":[],"usage":%b}\n\n' % (self.envelope, counts))
        if note:
            parts.append(f": {note}\n\n".encode())
        parts.append(DONE)
        return b"".join(parts)

    def fail(self, failure: VoicegwError) -> bytes:
        """Return an error event and `[DONE]`: the end of an answer that failed, without a finish chunk.

        Source: openai-python, `_streaming.py`, raises `APIError` for an event with `error`.
        """
        return b"data: " + encode_error(failure) + b"\n\n" + DONE


def encode_completion(
    id: str,
    model: str,
    created: int,
    text: str,
    tool_calls: Sequence[ToolCall],
    reason: str,
    usage: Usage | None,
) -> bytes:
    """Return a whole completion as JSON. `created` is in seconds since 1970."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if tool_calls:
        message["tool_calls"] = [tool_call_json(call) for call in tool_calls]
    elif not text:
        message["content"] = ""
    reason = FINISH_REASONS.get(reason, reason)
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    body = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage_json(usage or Usage()),
    }
    return dumps(body)
