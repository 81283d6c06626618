"""What to look for in single answers: a refusal, an answer in one piece, a whole stream. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from voicegw.simulate.chat_reader import Reading
from voicegw.wire.json import loads

Look: TypeAlias = Callable[[int, str, bytes], str]
"""What is wrong with an answer (status, content type, body), "" if nothing is."""


def refused(status: int, media: str, body: bytes) -> str:
    """Is this how a wrong key is answered?"""
    if status != 401:
        return f"a wrong key was answered with status {status}, not 401"
    error = _object(body).get("error")
    if not isinstance(error, dict):
        return "the body has no error object"
    wrong = [key for key in ("message", "type") if not isinstance(error.get(key), str) or not error[key]]
    return f"error.{wrong[0]} is missing" if wrong else ""


def complete(status: int, media: str, body: bytes) -> str:
    """Is this an answer in one piece?"""
    if status != 200 or "json" not in media.lower():
        return f"stream: false was answered with status {status} and content-type {media[:60]!r}"
    answer = _object(body)
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if (
        answer.get("object") != "chat.completion"
        or not isinstance(choice, dict)
        or not isinstance(message, dict)
    ):
        return "no chat.completion with choices[0].message"
    content = message.get("content")
    if not (isinstance(content, str) and content.strip()) and not message.get("tool_calls"):
        return "choices[0].message has neither content nor tool_calls"
    return "" if isinstance(choice.get("finish_reason"), str) else "choices[0].finish_reason is missing"


def streamed(status: int, media: str, body: bytes) -> str:
    """Does anybody answer here? How well is judged elsewhere."""
    if status != 200:
        return f"status {status}"
    reading = Reading()
    reading.feed(body)
    return "" if reading.began else "neither words nor a tool call"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
