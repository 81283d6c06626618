"""What is asked of a server that speaks chat completions: a turn becomes the body of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from voicegw.events import Message, Tool, Turn

OURS = frozenset({"model", "messages", "stream", "stream_options", "tools", "tool_choice", "n"})
"""Fields that no option may set: a call has one answer, and we say how it comes."""

PLAIN = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles that every server knows, and what the others are for it."""


def encode_request(
    turn: Turn,
    *,
    model: str | None = None,
    fields: frozenset[str] | None = None,
    stream: bool = True,
    plain: bool = False,
) -> dict[str, Any]:
    """The body that asks for an answer to `turn`, by the turn's own model unless one is named.

    `fields` lists what the server knows beyond `model`, `messages` and `stream`; None means everything.
    `plain`: it takes nothing but texts of the system, the user and the assistant.
    """
    body: dict[str, Any] = {
        "model": turn.model if model is None else model,
        "messages": _plain(turn.messages) if plain else [_message(message) for message in turn.messages],
        "stream": stream,
    }
    more: dict[str, Any] = {name: value for name, value in turn.options.items() if name not in OURS}
    if stream:
        more["stream_options"] = {"include_usage": True}
    if turn.tools and (fields is None or "tools" in fields):
        more["tools"] = [_tool(tool) for tool in turn.tools]
        if turn.tool_choice is not None:
            more["tool_choice"] = turn.tool_choice
    body.update((name, value) for name, value in more.items() if fields is None or name in fields)
    return body


def _plain(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [
        {"role": PLAIN[message.role], "content": message.text}
        for message in messages
        if message.role in PLAIN and message.text.strip()
    ]


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.parts:
        written["content"] = [dict(part) for part in message.parts]
    if message.tool_calls:
        written["content"] = written["content"] or None
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return written | _given({"tool_call_id": message.tool_call_id, "name": message.name})


def _tool(tool: Tool) -> dict[str, Any]:
    optional = {"description": tool.description or None, "strict": tool.strict}
    function = {"name": tool.name, "parameters": dict(tool.parameters), **_given(optional)}
    return {"type": "function", "function": function}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
