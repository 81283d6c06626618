"""The body of a ConverseStream request for a turn. Pure; `decoder` reads the response.

Bedrock is strict: the two parties take turns, the user begins and ends, no text is blank, and the result of
each tool use follows it.

Source: Amazon Bedrock's API reference, "ConverseStream"; the tests validate with botocore.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from voicegw.agents.model_history import (
    encode_by_party,
    parse_arguments,
    valid_history,
    without_instructions,
)
from voicegw.events import Message, Tool, ToolCall, Turn

Block = dict[str, Any]

CACHE_POINT: Block = {"cachePoint": {"type": "default"}}
IMAGE_DATA_URL = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,([A-Za-z0-9+/]+={0,2})")
MAX_TEMPERATURE = 1.0
"""The highest temperature that Bedrock takes; OpenAI's go up to 2."""


def encode_request(
    turn: Turn,
    *,
    latency: str | None = None,
    tier: str | None = None,
    cache: Collection[str] = (),
    sampling: bool = False,
    extra_body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body that asks for an answer to `turn`.

    `latency` is "standard" or "optimized", `tier` the service tier; `cache` names the parts that end at a
    cache point: "system", "tools". `sampling` passes on `temperature`, or else `top_p`: some models refuse
    both at once, newer models refuse either. Options that Bedrock does not have are left out.
    `extra_body` are further fields; they never replace the gateway's.
    """
    tools = _tool_config(turn, "tools" in cache)
    instructions = (message.text for message in turn.messages if message.role in ("system", "developer"))
    system: list[Block] = [{"text": text} for text in instructions if text.strip()]
    sampling_fields = _sampling_fields(turn.options) if sampling else {}
    body = {
        "messages": _encode_messages(turn.messages, bool(tools)),
        "system": [*system, CACHE_POINT] if system and "system" in cache else system,
        "inferenceConfig": _limit_fields(turn.options) | sampling_fields,
        "toolConfig": tools,
        "performanceConfig": {"latency": latency} if latency else None,
        "serviceTier": {"type": tier} if tier else None,
    }
    return {**(extra_body or {}), **{name: value for name, value in body.items() if value}}


def _limit_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    stop = options.get("stop") or ()
    stops = [stop] if isinstance(stop, str) else stop
    fields = {
        "maxTokens": options.get("max_completion_tokens") or options.get("max_tokens"),
        "stopSequences": [text for text in stops if isinstance(text, str) and text],
    }
    return {name: value for name, value in fields.items() if value}


def _sampling_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    if (temperature := options.get("temperature")) is not None:
        return {"temperature": min(temperature, MAX_TEMPERATURE)}
    return {} if options.get("top_p") is None else {"topP": options["top_p"]}


def _tool_config(turn: Turn, cached: bool) -> dict[str, Any]:
    """Return the tools that may be called; the protocol cannot offer tools and forbid all of them."""
    if not turn.tools or turn.tool_choice == "none":
        return {}
    choice = _encode_choice(turn)
    tools = [_encode_tool(tool) for tool in turn.tools]
    return {"tools": [*tools, CACHE_POINT] if cached else tools, **({"toolChoice": choice} if choice else {})}


def _encode_tool(tool: Tool) -> Block:
    schema = {"type": "object", "properties": {}, **tool.parameters}
    description = {"description": tool.description} if tool.description.strip() else {}
    return {"toolSpec": {"name": tool.name, **description, "inputSchema": {"json": schema}}}


def _encode_choice(turn: Turn) -> Block | None:
    """Return which tool, or that any tool, must be called; None leaves the choice to the model."""
    choice = turn.tool_choice
    if choice == "required":
        return {"any": {}}
    if isinstance(choice, Mapping):
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        if any(tool.name == name for tool in turn.tools):
            return {"tool": {"name": name}}
    return None


def _encode_messages(messages: Sequence[Message], with_tools: bool) -> list[Block]:
    """Return the conversation by turns, with tool uses and their results if `with_tools`."""
    history = valid_history(
        without_instructions(messages),
        encode_part=_encode_part,
        with_tools=with_tools,
        number_ids=True,
        is_by_party=True,
    )
    return encode_by_party(history, _encode_content)


def _encode_content(message: Message) -> list[Block]:
    if message.role == "tool":
        return [{"toolResult": {"toolUseId": message.tool_call_id, "content": _encode_text(message.text)}}]
    calls = (_encode_call(call) for call in message.tool_calls)
    return [*(map(dict, message.parts) if message.parts else _encode_text(message.text)), *calls]


def _encode_call(call: ToolCall) -> Block:
    return {"toolUse": {"toolUseId": call.id, "name": call.name, "input": parse_arguments(call.arguments)}}


def _encode_text(text: str) -> list[Block]:
    return [{"text": text}] if text.strip() else []


def _encode_part(part: Mapping[str, Any]) -> list[Block]:
    """Return the text or image of a part; nothing for an image by URL, which Bedrock does not fetch."""
    if isinstance(text := part.get("text"), str):
        return _encode_text(text)
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    found = IMAGE_DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        return []
    return [{"image": {"format": found[1].replace("jpg", "jpeg"), "source": {"bytes": found[2]}}}]
