"""The body of a ConverseStream request for a turn. Pure; `decoder` reads the response.

Bedrock is strict: the two parties take turns, the user begins and ends, no text is blank, and the result of
each tool use follows it. Conversations on the phone are not like that, so this module repairs them.

Source: Amazon Bedrock's API reference, "ConverseStream"; the tests validate with botocore.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import loads_object

Block = dict[str, Any]

CACHE_POINT: Block = {"cachePoint": {"type": "default"}}
NO_RESULT = "(no result)"
ORPHAN_RESULT = "(A tool answered: {text})"
"""The text for a tool result whose call is missing, or cannot be sent because no tool is offered now."""
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
) -> dict[str, Any]:
    """Return the body that asks for an answer to `turn`.

    `latency` is "standard" or "optimized", `tier` the service tier; `cache` names the parts that end at a
    cache point: "system", "tools". `sampling` passes on `temperature`, or else `top_p`: some models refuse
    both at once, newer models refuse either. Options that Bedrock does not have are left out.
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
    return {name: value for name, value in body.items() if value}


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
    encoded: list[Block] = []
    results = _ToolResults(messages)
    for position, message in enumerate(messages):
        if message.role == "user":
            _append(encoded, "user", _encode_content(message))
        elif message.role == "assistant":
            _append(encoded, "assistant", _encode_text(message.text))
            calls = [call for call in message.tool_calls if call.name] if with_tools else []
            ids = [f"call_{position}_{number}" for number in range(len(calls))]
            uses = [_encode_call(id, call) for id, call in zip(ids, calls, strict=True)]
            _append(encoded, "assistant", uses)
            texts = [results.take(position, call) for call in calls]
            _append(encoded, "user", [_encode_result(id, text) for id, text in zip(ids, texts, strict=True)])
        elif position in results.unclaimed and message.text.strip():
            _append(encoded, "user", _encode_text(ORPHAN_RESULT.format(text=message.text)))
    if not encoded or encoded[-1]["role"] == "assistant":
        _append(encoded, "user", _encode_text(SILENCE_PROMPT if encoded else CALL_START_PROMPT))
    return encoded


def _append(encoded: list[Block], role: str, content: list[Block]) -> None:
    """Add blocks to the last message if it has the same role, else as a new message."""
    if not content:
        return
    if not encoded and role == "assistant":
        _append(encoded, "user", _encode_text(CALL_START_PROMPT))
    if encoded and encoded[-1]["role"] == role:
        encoded[-1]["content"] += content
    else:
        encoded.append({"role": role, "content": content})


class _ToolResults:
    """The tool results of a conversation; `unclaimed` are the positions of those that no call has taken."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._texts: dict[int, str] = {}
        self._positions: defaultdict[str, deque[int]] = defaultdict(deque)
        for position, message in enumerate(messages):
            if message.role in ("tool", "function"):
                self._texts[position] = message.text
                self._positions[message.tool_call_id or message.name or ""].append(position)
        self.unclaimed = set(self._texts)

    def take(self, after: int, call: ToolCall) -> str:
        """Return the next result after position `after` with the call's id, or its name if it has no id.

        Returns "" if there is none.
        """
        positions = self._positions[call.id or call.name]
        while positions and positions[0] < after:
            positions.popleft()
        if not positions:
            return ""
        position = positions.popleft()
        self.unclaimed.discard(position)
        return self._texts[position]


def _encode_call(id: str, call: ToolCall) -> Block:
    """Return a tool use with an id of voicegw: ids of other models may be too long, or come twice."""
    arguments = loads_object(call.arguments.encode("utf-8", "replace")) or {}
    return {"toolUse": {"toolUseId": id, "name": call.name, "input": arguments}}


def _encode_result(id: str, text: str) -> Block:
    return {"toolResult": {"toolUseId": id, "content": _encode_text(text) or _encode_text(NO_RESULT)}}


def _encode_text(text: str) -> list[Block]:
    return [{"text": text}] if text.strip() else []


def _encode_content(message: Message) -> list[Block]:
    """Return the text and images of a user message, without images by URL: Bedrock fetches none."""
    if not message.parts:
        return _encode_text(message.text)
    return [block for part in message.parts for block in _encode_part(part)]


def _encode_part(part: Mapping[str, Any]) -> list[Block]:
    if isinstance(text := part.get("text"), str):
        return _encode_text(text)
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    found = IMAGE_DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        return []
    return [{"image": {"format": found[1].replace("jpg", "jpeg"), "source": {"bytes": found[2]}}}]
