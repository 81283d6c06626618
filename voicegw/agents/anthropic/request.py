"""Anthropic's Messages protocol seen by its client: a turn becomes a request.

The protocol is strict where OpenAI's is not: the two speak by turns, no text is blank, what a tool answered
follows its call at once. `messages_answer` is the other half.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from voicegw.agents.session_prompt import system
from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import loads
from voicegw.wire.openai import TEXTS

IMAGES: Mapping[str, str] = {
    f"data:image/{name};base64": f"image/{kind}"
    for name, kind in {"gif": "gif", "jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp"}.items()
}
"""How images begin that come in their address, and what kind they are."""
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

Block = dict[str, Any]


def encode_request(
    turn: Turn,
    *,
    model: str,
    most: int,
    cache: bool = False,
    sampling: bool = False,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body that asks for a streamed answer to `turn` of at most `most` tokens, unless it says how many.

    `cache` marks the end of the instructions, which are the same in every turn of a call, as worth keeping.
    `sampling` passes on the temperature, or else `top_p`: models that know both take one of them. `more` are
    further fields, which go behind ours.
    """
    asked = turn.options
    body = {
        **(more or {}),
        "model": model,
        "max_tokens": asked.get("max_completion_tokens") or asked.get("max_tokens") or most,
        "messages": _conversation(turn.messages),
        "stream": True,
    }
    if said := system(turn):
        body["system"] = [_marked(said)] if cache else said
    if stops := _stops(asked.get("stop")):
        body["stop_sequences"] = stops
    return body | _tools(turn) | (_sampling(asked) if sampling else {})


def _marked(text: str) -> Block:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def _stops(given: Any) -> list[str]:
    stops = [given] if isinstance(given, str) else given or []
    return [stop for stop in stops if isinstance(stop, str) and stop.strip()]


def _sampling(asked: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's temperatures go up to 2, these to 1."""
    if (temperature := asked.get("temperature")) is not None:
        return {"temperature": min(temperature, 1)}
    return {"top_p": asked["top_p"]} if asked.get("top_p") is not None else {}


def _tools(turn: Turn) -> dict[str, Any]:
    """The tools and how they are chosen. A conversation in which some were called cannot do without any."""
    if turn.tools:
        return {"tools": [_tool(tool) for tool in turn.tools], "tool_choice": _choice(turn)}
    called = dict.fromkeys(call.name for message in turn.messages for call in message.tool_calls if call.name)
    if not called:
        return {}
    return {"tools": [_tool(Tool(name)) for name in called], "tool_choice": {"type": "none"}}


def _tool(tool: Tool) -> Block:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": {"type": "object", **tool.parameters}}


def _choice(turn: Turn) -> Block:
    chosen: Block = {"type": "auto"}
    match turn.tool_choice:
        case "none":
            return {"type": "none"}
        case "required":
            chosen = {"type": "any"}
        case {"function": {"name": str(name)}} if any(tool.name == name for tool in turn.tools):
            chosen = {"type": "tool", "name": name}
    one = turn.options.get("parallel_tool_calls") is False
    return chosen | ({"disable_parallel_tool_use": True} if one else {})


def _conversation(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What the two said by turns, the caller first and last; the instructions are not among it.

    What a tool answered follows its call at once, and a call without an answer or a name never happened. Ids
    are our own: they have to be unique, and others' may have characters that are refused.
    """
    answers: defaultdict[str, deque[str]] = defaultdict(deque)
    for message in messages:
        if message.role in ("tool", "function"):
            answers[message.tool_call_id or ""].append(message.text)
    talk: list[dict[str, Any]] = []
    ids = (f"call_{number}" for number in count(1))
    for message in messages:
        if message.role == "user":
            _say(talk, "user", _blocks(message))
        elif message.role == "assistant":
            called = [
                (next(ids), call, answers[call.id].popleft())
                for call in message.tool_calls
                if call.name and answers[call.id]
            ]
            _say(talk, "assistant", [*_text(message.text), *(_use(id, call) for id, call, _ in called)])
            _say(talk, "user", [_result(id, answer) for id, _, answer in called])
    if not talk or talk[0]["role"] != "user":
        talk.insert(0, {"role": "user", "content": _text(CALL_START_PROMPT)})
    if talk[-1]["role"] != "user":
        _say(talk, "user", _text(SILENCE_PROMPT))
    return talk


def _say(talk: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if blocks and talk and talk[-1]["role"] == role:
        talk[-1]["content"] += blocks
    elif blocks:
        talk.append({"role": role, "content": blocks})


def _use(id: str, call: ToolCall) -> Block:
    try:
        given = loads(call.arguments.encode("utf-8", "replace"))
    except ValueError:
        given = None
    return {
        "type": "tool_use",
        "id": id,
        "name": call.name,
        "input": given if isinstance(given, dict) else {},
    }


def _result(id: str, text: str) -> Block:
    return {"type": "tool_result", "tool_use_id": id, "content": text}


def _blocks(message: Message) -> list[Block]:
    """What the caller said and showed. Texts that are blank would be refused."""
    if not message.parts:
        return _text(message.text)
    return [block for part in message.parts for block in _part(part)]


def _part(part: Mapping[str, Any]) -> list[Block]:
    if part.get("type") in TEXTS:
        return _text(str(part.get("text") or ""))
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        return []
    head, _, data = url.partition(",")
    if (kind := IMAGES.get(head.lower())) and BASE64.fullmatch(data):
        return [{"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}]
    return [{"type": "image", "source": {"type": "url", "url": url}}] if url.startswith("https://") else []


def _text(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text.strip() else []
