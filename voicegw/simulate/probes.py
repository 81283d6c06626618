"""Checks of the answers to single requests: a refusal, a completion without stream, a stream. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from voicegw.simulate.chat_reader import ChatReader
from voicegw.wire.json import loads_object

ProbeFunction: TypeAlias = Callable[[int, str, bytes], str]
"""Returns the flaw of an answer (status, content type, body) in a sentence; "" if it has none."""


def check_refusal(status: int, content_type: str, body: bytes) -> str:
    """Check the answer to a wrong key: status 401, and an error object with `message` and `type`."""
    if status != 401:
        return f"a wrong key was answered with status {status}, not 401"
    error = (loads_object(body) or {}).get("error")
    if not isinstance(error, dict):
        return "the body has no error object"
    missing = [key for key in ("message", "type") if not isinstance(error.get(key), str) or not error[key]]
    return f"error.{missing[0]} is missing" if missing else ""


def check_completion(status: int, content_type: str, body: bytes) -> str:
    """Check the answer to a request with `stream: false`: one `chat.completion` with a message."""
    if status != 200 or "json" not in content_type.lower():
        return f"stream: false was answered with status {status} and content-type {content_type[:60]!r}"
    completion = loads_object(body) or {}
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if (
        completion.get("object") != "chat.completion"
        or not isinstance(choice, dict)
        or not isinstance(message, dict)
    ):
        return "no chat.completion with choices[0].message"
    content = message.get("content")
    if not (isinstance(content, str) and content.strip()) and not message.get("tool_calls"):
        return "choices[0].message has neither content nor tool_calls"
    return "" if isinstance(choice.get("finish_reason"), str) else "choices[0].finish_reason is missing"


def check_stream(status: int, content_type: str, body: bytes) -> str:
    """Check that an answer has text or a tool call. The quality of the stream is checked elsewhere."""
    if status != 200:
        return f"status {status}"
    reader = ChatReader()
    reader.feed(body)
    return "" if reader.has_output else "neither text nor a tool call"
