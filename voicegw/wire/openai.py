"""Parts of OpenAI's formats that several endpoints and agents share. Pure.

Source: https://platform.openai.com/docs/api-reference/chat/create and .../responses/create. The whole bodies
are parsed in `voicegw.api`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from voicegw.errors import RequestError, VoicegwError
from voicegw.events import Message, Tool, ToolCall
from voicegw.wire.json import dumps
from voicegw.wire.validation import NULL, NUMBER, check_length, check_printable, get_field, map_objects

SAMPLING_FIELDS: Mapping[str, tuple[type, ...]] = {
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
"""The fields that pass to agents as options, and the types that they may have.

`metadata` and `store` are missing: voice platforms put the caller's data there, which a model's provider
must not receive. Both are in `Turn.extra`.
"""

MAX_TOOLS = 512
"""Maximum number of tools in a request."""

TEXT_PART_TYPES = frozenset({"text", "input_text", "output_text"})
"""The types of content parts that are text, in chat completions and in Responses."""

CANCELLED = "cancelled"
"""The reason of an answer that the gateway cut. OpenAI has no such reason: each encoder has its own word."""
KEEPALIVE = b": keep-alive\n\n"
"""A comment that keeps a silent event stream alive."""


def parse_options(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling fields of a request body, without those that are null.

    A token limit below 1 is left out: clients of llama.cpp and others send -1 or 0 for no limit. Raise
    BadRequest for a value of another type.
    """
    options = {
        key: get_field(data, key, *SAMPLING_FIELDS[key])
        for key, value in data.items()
        if key in SAMPLING_FIELDS and value is not None
    }
    for key in ("max_tokens", "max_completion_tokens"):
        if options.get(key, 1) < 1:
            del options[key]
    return options


def parse_content(content: str | list[Any] | None, path: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Return a message's text, and its content parts if they hold more than text.

    `content` is the message's field, `path` the message's path for errors. Raise BadRequest for a malformed
    part.
    """
    if content is None or isinstance(content, str):
        return content or "", ()
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    texts = [text for text in map_objects(parts, f"{path}content", _part_text) if text is not None]
    return "\n".join(texts), () if len(texts) == len(parts) else tuple(parts)


def _part_text(data: dict[str, Any], path: str) -> str | None:
    """Return the text of a content part; None for a part that is not text."""
    if get_field(data, "type", str, path=path) not in TEXT_PART_TYPES:
        return None
    return str(get_field(data, "text", str, path=path))


def parse_tools(
    data: Mapping[str, Any], parse: Callable[[dict[str, Any], str], Tool | None]
) -> tuple[Tool, ...]:
    """Return the function tools of a request body. Only OpenAI itself could run tools of other types.

    `parse` returns the tool of one object, which has the given path, or None for another type. Raise
    BadRequest for more than `MAX_TOOLS` tools and for an entry that is not an object. Pass on the exceptions
    of `parse`.
    """
    if not (tools := check_length(get_field(data, "tools", list, NULL) or [], "tools", MAX_TOOLS)):
        return ()
    return tuple(tool for tool in map_objects(tools, "tools", parse) if tool is not None)


def parse_tool(function: dict[str, Any], path: str) -> Tool:
    """Return one function tool. Raise BadRequest for a field of another type, and for an unusable name."""
    return Tool(
        name=check_printable(get_field(function, "name", str, path=path), f"{path}name", 128),
        description=get_field(function, "description", str, NULL, path=path) or "",
        parameters=get_field(function, "parameters", dict, NULL, path=path) or {},
        strict=get_field(function, "strict", bool, NULL, path=path),
    )


def encode_error(failure: VoicegwError) -> bytes:
    """Return OpenAI's error envelope as JSON."""
    param = failure.param if isinstance(failure, RequestError) else None
    return dumps(
        {"error": {"message": failure.message, "type": failure.type, "param": param, "code": failure.code}}
    )


def merge_assistant(items: Iterable[Message | ToolCall | None]) -> list[Message]:
    """Return the messages with the tool calls and the text of one answer merged into one message.

    Many servers require a tool's result directly after the message with the tool call. None is skipped.
    """
    messages: list[Message] = []
    for item in items:
        last = messages[-1] if messages and messages[-1].role == "assistant" else None
        if isinstance(item, ToolCall):
            if last is None:
                messages.append(last := Message("assistant"))
            messages[-1] = replace(last, tool_calls=(*last.tool_calls, item))
        elif item is not None and last is not None and last.tool_calls and item.role == "assistant":
            messages[-1] = replace(last, text=last.text + item.text)
        elif item is not None:
            messages.append(item)
    return messages
