"""The body of a chat-completions request for a turn. Pure; `decoder` reads the response.

Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from voicegw.agents.model_history import texts_only, valid_history
from voicegw.events import Message, Role, Tool, Turn

RESERVED_OPTIONS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"})
"""Fields that no option of a turn may set: the gateway sets them, and a turn has one answer."""
TOKEN_LIMITS = ("max_completion_tokens", "max_tokens")
"""The names of the limit of an answer's tokens, the newer one first; a server may know only one."""


def encode_request(
    turn: Turn,
    *,
    model: str | None = None,
    fields: frozenset[str] | None = None,
    stream: bool = True,
    text_only: bool = False,
    developer_role: Literal["developer", "system"] = "developer",
    max_tokens_field: str | None = None,
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body that asks for an answer to `turn`.

    `model` replaces the turn's own model. `fields` lists the fields that the server accepts beyond `model`,
    `messages` and `stream`; None means all. With `text_only`, only the texts of the system, the user and the
    assistant are sent: no parts, tool calls or tool results. `developer_role` is the role of the developer's
    messages. `max_tokens_field` is the name that a token limit gets; None keeps the turn's. `extra_body` are
    further fields, which replace options of the turn.
    """
    body: dict[str, Any] = {
        "model": turn.model if model is None else model,
        "messages": [_encode_message(message) for message in _messages(turn, text_only, developer_role)],
        "stream": stream,
    }
    more: dict[str, Any] = {
        name: value for name, value in turn.options.items() if name not in RESERVED_OPTIONS
    }
    if stream:
        more["stream_options"] = {"include_usage": True}
    if turn.tools and (fields is None or "tools" in fields):
        more["tools"] = [_encode_tool(tool) for tool in turn.tools]
        if turn.tool_choice is not None:
            more["tool_choice"] = turn.tool_choice
    if fields is not None:
        allowed = fields.union(TOKEN_LIMITS) if fields.intersection(TOKEN_LIMITS) else fields
        more = {name: value for name, value in more.items() if name in allowed}
    if max_tokens_field is not None:
        _rename_token_limit(more, max_tokens_field)
    return {**body, **more, **(extra_body or {})}


def _rename_token_limit(options: dict[str, Any], name: str) -> None:
    """Give the token limit the name that the server knows. Of two limits, the newer name's counts."""
    limits = [options.pop(limit) for limit in TOKEN_LIMITS if limit in options]
    if limits:
        options[name] = limits[0]


def _messages(turn: Turn, text_only: bool, developer_role: Literal["developer", "system"]) -> list[Message]:
    """Return the conversation; a server that takes only texts knows no developer and no names either."""
    role: Role = "system" if text_only else developer_role
    messages = [
        replace(message, role=role) if message.role == "developer" else message
        for message in (texts_only(turn.messages) if text_only else turn.messages)
    ]
    valid = valid_history(messages)
    return [replace(message, name=None) for message in valid] if text_only else valid


def _encode_message(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.parts:
        encoded["content"] = [dict(part) for part in message.parts]
    elif not message.text.strip():
        encoded["content"] = None  # a message of tool calls only
    if message.tool_calls:
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return encoded | _without_none({"tool_call_id": message.tool_call_id, "name": message.name})


def _encode_tool(tool: Tool) -> dict[str, Any]:
    optional = {"description": tool.description or None, "strict": tool.strict}
    function = {"name": tool.name, "parameters": dict(tool.parameters), **_without_none(optional)}
    return {"type": "function", "function": function}


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
