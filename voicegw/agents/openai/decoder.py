"""The chat-completions protocol seen by its client: the chunks of an answer become events.

Lenient in what it reads, because many servers speak this protocol with an accent: a missing
`finish_reason`, `index`, id or `[DONE]`, errors as text, tool calls whole or in pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from voicegw.agents.client.error_body import REPORTED, error_from_body, error_from_object
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import Activity, Event, Finish, Reason, ToolCall, Usage
from voicegw.wire.json import loads
from voicegw.wire.sse import ServerSentEvent

REASONS: Mapping[str, Reason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
TRIES = (2, 3, 8)
"""The texts of a stream from which its mould is taken; the first comes with a role, others may differ."""
AGAIN = 16
"""Of so many texts that do not fit, one gives a new mould: some servers put the time into every chunk."""
PROBE = b'"\\u0000 probe"'
"""Any text that no server says."""


class ChatChunkDecoder:
    """Turns the chunks of one streamed answer into events.

    `done` says that the stream is over (`[DONE]` came), `complete` that nothing is missing even if the
    connection breaks now. `ids` begins the ids of tool calls that came without one. `doing`: the server
    runs the tools that it calls by itself. Anything that cannot be understood raises `AgentProtocolError`, an
    error that the server reports an `AgentError`.

    The chunks of most streams differ in their text alone. What stands around it is the `_mould`: where it
    fits, only the text is parsed, an eighth of what a delta costs the gateway.
    """

    __slots__ = ("_call", "_called", "_doing", "_ids", "_mould", "_reason", "_texts", "_usage", "done")

    def __init__(self, ids: str = "call", *, doing: bool = False) -> None:
        self._ids = ids
        self._doing = doing
        self.done = False
        self._call: _Call | None = None
        self._called = 0
        self._reason: Reason | None = None
        self._usage: Usage | None = None
        self._mould = (b"", b"")  # before and after it
        self._texts = 0

    @property
    def complete(self) -> bool:
        return self.done or self._reason is not None

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """What one server-sent event says: text at once, a tool call when whole, the rest at the end."""
        name, data = sse
        before, after = self._mould
        if before and data.startswith(before) and data.endswith(after) and not (name or self.done):
            text = _text(data[len(before) : len(data) - len(after)])
            if text:
                return [text]
        if name == "error":
            raise error_from_body(data)
        if self.done or name not in ("", "message") or not data:
            return []
        if data == b"[DONE]":
            self.done = True
            return []
        events = self._read(_json(data))
        if len(events) == 1 and type(events[0]) is str:
            self._texts += 1
            if self._texts in TRIES or not self._texts % AGAIN:
                self._cast(data, events[0])
        return events

    def _cast(self, data: bytes, text: str) -> None:
        """Remember what stands around the text of a chunk, if any other text there would be just that."""
        before, _, after = data.partition(orjson.dumps(text))
        trial = ChatChunkDecoder()
        with suppress(AgentError):  # what looks like the text may be something else
            if trial._read(_json(before + PROBE + after)) == [orjson.loads(PROBE)]:
                self._mould = (b"", b"") if trial.complete or trial._usage or trial._call else (before, after)

    def end(self) -> list[Event]:
        """What is left when the stream is over: a tool call, the usage, and why it stopped if it said so."""
        events: list[Event] = []
        self._close_call(events)
        if self._usage is not None:
            events.append(self._usage)
        if self._reason is not None:
            events.append(Finish(self._true_reason(self._reason)))
        return events

    def _true_reason(self, reason: Reason) -> Reason:
        """Some say "stop" after tool calls (a forced tool does), some "tool_calls" after none."""
        if reason in ("stop", "tool_calls"):
            return "tool_calls" if self._called else "stop"
        return reason

    def _read(self, chunk: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        try:
            if error := chunk.get("error"):
                raise error_from_object(error)
            if choices := chunk.get("choices"):
                self._choice(choices[0], events)
            if usage := chunk.get("usage"):
                self._usage = _usage(usage)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError(f"a chunk of an unknown shape: {error!r}") from error
        return events

    def _choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        if delta := choice.get("delta"):
            if text := delta.get("content") or delta.get("refusal"):
                events.append(text if type(text) is str else _joined(text))
            if fragments := delta.get("tool_calls"):
                for fragment in fragments:
                    self._gather(fragment, events)
            if function := delta.get("function_call"):
                self._gather({"index": 0, "function": function}, events)
        if reason := choice.get("finish_reason"):
            if reason == "error":
                raise AgentError(REPORTED)
            self._close_call(events)
            self._reason = REASONS.get(reason, "stop")

    def _gather(self, fragment: dict[str, Any], events: list[Event]) -> None:
        function = fragment.get("function") or {}
        index, id, name = (
            fragment.get("index"),
            str(fragment.get("id") or ""),
            str(function.get("name") or ""),
        )
        if self._call is None or self._call.ends_before(index, id, name):
            self._close_call(events)
            self._call = _Call(index)
        if self._doing and name and not self._call.name:
            events.append(Activity(name))
        self._call.id = self._call.id or id
        self._call.name = self._call.name or name
        if arguments := function.get("arguments"):
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
            self._call.arguments.append(text)

    def _close_call(self, events: list[Event]) -> None:
        call, self._call = self._call, None
        if call is not None and not self._doing:
            self._called += 1
            events.append(call.whole(f"{self._ids}_{self._called}"))


class _Call:
    """A tool call that is still coming in pieces."""

    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def ends_before(self, index: int | None, id: str, name: str) -> bool:
        """Whether a piece with these marks begins another call; index and id may be missing or repeated."""
        if index is not None and index != self.index:
            return True
        if id and self.id:
            return id != self.id
        return index is None and bool(name and self.name)

    def whole(self, id: str) -> ToolCall:
        arguments = "".join(self.arguments).strip() or "{}"
        if not self.name:
            raise AgentProtocolError("a tool call without a name")
        try:
            if not isinstance(orjson.loads(arguments), dict):
                raise AgentProtocolError(f"the arguments of tool {self.name!r} are no object")
        except orjson.JSONDecodeError as error:
            raise AgentProtocolError(f"the arguments of tool {self.name!r} are no JSON: {error}") from error
        return ToolCall(self.id or id, self.name, arguments)


def decode_completion(body: bytes, ids: str = "call", *, doing: bool = False) -> list[Event]:
    """The events of an answer that came as one JSON body instead of a stream."""
    answer = _json(body)
    if error := answer.get("error"):
        raise error_from_object(error)
    decoder = ChatChunkDecoder(ids, doing=doing)
    try:
        choice = answer["choices"][0]
        calls = choice["message"].get("tool_calls") or ()
        calls = [{**call, "index": index} for index, call in enumerate(calls)]
        choice = {**choice, "delta": {**choice["message"], "tool_calls": calls}}
    except (AttributeError, LookupError, TypeError) as error:
        raise AgentProtocolError(f"an answer of an unknown shape: {error!r}") from error
    return [*decoder._read({**answer, "choices": [choice]}), *decoder.end()]


def decode_models(body: bytes) -> tuple[str, ...]:
    """The names in a list of models."""
    try:
        return tuple(str(model["id"]) for model in _json(body)["data"])
    except (LookupError, TypeError) as error:
        raise AgentProtocolError(f"a list of models of an unknown shape: {error!r}") from error


def _json(data: bytes) -> dict[str, Any]:
    try:
        chunk = loads(data)
    except ValueError as error:
        raise AgentProtocolError(f"no JSON where a chunk should be: {error}") from error
    if type(chunk) is not dict:
        raise AgentProtocolError(f"a chunk that is no object but {type(chunk).__name__}")
    return chunk


def _text(literal: bytes) -> str | None:
    """The text that a JSON string stands for; None for anything else."""
    try:
        text = orjson.loads(literal)
    except orjson.JSONDecodeError:
        return None
    return text if type(text) is str else None


def _joined(parts: Any) -> str:
    """The text of content that came as a list of parts."""
    if type(parts) is not list:
        raise TypeError(f"content is {type(parts).__name__}")
    return "".join(part if isinstance(part, str) else part.get("text") or "" for part in parts)


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        prompt=int(usage.get("prompt_tokens") or 0),
        completion=int(usage.get("completion_tokens") or 0),
        cached=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
        reasoning=int((usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0),
    )
