"""Parses chat completions requests, and defines the `ApiRequest` that both API formats share. Pure.

Unknown fields are kept in `extra`, since platforms add their own. Wrong types are refused with a `BadRequest`
that names the field.
Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from voicegw.errors import BadRequest
from voicegw.events import Message, Role, Tool, ToolCall
from voicegw.wire.json import dumps
from voicegw.wire.openai import SAMPLING_FIELDS, parse_content, parse_options, parse_tool, parse_tools
from voicegw.wire.validation import NULL, check_length, check_printable, get_field, map_objects, parse_object

ROLES = frozenset(get_args(Role))
"""The roles that a message may have."""
KNOWN_KEYS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"})
"""The fields that are neither sampling options nor `extra`."""

CONTENT_SUBSTITUTES = ("tool_calls", "function_call", "refusal", "audio")
"""The fields that an assistant message may have in place of `content`."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request in the terms of chat completions. The fields after `extra` are the Responses API's."""

    model: str
    """The model name, "" if the request has none."""
    messages: tuple[Message, ...]
    """The messages of the request, the oldest first. A stored response may precede them."""
    stream: bool
    """True for a streamed response."""
    wants_usage: bool
    """True if the stream ends with the token usage."""
    tools: tuple[Tool, ...]
    """The function tools that the client offers. Tools of other types are left out."""
    tool_choice: str | Mapping[str, Any] | None
    """The tool that the agent must call, if any."""
    options: Mapping[str, Any]
    """The sampling options, under their names in chat completions."""
    extra: Mapping[str, Any]
    """All other fields of the body."""
    instruction_count: int = 0
    """The number of leading messages that are instructions for this turn only."""
    previous_response_id: str | None = None
    """The response that this request continues."""
    store: bool = False
    """True if a later request may continue the response."""
    echoed_fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The fields of the request that the response repeats."""

    @property
    def is_structured(self) -> bool:
        """Does the request ask for a response format other than text? Such text must not be changed."""
        wanted = self.options.get("response_format") or {}
        return bool(wanted.get("type", "text") != "text")

    @property
    def is_client_task(self) -> bool:
        """Is this a chat client's own request (a title, tags, follow-up questions), not a caller's turn?"""
        return bool(self.messages) and self.messages[-1].text.lstrip().startswith("### Task:")

    @property
    def language(self) -> str | None:
        """The caller's language, a tag of at most 35 characters; None if the platform does not send it.

        Platforms send it as `language` in the body, in `elevenlabs_extra_body` or in `metadata`.
        """
        places = (self.extra, self.extra.get("elevenlabs_extra_body"), self.extra.get("metadata"))
        found = (place.get("language") for place in places if isinstance(place, dict))
        return next((tag for tag in found if isinstance(tag, str) and 0 < len(tag) <= 35), None)


def parse(body: bytes, *, max_messages: int, max_depth: int) -> ApiRequest:
    """Return the request in a body.

    Raise `BadRequest` for invalid JSON, a field of a wrong type, more than `max_messages` messages, or more
    than `max_depth` levels of nesting.
    """
    data = parse_object(body, max_depth)
    if get_field(data, "n", int, NULL) not in (None, 1):
        raise BadRequest("'n' must be 1: the gateway gives one answer.", param="n")
    stream_options = get_field(data, "stream_options", dict, NULL) or {}
    return ApiRequest(
        model=check_printable(get_field(data, "model", str, NULL) or "", "model", 256),
        messages=_messages(data, max_messages),
        stream=bool(get_field(data, "stream", bool, NULL)),
        wants_usage=bool(get_field(stream_options, "include_usage", bool, NULL, path="stream_options.")),
        tools=parse_tools(data, _tool),
        tool_choice=get_field(data, "tool_choice", str, dict, NULL),
        options=parse_options(data),
        extra={
            key: value for key, value in data.items() if key not in KNOWN_KEYS and key not in SAMPLING_FIELDS
        },
    )


def _messages(data: Mapping[str, Any], max_messages: int) -> tuple[Message, ...]:
    messages = get_field(data, "messages", list)
    if not messages:
        raise BadRequest("'messages' must hold at least one message.", param="messages")
    return tuple(map_objects(check_length(messages, "messages", max_messages), "messages", _message))


def _message(data: dict[str, Any], path: str) -> Message:
    role, text = data.get("role"), data.get("content")
    if len(data) == 2 and type(role) is type(text) is str and role in ROLES:  # nearly all messages
        return Message(cast(Role, role), text)
    return _rich_message(data, path)


def _rich_message(data: dict[str, Any], path: str) -> Message:
    """Parse a message with content parts, tool calls, a tool's result or a name.

    `content` may be null, but it may be missing only in an assistant message that holds something else.
    """
    role = get_field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(sorted(ROLES))}.", param=f"{path}role")
    text, parts = parse_content(get_field(data, "content", str, list, NULL, path=path), path)
    calls = map_objects(
        get_field(data, "tool_calls", list, NULL, path=path) or [], f"{path}tool_calls", _tool_call
    )
    if legacy_call := get_field(data, "function_call", dict, NULL, path=path):
        calls.append(_function_call(legacy_call, "", f"{path}function_call."))
    message = Message(
        role=cast(Role, role),
        text=text,
        parts=parts,
        tool_calls=tuple(calls),
        tool_call_id=get_field(data, "tool_call_id", str, NULL, path=path),
        name=get_field(data, "name", str, NULL, path=path),
    )
    if "content" not in data and not (role == "assistant" and any(map(data.get, CONTENT_SUBSTITUTES))):
        raise BadRequest(f"'{path}content' is missing.", param=f"{path}content")
    return message


def _tool_call(data: dict[str, Any], path: str) -> ToolCall:
    function = get_field(data, "function", dict, NULL, path=path) or {}
    return _function_call(function, get_field(data, "id", str, NULL, path=path) or "", f"{path}function.")


def _function_call(data: dict[str, Any], id: str, path: str) -> ToolCall:
    arguments = get_field(data, "arguments", str, dict, NULL, path=path) or "{}"
    name = get_field(data, "name", str, NULL, path=path) or ""
    return ToolCall(id, name, arguments if isinstance(arguments, str) else dumps(arguments).decode())


def _tool(data: dict[str, Any], path: str) -> Tool | None:
    """Return a function tool; None for a tool of another type, which only OpenAI could run."""
    if get_field(data, "type", str, NULL, path=path) not in (None, "function"):
        return None
    return parse_tool(get_field(data, "function", dict, path=path), f"{path}function.")
