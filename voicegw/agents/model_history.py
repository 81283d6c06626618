"""The conversation of a turn as strict servers of models accept it. Pure.

Platforms and barge-ins leave histories that many servers refuse: two messages of the caller in a row, tool
calls without a result, results without a call, blank texts. Every agent that sends a history repairs it here.
It is repaired when it is sent, and not in `Turn.messages`, because the gateway compares those with the
messages of the next request.

Sources: OpenAI's "Create chat completion", Anthropic's "Create a Message", Bedrock's "ConverseStream", and
the chat templates of Mistral and Gemma, which refuse two neighbours of the same role. Mistral's API, and vLLM
with Mistral's models, also refuse a user's message directly behind the result of a tool (error code 3230).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, TypeAlias

from voicegw.events import Message, ToolCall
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import dumps, loads, loads_object
from voicegw.wire.openai import TEXT_PART_TYPES

INTERRUPTED_RESULT = "(The tool call was interrupted. It has no result.)"
"""The result of a tool call that has none in the history."""
NO_RESULT = "(no result)"
"""The text of a tool result that is blank."""
SILENT_ANSWER = "…"
"""The assistant's text between the result of a tool and the user's next message, if it said nothing."""
INVALID_ARGUMENTS = "invalid_arguments"
"""The key under which a server gets arguments of a tool call that are no JSON object, as a text."""
TOOL_NOTE = "(A tool answered: {text})"
"""The text for a tool result that is sent to a server without tools."""
SYSTEM_ROLES = ("system", "developer")
TOOL_ROLES = ("tool", "function")

Part: TypeAlias = Mapping[str, Any]
PartEncoder: TypeAlias = Callable[[Part], Sequence[Part]]
"""Returns the content parts that a server gets for one part of a message; none for a part that it refuses."""


def skip_blank_text(part: Part) -> Sequence[Part]:
    """Return the part unchanged, or nothing for a blank text."""
    is_blank = part.get("type") in TEXT_PART_TYPES and not str(part.get("text") or "").strip()
    return () if is_blank else (part,)


def valid_history(
    messages: Sequence[Message],
    *,
    encode_part: PartEncoder = skip_blank_text,
    with_tools: bool = True,
    number_ids: bool = False,
    is_by_party: bool = False,
) -> list[Message]:
    """Return the messages such that a strict server accepts them.

    - Neighbours of the same role are one message. It keeps their content parts and tool calls. If their
      authors have different names, the names are in the text.
    - Each tool call has a name, an id that no other call has, and its one result directly behind it. A
      missing result is `INTERRUPTED_RESULT`. A result without a call before it is left out.
    - The arguments of a tool call are a JSON object; see `parse_arguments`.
    - Behind results comes the assistant's next message: `SILENT_ANSWER` if it said nothing.
    - No message is blank. `encode_part` is called once for each content part.
    - An instruction stays at its place, and so do the messages around it.

    `with_tools=False` leaves out the tool calls; their results become texts of the user. `number_ids` numbers
    the ids of all calls, for servers that refuse the characters of other ids. `is_by_party` is for
    `encode_by_party`: the user sends results, so a message of the user may follow them, and a prompt is added
    at the start and at the end where the user's message is missing.
    """
    history: list[Message] = []
    for message in _with_tool_results(messages, with_tools, _CallIds(messages, number_ids)):
        if message.parts:
            message = replace(
                message, parts=tuple(new for part in message.parts for new in encode_part(part))
            )
        if not (message.text.strip() or message.parts or message.tool_calls):
            continue
        is_behind_result = bool(history) and history[-1].role == "tool"
        if is_behind_result and not is_by_party and message.role not in ("tool", "assistant"):
            history.append(Message("assistant", SILENT_ANSWER))
        if history and message.role == history[-1].role != "tool":
            history[-1] = _merge(history[-1], message, encode_part)
        else:
            history.append(message)
    return _with_prompts(history) if is_by_party else history


def without_instructions(messages: Iterable[Message]) -> list[Message]:
    """Return the dialog for protocols with a separate field for instructions. Only users keep their parts."""
    return [
        replace(message, parts=()) if message.parts and message.role != "user" else message
        for message in messages
        if message.role not in SYSTEM_ROLES
    ]


def encode_by_party(
    history: Iterable[Message], encode_content: Callable[[Message], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return a valid history for protocols of two parties, where the user sends the results of tools."""
    encoded: list[dict[str, Any]] = []
    for message in history:
        role = "assistant" if message.role == "assistant" else "user"
        if encoded and encoded[-1]["role"] == role:
            encoded[-1]["content"] += encode_content(message)
        else:
            encoded.append({"role": role, "content": encode_content(message)})
    return encoded


def texts_only(messages: Iterable[Message]) -> list[Message]:
    """Return the texts of system, user and assistant, for servers that take neither parts nor tools."""
    return [
        replace(message, parts=(), tool_calls=()) for message in messages if message.role not in TOOL_ROLES
    ]


def _with_tool_results(
    messages: Sequence[Message], with_tools: bool, call_ids: _CallIds
) -> Iterator[Message]:
    """Yield the messages with the results of each message's tool calls behind it."""
    results = _results_by_call(messages)
    for position, message in enumerate(messages):
        if message.role in TOOL_ROLES:
            continue
        if not message.tool_calls:
            yield message
            continue
        calls = [
            (call, results.get((position, number)))
            for number, call in enumerate(message.tool_calls)
            if call.name and message.role == "assistant"
        ]
        if not with_tools:
            yield replace(message, tool_calls=())
            texts = (result.text for _, result in calls if result is not None and result.text.strip())
            yield from (Message("user", TOOL_NOTE.format(text=text)) for text in texts)
            continue
        calls = [
            (ToolCall(call_ids.unique(call.id), call.name, _valid_arguments(call.arguments)), result)
            for call, result in calls
        ]
        yield replace(message, tool_calls=tuple(call for call, _ in calls))
        yield from (_tool_message(call, result) for call, result in calls)


def parse_arguments(text: str) -> dict[str, Any]:
    """Return the arguments of a tool call as servers of every kind accept them: a JSON object.

    Blank ones and `null` are `{}`. An object that was encoded twice is decoded twice. The model sees any
    other text as it wrote it, under `INVALID_ARGUMENTS`: an invented `{}` would hide its mistake.
    """
    try:
        value = loads((text.strip() or "null").encode("utf-8", "replace"))
    except ValueError:
        return {INVALID_ARGUMENTS: text}
    if isinstance(value, str):
        value = loads_object(value) or value
    if isinstance(value, dict):
        return value
    return {} if value is None else {INVALID_ARGUMENTS: text}


def _valid_arguments(text: str) -> str:
    is_valid = text == "{}" or loads_object(text) is not None
    return text if is_valid else dumps(parse_arguments(text)).decode()


def _tool_message(call: ToolCall, result: Message | None) -> Message:
    if result is None:
        return Message("tool", INTERRUPTED_RESULT, tool_call_id=call.id)
    text = result.text if result.text.strip() or result.parts else NO_RESULT
    return replace(result, role="tool", text=text, tool_calls=(), tool_call_id=call.id)


def _results_by_call(messages: Sequence[Message]) -> dict[tuple[int, int], Message]:
    """Return the results, by the position of the message that calls the tool and the call's number in it.

    A result belongs to the newest message that has an open call for it: models repeat ids, and an
    interruption may have left an older call open.
    """
    results: dict[tuple[int, int], Message] = {}
    open_calls: list[tuple[int, int, ToolCall]] = []
    for position, message in enumerate(messages):
        if message.role == "assistant":
            open_calls += [(position, number, call) for number, call in enumerate(message.tool_calls)]
        elif message.role in TOOL_ROLES:
            matching = [one for one in open_calls if _answers(message, one[2])]
            if matching:
                answered = next(one for one in matching if one[0] == matching[-1][0])
                open_calls.remove(answered)
                results[answered[:2]] = message
    return results


def _answers(result: Message, call: ToolCall) -> bool:
    """Can this be the call's result? One without an id has the tool's name in the older API, or nothing."""
    if result.tool_call_id:
        return result.tool_call_id == call.id
    return not result.name or result.name == call.name


class _CallIds:
    """The ids of the tool calls of one history. They are unique."""

    def __init__(self, messages: Iterable[Message], number_all: bool) -> None:
        given = () if number_all else (call.id for message in messages for call in message.tool_calls)
        # The ids that calls of the history have.
        self._given = set(given)
        # The given ids that no call has taken yet.
        self._left = self._given - {""}
        self._new = (f"call_{number}" for number in count(1))

    def unique(self, id: str) -> str:
        """Return the id of a call, or a new one if it is blank, or if an earlier call has it."""
        if id in self._left:
            self._left.remove(id)
            return id
        return next(new for new in self._new if new not in self._given)


def _merge(one: Message, other: Message, encode_part: PartEncoder) -> Message:
    """Return two messages of the same role as one."""
    if one.name != other.name:
        one, other = (_with_name_in_text(message, encode_part) for message in (one, other))
    parts: tuple[Part, ...] = ()
    if one.parts or other.parts:
        parts = (*_parts(one, encode_part), *_parts(other, encode_part))
    text = "\n\n".join(text for text in (one.text, other.text) if text.strip())
    return replace(one, text=text, parts=parts, tool_calls=(*one.tool_calls, *other.tool_calls))


def _with_name_in_text(message: Message, encode_part: PartEncoder) -> Message:
    if not message.name:
        return replace(message, name=None)
    label = f"{message.name}:"
    parts = (*encode_part({"type": "text", "text": label}), *message.parts) if message.parts else ()
    return replace(message, text=f"{label} {message.text}", parts=parts, name=None)


def _parts(message: Message, encode_part: PartEncoder) -> Sequence[Part]:
    return message.parts or encode_part({"type": "text", "text": message.text})


def _with_prompts(history: Sequence[Message]) -> list[Message]:
    """Return the dialog with a prompt where the user is not first, or neither the user nor a tool is last."""
    if not history:
        return [Message("user", CALL_START_PROMPT)]
    before = () if history[0].role == "user" else (Message("user", CALL_START_PROMPT),)
    after = (Message("user", SILENCE_PROMPT),) if history[-1].role == "assistant" else ()
    return [*before, *history, *after]
