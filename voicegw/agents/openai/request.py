"""The body of a chat-completions request for a turn. Pure; `decoder` reads the response.

Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from voicegw.events import Message, Tool, Turn

RESERVED_OPTIONS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"})
"""Fields that no option of a turn may set: the gateway sets them, and a turn has one answer."""

TEXT_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles whose texts every server takes, and the name that it knows for each."""


def encode_request(
    turn: Turn,
    *,
    model: str | None = None,
    fields: frozenset[str] | None = None,
    stream: bool = True,
    text_only: bool = False,
) -> dict[str, Any]:
    """Return the body that asks for an answer to `turn`.

    `model` replaces the turn's own model. `fields` lists the fields that the server accepts beyond `model`,
    `messages` and `stream`; None means all. With `text_only`, only the texts of the system, the user and the
    assistant are sent: no parts, tool calls or tool results.
    """
    body: dict[str, Any] = {
        "model": turn.model if model is None else model,
        "messages": _encode_texts(turn.messages)
        if text_only
        else [_encode_message(message) for message in turn.messages],
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
    body.update((name, value) for name, value in more.items() if fields is None or name in fields)
    return body


def _encode_texts(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [
        {"role": TEXT_ROLES[message.role], "content": message.text}
        for message in messages
        if message.role in TEXT_ROLES and message.text.strip()
    ]


def _encode_message(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.parts:
        encoded["content"] = [dict(part) for part in message.parts]
    if message.tool_calls:
        encoded["content"] = encoded["content"] or None
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
