"""A linter of chat completion streams, byte by byte: it accepts only what every tested client can read."""

from __future__ import annotations

import json
from typing import Any

CHUNK_KEYS = {"id", "object", "created", "model", "choices"}
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter"}


def lint(stream: bytes, *, usage: bool = False) -> list[dict[str, Any]]:
    """Assert that `stream` is a well-formed chat stream; return its chunks."""
    assert b"\r" not in stream
    assert stream.endswith(b"data: [DONE]\n\n"), "nothing may follow [DONE], and it must be there"
    *events, last = stream.split(b"\n\n")
    assert last == b""
    found: list[dict[str, Any]] = []
    for event in events[:-1]:
        assert event.count(b"\n") == 0, f"an event is one line: {event!r}"
        if not event.startswith(b": "):
            assert event.startswith(b"data: {"), f"only data and comments: {event!r}"
            found.append(json.loads(event[6:]))
    _lint_chunks(found, usage)
    _lint_calls(found)
    return found


def lint_failed(stream: bytes) -> dict[str, Any]:
    """Assert that `stream` is well-formed up to an error in place of its finish; return the error."""
    *chunks, error, done, last = stream.split(b"\n\n")
    assert (done, last) == (b"data: [DONE]", b"")
    finish = {
        **json.loads(chunks[0][6:]),
        "choices": [{"index": 0, "delta": {}, "finish_reason": "length", "logprobs": None}],
    }
    lint(b"\n\n".join([*chunks, b"data: " + json.dumps(finish).encode(), done, last]))
    found: dict[str, Any] = json.loads(error.removeprefix(b"data: "))
    assert found.keys() == {"error"}
    assert found["error"].keys() == {"message", "type", "param", "code"}
    return dict(found["error"])


def _lint_chunks(found: list[dict[str, Any]], usage: bool) -> None:
    for chunk in found:
        assert chunk.keys() - {"usage"} == CHUNK_KEYS
        assert [chunk[key] for key in ("id", "object", "created", "model")] == [
            found[0][key] for key in ("id", "object", "created", "model")
        ]
        for choice in chunk["choices"]:
            assert choice.keys() == {"index", "delta", "finish_reason", "logprobs"}
            assert choice["index"] == 0
    assert found[0]["object"] == "chat.completion.chunk"
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk for chunk in found if "usage" in chunk] == (found[-1:] if usage else [])
    finish = found[-2 if usage else -1]["choices"][0]
    assert finish["delta"] == {}
    assert finish["finish_reason"] in FINISH_REASONS
    reasons = [choice["finish_reason"] for chunk in found for choice in chunk["choices"]]
    assert [reason for reason in reasons if reason] == [finish["finish_reason"]], (
        "one reason, in its own chunk"
    )
    if usage:
        assert found[-1]["choices"] == []
        counts = found[-1]["usage"]
        assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]


def _lint_calls(found: list[dict[str, Any]]) -> None:
    deltas = [choice["delta"] for chunk in found for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [call["index"] for call in calls] == list(range(len(calls)))
    for delta in deltas:
        assert len(delta.get("tool_calls", [])) <= 1
    for call in calls:
        assert call["type"] == "function"
        assert call["id"]
        assert call["function"]["name"]
        assert isinstance(json.loads(call["function"]["arguments"]), dict)
    if calls:
        reasons = [choice["finish_reason"] for chunk in found for choice in chunk["choices"]]
        assert reasons[-1] in ("tool_calls", "length")
