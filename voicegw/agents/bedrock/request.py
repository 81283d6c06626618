"""Amazon Bedrock's ConverseStream seen by its client: a turn becomes a request.

Bedrock is strict: the two take turns, the caller begins and ends, no text is blank, and each use of a tool
is followed by its result. Conversations on the phone are not like that, so they are mended here.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import loads

Block = dict[str, Any]

CACHE: Block = {"cachePoint": {"type": "default"}}
NOTHING = "(no result)"
TOLD = "(A tool answered: {text})"
"""What becomes of a result for which there is no place: its call is not there, or no tool is offered now."""
PICTURE = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,([A-Za-z0-9+/]+={0,2})")
HOTTEST = 1.0
"""The highest temperature that is taken; OpenAI's go up to 2."""


def encode_request(
    turn: Turn,
    *,
    latency: str | None = None,
    tier: str | None = None,
    cache: Collection[str] = (),
    sampling: bool = False,
) -> dict[str, Any]:
    """The body that asks for an answer to `turn`.

    `latency` is "standard" or "optimized", `tier` the service tier, `cache` says what ends at a cache point:
    "system", "tools". Options that Bedrock does not have are left out. `sampling` passes on the temperature,
    or else `top_p`: some models refuse both at once, newer ones each.
    """
    tools = _tools(turn, "tools" in cache)
    told = (message.text for message in turn.messages if message.role in ("system", "developer"))
    system: list[Block] = [{"text": text} for text in told if text.strip()]
    body = {
        "messages": _messages(turn.messages, bool(tools)),
        "system": [*system, CACHE] if system and "system" in cache else system,
        "inferenceConfig": _inference(turn.options) | (_sampling(turn.options) if sampling else {}),
        "toolConfig": tools,
        "performanceConfig": {"latency": latency} if latency else None,
        "serviceTier": {"type": tier} if tier else None,
    }
    return {name: value for name, value in body.items() if value}


def _inference(options: Mapping[str, Any]) -> dict[str, Any]:
    stop = options.get("stop") or ()
    given = {
        "maxTokens": options.get("max_completion_tokens") or options.get("max_tokens"),
        "stopSequences": [
            text for text in ([stop] if isinstance(stop, str) else stop) if isinstance(text, str) and text
        ],
    }
    return {name: value for name, value in given.items() if value}


def _sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    if (heat := options.get("temperature")) is not None:
        return {"temperature": min(heat, HOTTEST)}
    return {} if options.get("top_p") is None else {"topP": options["top_p"]}


def _tools(turn: Turn, cached: bool) -> dict[str, Any]:
    """The tools that may be called; there is no way to offer some and forbid them all."""
    if not turn.tools or turn.tool_choice == "none":
        return {}
    choice = _choice(turn)
    tools = [_tool(tool) for tool in turn.tools]
    return {"tools": [*tools, CACHE] if cached else tools, **({"toolChoice": choice} if choice else {})}


def _tool(tool: Tool) -> Block:
    schema = {"type": "object", "properties": {}, **tool.parameters}
    described = {"description": tool.description} if tool.description.strip() else {}
    return {"toolSpec": {"name": tool.name, **described, "inputSchema": {"json": schema}}}


def _choice(turn: Turn) -> Block | None:
    """The tool that must be called, or that one must be. What cannot be said leaves it to the model."""
    choice = turn.tool_choice
    if choice == "required":
        return {"any": {}}
    if isinstance(choice, Mapping):
        function = choice.get("function", choice)
        name = function.get("name") if isinstance(function, Mapping) else None
        if any(tool.name == name for tool in turn.tools):
            return {"tool": {"name": name}}
    return None


def _messages(messages: Sequence[Message], tools: bool) -> list[Block]:
    """What was said and done, in turns."""
    said: list[Block] = []
    results = _Results(messages)
    for place, message in enumerate(messages):
        if message.role == "user":
            _add(said, "user", _content(message))
        elif message.role == "assistant":
            _add(said, "assistant", _text(message.text))
            uses = [call for call in message.tool_calls if call.name] if tools else []
            ids = [f"call_{place}_{number}" for number in range(len(uses))]
            _add(said, "assistant", [_use(id, call) for id, call in zip(ids, uses, strict=True)])
            answers = [results.take(place, call) for call in uses]
            _add(said, "user", [_result(id, text) for id, text in zip(ids, answers, strict=True)])
        elif place in results.left and message.text.strip():
            _add(said, "user", _text(TOLD.format(text=message.text)))
    if not said or said[-1]["role"] == "assistant":
        _add(said, "user", _text(SILENCE_PROMPT if said else CALL_START_PROMPT))
    return said


def _add(said: list[Block], role: str, content: list[Block]) -> None:
    """Say something, as a message of its own or the rest of the last one."""
    if not content:
        return
    if not said and role == "assistant":
        _add(said, "user", _text(CALL_START_PROMPT))
    if said and said[-1]["role"] == role:
        said[-1]["content"] += content
    else:
        said.append({"role": role, "content": content})


class _Results:
    """The results of tools. `left` are the places of those that belong to no call."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._texts: dict[int, str] = {}
        self._places: defaultdict[str, deque[int]] = defaultdict(deque)
        for place, message in enumerate(messages):
            if message.role in ("tool", "function"):
                self._texts[place] = message.text
                self._places[message.tool_call_id or message.name or ""].append(place)
        self.left = set(self._texts)

    def take(self, after: int, call: ToolCall) -> str:
        """What came of a call: the next result with its id, or its name where there are no ids."""
        places = self._places[call.id or call.name]
        while places and places[0] < after:
            places.popleft()
        if not places:
            return ""
        place = places.popleft()
        self.left.discard(place)
        return self._texts[place]


def _use(id: str, call: ToolCall) -> Block:
    """A use of a tool. Ids are ours: those of other models may be too long for Bedrock, or come twice."""
    try:
        given = loads(call.arguments.encode("utf-8", "replace"))
    except ValueError:
        given = {}
    return {"toolUse": {"toolUseId": id, "name": call.name, "input": given if type(given) is dict else {}}}


def _result(id: str, text: str) -> Block:
    return {"toolResult": {"toolUseId": id, "content": _text(text) or _text(NOTHING)}}


def _text(text: str) -> list[Block]:
    return [{"text": text}] if text.strip() else []


def _content(message: Message) -> list[Block]:
    """What the caller said or showed. Pictures that are somewhere else cannot be fetched, and stay away."""
    if not message.parts:
        return _text(message.text)
    return [block for part in message.parts for block in _part(part)]


def _part(part: Mapping[str, Any]) -> list[Block]:
    if isinstance(text := part.get("text"), str):
        return _text(text)
    shown = part.get("image_url")
    url = shown.get("url") if isinstance(shown, Mapping) else shown
    found = PICTURE.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        return []
    return [{"image": {"format": found[1].replace("jpg", "jpeg"), "source": {"bytes": found[2]}}}]
