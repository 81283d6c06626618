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
PLACEHOLDER = "\x00"
"""Stands for the delta while the template is built.

A model name may hold it too; the model name comes first, so the last occurrence is the delta.
"""


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
        # The fields that all chunks share. `created` is in seconds since 1970.
        self.envelope = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        # True: a usage chunk follows the finish chunk.
        self.include_usage = include_usage
        # Tool calls so far, which gives the next one its index.
        self.tool_call_count = 0
        # The bytes around the delta of a text chunk.
        template = self._encode_chunk({"content": PLACEHOLDER})
        self.delta_head, self.delta_tail = template.rsplit(dumps(PLACEHOLDER), 1)

    def _encode_chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return b"data: " + dumps({**self.envelope, "choices": [choice]}) + b"\n\n"

    def start(self, words: str) -> bytes:
        """Return the first chunk, with the role and the gateway's own words, which may be ""."""
        head = self.delta_head.replace(b'{"content":', b'{"role":"assistant","content":')
        return head + dumps(words) + self.delta_tail

    def text_delta(self, delta: str) -> bytes:
        """Return a text chunk."""
        return self.delta_head + dumps(delta) + self.delta_tail

    def tool_call(self, call: ToolCall) -> bytes:
        """Return a whole tool call in one chunk. Indexes count from 0."""
        index, self.tool_call_count = self.tool_call_count, self.tool_call_count + 1
        return self._encode_chunk({"tool_calls": [{"index": index, **tool_call_json(call)}]})

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the finish chunk, the usage chunk if requested, the note as a comment, and `[DONE]`."""
        parts = [self._encode_chunk({}, FINISH_REASONS.get(reason, reason))]
        if self.include_usage:
            body = {**self.envelope, "choices": [], "usage": usage_json(usage or Usage())}
            parts.append(b"data: " + dumps(body) + b"\n\n")
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
