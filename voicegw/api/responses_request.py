"""A request of the Responses API as it arrives: bytes in, the same `ApiRequest` out as for chat completions.

What agents are told has one form, that of chat completions: items become messages, flat tools and the
nested `text` and `reasoning` become tools and options under their names there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from voicegw.api.chat_request import ApiRequest
from voicegw.errors import BadRequest
from voicegw.events import Message, Role, Tool, ToolCall
from voicegw.wire import openai
from voicegw.wire.openai import SAMPLING, TEXTS, merge_assistant
from voicegw.wire.validation import NULL, check_length, field, map_objects, parse_object, printable

ROLES = frozenset({"assistant", "developer", "system", "user"})
OURS = frozenset(
    {
        "input",
        "instructions",
        "max_output_tokens",
        "model",
        "previous_response_id",
        "reasoning",
        "store",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
    }
)
ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
)
"""What a response says again of the request that it answers."""
MAX_ID_LENGTH = 256

Choice = str | Mapping[str, Any] | None


def parse(body: bytes, *, max_messages: int, max_depth: int) -> ApiRequest:
    """Read a request body with at most so many items, nested at most so deep."""
    data = parse_object(body, max_depth)
    instructions = field(data, "instructions", str, NULL)
    opening = (Message("system", instructions),) if instructions else ()
    previous = printable(
        field(data, "previous_response_id", str, NULL) or "", "previous_response_id", MAX_ID_LENGTH
    )
    tools, choice = _choose(field(data, "tool_choice", str, dict, NULL), openai.parse_tools(data, _tool))
    return ApiRequest(
        model=printable(field(data, "model", str, NULL) or "", "model", 256),
        messages=(*opening, *_input(data, max_messages, needed=not previous)),
        stream=bool(field(data, "stream", bool, NULL)),
        wants_usage=True,
        tools=tools,
        tool_choice=choice,
        options=_options(data),
        extra={key: value for key, value in data.items() if key not in OURS and key not in SAMPLING},
        instruction_count=len(opening),
        previous_response_id=previous or None,
        store=field(data, "store", bool, NULL) is not False,
        echoed_fields={key: data[key] for key in ECHOED if data.get(key) is not None},
    )


def _options(data: Mapping[str, Any]) -> dict[str, Any]:
    most = field(data, "max_output_tokens", int, NULL)
    if most is not None and most < 1:
        raise BadRequest("'max_output_tokens' must be at least 1.", param="max_output_tokens")
    reasoning = field(data, "reasoning", dict, NULL) or {}
    text = field(data, "text", dict, NULL) or {}
    found = {
        "max_tokens": most,
        "reasoning_effort": field(reasoning, "effort", str, NULL, path="reasoning."),
        "response_format": _format(field(text, "format", dict, NULL, path="text.")),
        "verbosity": field(text, "verbosity", str, NULL, path="text."),
    }
    return openai.parse_options(data) | {name: value for name, value in found.items() if value is not None}


def _format(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The form of the answer, as chat completions name it."""
    kind = None if data is None else field(data, "type", str, path="text.format.")
    if data is None or kind == "text":
        return None
    if kind != "json_schema":
        return dict(data)
    return {"type": kind, "json_schema": {name: value for name, value in data.items() if name != "type"}}


def _tool(data: dict[str, Any], path: str) -> Tool | None:
    return openai.parse_tool(data, path) if field(data, "type", str, path=path) == "function" else None


def _choose(choice: Choice, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], Choice]:
    """The tools that may be called, and which of them must be."""
    if not isinstance(choice, Mapping):
        return tools, choice
    path = "tool_choice."
    kind = field(choice, "type", str, path=path)
    if kind == "function":
        return tools, {"type": kind, "function": {"name": field(choice, "name", str, path=path)}}
    if kind != "allowed_tools":
        return tools, None
    allowed = map_objects(
        field(choice, "tools", list, path=path), f"{path}tools", lambda tool, _: tool.get("name")
    )
    return tuple(tool for tool in tools if tool.name in allowed), field(choice, "mode", str, path=path)


def _input(data: Mapping[str, Any], most: int, *, needed: bool) -> list[Message]:
    given = field(data, "input", str, list, *(() if needed else (NULL,)))
    if isinstance(given, str):
        return [Message("user", given)]
    found = merge_assistant(map_objects(check_length(given or [], "input", most), "input", _item))
    if needed and not found:
        raise BadRequest("'input' must hold at least one message.", param="input")
    return found


def _item(data: dict[str, Any], path: str) -> Message | ToolCall | None:
    """A message or a call; None for what is no business of an agent's, such as reasoning."""
    kind = field(data, "type", str, NULL, path=path) or "message"
    if kind == "item_reference":
        raise BadRequest(f"'{path}type': references are not kept; send the item itself.", param=f"{path}type")
    if kind == "function_call":
        return ToolCall(
            field(data, "call_id", str, path=path),
            field(data, "name", str, path=path),
            field(data, "arguments", str, NULL, path=path) or "{}",
        )
    if kind == "function_call_output":
        text, parts = _content(data, "output", path)
        return Message("tool", text, parts, tool_call_id=field(data, "call_id", str, path=path))
    return _message(data, path) if kind == "message" else None


def _message(data: dict[str, Any], path: str) -> Message:
    role = field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(sorted(ROLES))}.", param=f"{path}role")
    return Message(cast(Role, role), *_content(data, "content", path))


def _content(data: dict[str, Any], key: str, path: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    given = field(data, key, str, list, path=path)
    if isinstance(given, list):
        given = map_objects(given, f"{path}{key}", _part)
    return openai.parse_content(given, path)


def _part(data: dict[str, Any], path: str) -> dict[str, Any]:
    """A content part as chat completions have it."""
    kind = field(data, "type", str, path=path)
    if kind in TEXTS:
        return {"type": "text", "text": field(data, "text", str, path=path)}
    if kind == "refusal":
        return {"type": "text", "text": field(data, "refusal", str, path=path)}
    if kind == "input_image" and data.get("image_url"):
        detail = {"detail": data["detail"]} if data.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": field(data, "image_url", str, path=path), **detail}}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in data.items() if name != "type"}}
    return data
