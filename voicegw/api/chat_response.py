"""Chat completions as we answer them: chunks, whole answers, lists and errors as bytes.

One template per turn: a text chunk is a prebuilt head, the delta as JSON and a prebuilt tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voicegw.events import ToolCall, Usage
from voicegw.wire.json import dumps
from voicegw.wire.openai import KEEPALIVE

DONE = b"data: [DONE]\n\n"
SLOT = "\x00"


def usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def call_json(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


class ChunkEncoder:
    """Encodes one streamed answer. Source of the shape: OpenAI's chat.completion.chunk."""

    keepalive = KEEPALIVE

    def __init__(self, id: str, model: str, created: int, *, usage: bool = False) -> None:
        self.envelope = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        self.wants_usage = usage
        self.calls = 0
        self.head, self.tail = self._chunk({"content": SLOT}).rsplit(dumps(SLOT), 1)

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return b"data: " + dumps({**self.envelope, "choices": [choice]}) + b"\n\n"

    def start(self, words: str) -> bytes:
        """The first chunk: the role, and our own words if there are any."""
        return self.head.replace(b'{"content":', b'{"role":"assistant","content":') + dumps(words) + self.tail

    def text_delta(self, delta: str) -> bytes:
        return self.head + dumps(delta) + self.tail

    def tool_call(self, call: ToolCall) -> bytes:
        """A tool call, whole, in one chunk; indexes count from 0."""
        index, self.calls = self.calls, self.calls + 1
        return self._chunk({"tool_calls": [{"index": index, **call_json(call)}]})

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """The finish chunk, the usage chunk if it was asked for, a comment if there is a note, `[DONE]`."""
        parts = [self._chunk({}, reason)]
        if self.wants_usage:
            body = {**self.envelope, "choices": [], "usage": usage_json(usage or Usage())}
            parts.append(b"data: " + dumps(body) + b"\n\n")
        if note:
            parts.append(f": {note}\n\n".encode())
        parts.append(DONE)
        return b"".join(parts)


def encode_completion(
    id: str, model: str, created: int, text: str, calls: Sequence[ToolCall], reason: str, usage: Usage | None
) -> bytes:
    """The answer to a request that did not ask for a stream."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
    if calls:
        message["tool_calls"] = [call_json(call) for call in calls]
    elif not text:
        message["content"] = ""
    body = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": usage_json(usage or Usage()),
    }
    return dumps(body)
