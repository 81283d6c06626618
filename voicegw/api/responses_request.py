"""Parses requests of the Responses API into the `ApiRequest` that chat completions use too. Pure.

Agents know one format, that of chat completions. So items become messages, and flat tools and the nested
`text` and `reasoning` become tools and options under their names in chat completions.
Source: OpenAI's API reference, "Create a model response".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from voicegw.api.chat_request import ApiRequest
from voicegw.api.stored_items import FindResponse, StoredItems
from voicegw.errors import BadRequest
from voicegw.events import Message, Role, Tool, ToolCall
from voicegw.wire import openai
from voicegw.wire.openai import SAMPLING_FIELDS, TEXT_PART_TYPES, merge_assistant
from voicegw.wire.validation import NULL, check_length, check_printable, get_field, map_objects, parse_object

ROLES = frozenset({"assistant", "developer", "system", "user"})
"""The roles that a message item may have."""
KNOWN_KEYS = frozenset(
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
"""The fields that are neither sampling options nor `extra`."""
ECHOED_FIELDS = (
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
"""The fields of a request that its response repeats."""
MAX_ID_LENGTH = 256
"""Limit of `previous_response_id` in characters."""

ToolChoice = str | Mapping[str, Any] | None


def parse(body: bytes, *, max_messages: int, max_depth: int, find_response: FindResponse) -> ApiRequest:
    """Return the request in a body.

    Raise `BadRequest` for invalid JSON, a field of a wrong type, a conversation or prompt that only OpenAI
    has, more than `max_messages` items, or more than `max_depth` levels of nesting. Raise `ItemNotFound` for
    a reference to an item that is not stored.
    """
    data = parse_object(body, max_depth)
    _check_no_server_state(data)
    instructions = get_field(data, "instructions", str, NULL)
    leading = (Message("system", instructions),) if instructions else ()
    previous = check_printable(
        get_field(data, "previous_response_id", str, NULL) or "", "previous_response_id", MAX_ID_LENGTH
    )
    tools, choice = _select_tools(
        get_field(data, "tool_choice", str, dict, NULL), openai.parse_tools(data, _tool)
    )
    return ApiRequest(
        model=check_printable(get_field(data, "model", str, NULL) or "", "model", 256),
        messages=(*leading, *_input(data, max_messages, StoredItems(find_response), required=not previous)),
        stream=bool(get_field(data, "stream", bool, NULL)),
        wants_usage=True,
        tools=tools,
        tool_choice=choice,
        options=_options(data),
        extra={
            key: value for key, value in data.items() if key not in KNOWN_KEYS and key not in SAMPLING_FIELDS
        },
        instruction_count=len(leading),
        previous_response_id=previous or None,
        store=get_field(data, "store", bool, NULL) is not False,
        echoed_fields=_echoed_fields(data),
    )


def _echoed_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the response repeats. The token limit is an integer there, or null."""
    fields = {key: data[key] for key in ECHOED_FIELDS if data.get(key) is not None}
    return {**fields, "max_output_tokens": _max_tokens(data)} if "max_output_tokens" in fields else fields


def _check_no_server_state(data: Mapping[str, Any]) -> None:
    """Raise BadRequest for an object that OpenAI's servers keep: without it the agent lacks its context."""
    if data.get("conversation") is not None:
        raise BadRequest(
            "'conversation' is not supported: use 'previous_response_id', or send all messages in 'input'.",
            param="conversation",
        )
    if isinstance(data.get("prompt"), dict):
        raise BadRequest(
            "'prompt' is not supported: send its text in 'instructions' or 'input'.", param="prompt"
        )


def _options(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling options under their names in chat completions."""
    reasoning = get_field(data, "reasoning", dict, NULL) or {}
    text = get_field(data, "text", dict, NULL) or {}
    options = {
        "max_tokens": _max_tokens(data),
        "reasoning_effort": get_field(reasoning, "effort", str, NULL, path="reasoning."),
        "response_format": _response_format(get_field(text, "format", dict, NULL, path="text.")),
        "verbosity": get_field(text, "verbosity", str, NULL, path="text."),
    }
    return openai.parse_options(data) | {name: value for name, value in options.items() if value is not None}


def _max_tokens(data: Mapping[str, Any]) -> int | None:
    """Return the token limit; None without one. Below 1 it means no limit, as in chat completions."""
    limit = get_field(data, "max_output_tokens", int, NULL)
    return None if limit is None or limit < 1 else int(limit)


def _response_format(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return `text.format` as the `response_format` of chat completions; None for plain text."""
    kind = None if data is None else get_field(data, "type", str, path="text.format.")
    if data is None or kind == "text":
        return None
    if kind != "json_schema":
        return dict(data)
    return {"type": kind, "json_schema": {name: value for name, value in data.items() if name != "type"}}


def _tool(data: dict[str, Any], path: str) -> Tool | None:
    """Return a function tool; None for a tool of another type, which only OpenAI could run."""
    return openai.parse_tool(data, path) if get_field(data, "type", str, path=path) == "function" else None


def _select_tools(choice: ToolChoice, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Return the tools that the agent may call, and the tool choice as chat completions have it."""
    if not isinstance(choice, Mapping):
        return tools, choice
    path = "tool_choice."
    kind = get_field(choice, "type", str, path=path)
    if kind == "function":
        return tools, {"type": kind, "function": {"name": get_field(choice, "name", str, path=path)}}
    if kind != "allowed_tools":
        return tools, None
    allowed = map_objects(
        get_field(choice, "tools", list, path=path), f"{path}tools", lambda tool, _: tool.get("name")
    )
    return tuple(tool for tool in tools if tool.name in allowed), get_field(choice, "mode", str, path=path)


def _input(
    data: Mapping[str, Any], max_items: int, stored_items: StoredItems, *, required: bool
) -> list[Message]:
    """Return the messages of `input`. Without `required`, it may be missing or empty."""
    items = get_field(data, "input", str, list, *(() if required else (NULL,)))
    if isinstance(items, str):
        return [Message("user", items)]
    check_length(items or [], "input", max_items)
    messages = merge_assistant(
        map_objects(items or [], "input", lambda item, path: _item(item, path, stored_items))
    )
    if required and not messages:
        raise BadRequest("'input' must hold at least one message.", param="input")
    return messages


def _item(data: dict[str, Any], path: str, stored_items: StoredItems) -> Message | ToolCall | None:
    """Return an item as a message or tool call; None for items that agents do not need, such as reasoning."""
    default = "item_reference" if data.keys() - {"type"} == {"id"} else "message"
    kind = get_field(data, "type", str, NULL, path=path) or default
    if kind == "item_reference":
        return stored_items.find(get_field(data, "id", str, path=path), f"{path}id")
    if kind == "function_call":
        return ToolCall(
            get_field(data, "call_id", str, path=path),
            get_field(data, "name", str, path=path),
            get_field(data, "arguments", str, NULL, path=path) or "{}",
        )
    if kind == "function_call_output":
        text, parts = _content(data, "output", path)
        return Message("tool", text, parts, tool_call_id=get_field(data, "call_id", str, path=path))
    return _message(data, path) if kind == "message" else None


def _message(data: dict[str, Any], path: str) -> Message:
    role = get_field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(sorted(ROLES))}.", param=f"{path}role")
    return Message(cast(Role, role), *_content(data, "content", path))


def _content(data: dict[str, Any], key: str, path: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Return the text of a string or list of parts, and the parts if they are more than text."""
    content = get_field(data, key, str, list, path=path)
    if isinstance(content, list):
        content = map_objects(content, f"{path}{key}", _part)
    return openai.parse_content(content, path)


def _part(data: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a content part as chat completions have it. Unknown types stay as they are."""
    kind = get_field(data, "type", str, path=path)
    if kind in TEXT_PART_TYPES:
        return {"type": "text", "text": get_field(data, "text", str, path=path)}
    if kind == "refusal":
        return {"type": "text", "text": get_field(data, "refusal", str, path=path)}
    if kind == "input_image" and data.get("image_url"):
        detail = {"detail": data["detail"]} if data.get("detail") else {}
        url = get_field(data, "image_url", str, path=path)
        return {"type": "image_url", "image_url": {"url": url, **detail}}
    if kind == "input_file":
        return {"type": "file", "file": {name: value for name, value in data.items() if name != "type"}}
    return data
