"""The body of an Anthropic Messages request for a turn. Pure; `decoder` reads the response.

The protocol is stricter than OpenAI's: the two parties take turns, no text is blank, and the result of a
tool follows its call at once.

Source: Anthropic's API reference, "Create a Message"; the tests validate with Anthropic's Python SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from voicegw.agents.model_history import (
    encode_by_party,
    parse_arguments,
    valid_history,
    without_instructions,
)
from voicegw.agents.session_prompt import system_prompt
from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.wire.openai import TEXT_PART_TYPES

IMAGES: Mapping[str, str] = {
    f"data:image/{name};base64": f"image/{kind}"
    for name, kind in {"gif": "gif", "jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp"}.items()
}
"""The media type for each beginning of a data URL that may hold an image."""
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

Block = dict[str, Any]


def encode_request(
    turn: Turn,
    *,
    model: str,
    max_tokens: int,
    cache: bool = False,
    sampling: bool = False,
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body that asks for a streamed answer to `turn`.

    The answer has at most `max_tokens` tokens, unless the turn has a limit. `cache` marks the end of the
    instructions, which are the same in every turn of a call, as a cache breakpoint. `sampling` passes on
    `temperature`, or else `top_p`: models that know both take only one of them. `extra_body` are
    further fields; they never replace the gateway's.
    """
    options = turn.options
    body = {
        **(extra_body or {}),
        "model": model,
        "max_tokens": options.get("max_completion_tokens") or options.get("max_tokens") or max_tokens,
        "messages": _encode_messages(turn.messages),
        "stream": True,
    }
    if instructions := system_prompt(turn):
        body["system"] = [_cached_text(instructions)] if cache else instructions
    if stops := _stop_sequences(options.get("stop")):
        body["stop_sequences"] = stops
    return body | _tool_fields(turn) | (_sampling_fields(options) if sampling else {})


def _cached_text(text: str) -> Block:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def _stop_sequences(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop or []
    return [text for text in stops if isinstance(text, str) and text.strip()]


def _sampling_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `temperature` or `top_p`. OpenAI's temperatures go up to 2, Anthropic's to 1."""
    if (temperature := options.get("temperature")) is not None:
        return {"temperature": min(temperature, 1)}
    return {"top_p": options["top_p"]} if options.get("top_p") is not None else {}


def _tool_fields(turn: Turn) -> dict[str, Any]:
    """Return the tools and their choice. A conversation with tool calls must name tools, offered or not."""
    if turn.tools:
        return {"tools": [_encode_tool(tool) for tool in turn.tools], "tool_choice": _encode_choice(turn)}
    called = dict.fromkeys(call.name for message in turn.messages for call in message.tool_calls if call.name)
    if not called:
        return {}
    return {"tools": [_encode_tool(Tool(name)) for name in called], "tool_choice": {"type": "none"}}


def _encode_tool(tool: Tool) -> Block:
    description = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **description, "input_schema": {"type": "object", **tool.parameters}}


def _encode_choice(turn: Turn) -> Block:
    choice: Block = {"type": "auto"}
    match turn.tool_choice:
        case "none":
            return {"type": "none"}
        case "required":
            choice = {"type": "any"}
        case {"function": {"name": str(name)}} if any(tool.name == name for tool in turn.tools):
            choice = {"type": "tool", "name": name}
    one_at_a_time = turn.options.get("parallel_tool_calls") is False
    return choice | ({"disable_parallel_tool_use": True} if one_at_a_time else {})


def _encode_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the conversation by turns, the user first and last, without the instructions.

    The user's messages hold the results of tools.
    """
    history = valid_history(
        without_instructions(messages), encode_part=_encode_part, number_ids=True, is_by_party=True
    )
    return encode_by_party(history, _encode_content)


def _encode_content(message: Message) -> list[Block]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.text}]
    calls = (_encode_call(call) for call in message.tool_calls)
    return [*(map(dict, message.parts) if message.parts else _encode_text(message.text)), *calls]


def _encode_call(call: ToolCall) -> Block:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": parse_arguments(call.arguments)}


def _encode_part(part: Mapping[str, Any]) -> list[Block]:
    if part.get("type") in TEXT_PART_TYPES:
        return _encode_text(str(part.get("text") or ""))
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        return []
    head, _, data = url.partition(",")
    if (kind := IMAGES.get(head.lower())) and BASE64.fullmatch(data):
        return [{"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}]
    return [{"type": "image", "source": {"type": "url", "url": url}}] if url.startswith("https://") else []


def _encode_text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text.strip() else []
