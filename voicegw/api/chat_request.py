"""A chat completions request as it arrives: bytes in, an `ApiRequest` out, or a `BadRequest` that names the field.

Unknown keys are welcome (platforms add their own) and kept in `extra`; wrong types are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from voicegw.errors import BadRequest
from voicegw.events import Message, Role, Tool, ToolCall
from voicegw.wire.json import dumps
from voicegw.wire.openai import SAMPLING, parse_content, parse_options, parse_tool, parse_tools
from voicegw.wire.validation import NULL, check_length, field, map_objects, parse_object, printable

ROLES = frozenset(get_args(Role))
OURS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"})


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What one request asks for. `structured`: a response format other than text, to be left untouched.

    Only requests of the Responses API have what follows `extra`: `opening` counts the leading messages that
    are instructions for this turn alone, `previous` is the answer it goes on from, `store` whether its own
    answer may be gone on from, and `echo` what the answer repeats of the request.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool
    wants_usage: bool
    tools: tuple[Tool, ...]
    tool_choice: str | Mapping[str, Any] | None
    options: Mapping[str, Any]
    extra: Mapping[str, Any]
    instruction_count: int = 0
    previous_response_id: str | None = None
    store: bool = False
    echoed_fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_structured(self) -> bool:
        wanted = self.options.get("response_format") or {}
        return bool(wanted.get("type", "text") != "text")

    @property
    def is_client_task(self) -> bool:
        """Is this no turn of a caller, but a chat client's own errand: a title, tags, what to ask next?"""
        return bool(self.messages) and self.messages[-1].text.lstrip().startswith("### Task:")

    @property
    def language(self) -> str | None:
        """The caller's language where the platform tells it: `language` in the body or its extras."""
        places = (self.extra, self.extra.get("elevenlabs_extra_body"), self.extra.get("metadata"))
        found = (place.get("language") for place in places if isinstance(place, dict))
        return next((tag for tag in found if isinstance(tag, str) and 0 < len(tag) <= 35), None)


def parse(body: bytes, *, max_messages: int, max_depth: int) -> ApiRequest:
    """Read a request body with at most so many messages, nested at most so deep."""
    data = parse_object(body, max_depth)
    if field(data, "n", int, NULL) not in (None, 1):
        raise BadRequest("'n' must be 1: a call hears one answer.", param="n")
    stream_options = field(data, "stream_options", dict, NULL) or {}
    return ApiRequest(
        model=printable(field(data, "model", str, NULL) or "", "model", 256),
        messages=_messages(data, max_messages),
        stream=bool(field(data, "stream", bool, NULL)),
        wants_usage=bool(field(stream_options, "include_usage", bool, NULL, path="stream_options.")),
        tools=parse_tools(data, _tool),
        tool_choice=field(data, "tool_choice", str, dict, NULL),
        options=parse_options(data),
        extra={key: value for key, value in data.items() if key not in OURS and key not in SAMPLING},
    )


def _messages(data: Mapping[str, Any], most: int) -> tuple[Message, ...]:
    given = field(data, "messages", list)
    if not given:
        raise BadRequest("'messages' must hold at least one message.", param="messages")
    return tuple(map_objects(check_length(given, "messages", most), "messages", _message))


def _message(data: dict[str, Any], path: str) -> Message:
    role, text = data.get("role"), data.get("content")
    if len(data) == 2 and type(role) is type(text) is str and role in ROLES:  # nearly all of them
        return Message(cast(Role, role), text)
    return _rich_message(data, path)


def _rich_message(data: dict[str, Any], path: str) -> Message:
    role = field(data, "role", str, path=path)
    if role not in ROLES:
        raise BadRequest(f"'{path}role' must be one of {', '.join(sorted(ROLES))}.", param=f"{path}role")
    text, parts = parse_content(field(data, "content", str, list, NULL, path=path), path)
    calls = map_objects(field(data, "tool_calls", list, NULL, path=path) or [], f"{path}tool_calls", _call)
    if old := field(data, "function_call", dict, NULL, path=path):
        calls.append(_function(old, "", f"{path}function_call."))
    return Message(
        role=cast(Role, role),
        text=text,
        parts=parts,
        tool_calls=tuple(calls),
        tool_call_id=field(data, "tool_call_id", str, NULL, path=path),
        name=field(data, "name", str, NULL, path=path),
    )


def _call(data: dict[str, Any], path: str) -> ToolCall:
    function = field(data, "function", dict, NULL, path=path) or {}
    return _function(function, field(data, "id", str, NULL, path=path) or "", f"{path}function.")


def _function(data: dict[str, Any], id: str, path: str) -> ToolCall:
    arguments = field(data, "arguments", str, dict, NULL, path=path) or "{}"
    name = field(data, "name", str, NULL, path=path) or ""
    return ToolCall(id, name, arguments if isinstance(arguments, str) else dumps(arguments).decode())


def _tool(data: dict[str, Any], path: str) -> Tool | None:
    if field(data, "type", str, NULL, path=path) not in (None, "function"):
        return None
    return parse_tool(field(data, "function", dict, path=path), f"{path}function.")
