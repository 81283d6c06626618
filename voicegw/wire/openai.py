"""Parts of OpenAI's formats that several endpoints and agents share. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from voicegw.errors import BadRequest, RequestError, VoicegwError
from voicegw.events import Message, Tool, ToolCall
from voicegw.wire.json import dumps
from voicegw.wire.validation import NULL, NUMBER, check_length, field, map_objects, printable

SAMPLING: Mapping[str, tuple[type, ...]] = {
    "frequency_penalty": NUMBER,
    "logit_bias": (dict, NULL),
    "max_completion_tokens": (int, NULL),
    "max_tokens": (int, NULL),
    "parallel_tool_calls": (bool, NULL),
    "presence_penalty": NUMBER,
    "prompt_cache_key": (str, NULL),
    "reasoning_effort": (str, NULL),
    "response_format": (dict, NULL),
    "safety_identifier": (str, NULL),
    "seed": (int, NULL),
    "service_tier": (str, NULL),
    "stop": (str, list, NULL),
    "temperature": NUMBER,
    "top_p": NUMBER,
    "user": (str, NULL),
    "verbosity": (str, NULL),
}
"""The fields that pass to agents as options, and the types they may have.

`metadata` and `store` are not among them: voice platforms put the caller's data there, which is not for
whoever runs the model. Both are in `extra`.
"""


MAX_TOOLS = 512


TEXTS = frozenset({"text", "input_text", "output_text"})
"""The kinds of content parts that are text, in either of OpenAI's protocols."""


def parse_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling fields of a request."""
    found = {
        key: field(data, key, *SAMPLING[key])
        for key, value in data.items()
        if key in SAMPLING and value is not None
    }
    for key in ("max_tokens", "max_completion_tokens"):
        if found.get(key, 1) < 1:
            raise BadRequest(f"'{key}' must be at least 1.", param=key)
    return found


def parse_content(given: str | list[Any] | None, path: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """A message's text, and its parts if they are more than text."""
    if given is None or isinstance(given, str):
        return given or "", ()
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in given]
    texts = [text for text in map_objects(parts, f"{path}content", _part) if text is not None]
    return "\n".join(texts), () if len(texts) == len(parts) else tuple(parts)


def _part(data: dict[str, Any], path: str) -> str | None:
    """The text of a content part, None for a part of another kind."""
    if field(data, "type", str, path=path) not in TEXTS:
        return None
    return str(field(data, "text", str, path=path))


def parse_tools(
    data: Mapping[str, Any], read: Callable[[dict[str, Any], str], Tool | None]
) -> tuple[Tool, ...]:
    """The function tools that a request offers; the other kinds only OpenAI itself could run."""
    if not (given := check_length(field(data, "tools", list, NULL) or [], "tools", MAX_TOOLS)):
        return ()
    return tuple(tool for tool in map_objects(given, "tools", read) if tool is not None)


def parse_tool(function: dict[str, Any], path: str) -> Tool:
    """One function tool."""
    return Tool(
        name=printable(field(function, "name", str, path=path), f"{path}name", 128),
        description=field(function, "description", str, NULL, path=path) or "",
        parameters=field(function, "parameters", dict, NULL, path=path) or {},
        strict=field(function, "strict", bool, NULL, path=path),
    )


KEEPALIVE = b": keep-alive\n\n"


def error_body(failure: VoicegwError) -> bytes:
    """OpenAI's error envelope."""
    param = failure.param if isinstance(failure, RequestError) else None
    return dumps(
        {"error": {"message": failure.message, "type": failure.type, "param": param, "code": failure.code}}
    )


def merge_assistant(items: Iterable[Message | ToolCall | None]) -> list[Message]:
    """Calls and words of one answer are one message: many servers want a call's result right behind it."""
    found: list[Message] = []
    for item in items:
        last = found[-1] if found and found[-1].role == "assistant" else None
        if isinstance(item, ToolCall):
            if last is None:
                found.append(last := Message("assistant"))
            found[-1] = replace(last, tool_calls=(*last.tool_calls, item))
        elif item is not None and last is not None and last.tool_calls and item.role == "assistant":
            found[-1] = replace(last, text=last.text + item.text)
        elif item is not None:
            found.append(item)
    return found
