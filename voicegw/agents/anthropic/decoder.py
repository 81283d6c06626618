"""Anthropic's Messages protocol seen by its client: the events of a streamed answer become ours.

The model thinks, speaks and calls tools in blocks that an index tells apart; what it thinks is never passed
on. Servers of other makers leave things out: the name of an event, an index, the end of a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import REPORTED, WORDS
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import Event, Finish, Reason, ToolCall, Usage
from voicegw.wire.json import dumps, loads
from voicegw.wire.sse import ServerSentEvent

REASONS: Mapping[str, Reason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
"""Why an answer is over, where it did not simply end."""
FAILURES: Mapping[str, type[AgentError]] = {
    "authentication_error": AgentRejected,
    "billing_error": AgentRejected,
    "invalid_request_error": AgentProtocolError,
    "not_found_error": AgentRejected,
    "overloaded_error": AgentBusy,
    "permission_error": AgentRejected,
    "rate_limit_error": AgentBusy,
    "timeout_error": AgentTimeout,
}
UNKNOWN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading something of an unknown shape raises."""


class MessagesDecoder:
    """Turns the events of one streamed answer into ours.

    `done` says that the stream is over, `complete` that nothing is missing even if the connection breaks
    now. `ids` begins the ids of tool calls that came without one. Anything that cannot be understood raises
    `AgentProtocolError`, an error that the server reports the `AgentError` that it means.
    """

    __slots__ = ("_called", "_calls", "_counts", "_ids", "_reason", "done")

    def __init__(self, ids: str = "call") -> None:
        self.done = False
        self._ids = ids
        self._calls: dict[int | None, _Call] = {}
        self._called = 0
        self._counts: dict[str, int] = {}
        self._reason = ""

    @property
    def complete(self) -> bool:
        return self.done or bool(self._reason)

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """What one server-sent event says: text at once, a tool call when whole, the rest at the end."""
        if self.done or not sse.data:
            return []
        try:
            return self._read(loads(sse.data), sse.event)
        except UNKNOWN as error:
            raise AgentProtocolError(f"an event of an unknown shape: {error!r}") from error

    def end(self) -> list[Event]:
        """What is left when the stream is over: calls, the usage, and why it stopped unless it just ended."""
        events: list[Event] = [self._whole(call) for call in self._calls.values()]
        self._calls.clear()
        if counted := self._counts:
            events.append(_usage(counted))
        reason = REASONS.get(self._reason)
        if reason is not None and (self._called or reason != "tool_calls"):
            events.append(Finish(reason))
        return events

    def _read(self, event: dict[str, Any], name: str) -> list[Event]:
        match event.get("type", name):
            case "content_block_delta":
                return self._more(event.get("index"), event["delta"])
            case "content_block_start":
                return self._begin(event.get("index"), event["content_block"])
            case "content_block_stop":
                call = self._calls.pop(event.get("index"), None)
                return [] if call is None else [self._whole(call)]
            case "message_start":
                self._count(event["message"].get("usage"))
            case "message_delta":
                self._reason = str(event["delta"].get("stop_reason") or self._reason)
                self._count(event.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                raise _failed(event.get("error"))
        return []

    def _more(self, index: int | None, delta: dict[str, Any]) -> list[Event]:
        kind = delta["type"]
        if kind == "text_delta":
            return _spoken(delta["text"])
        if kind == "input_json_delta" and (call := self._calls.get(index)) is not None:
            call.pieces.append(delta["partial_json"])
        return []

    def _begin(self, index: int | None, block: dict[str, Any]) -> list[Event]:
        if block["type"] == "tool_use":
            self._calls[index] = _Call(block)
            return []
        return _spoken(block.get("text") or "") if block["type"] == "text" else []

    def _whole(self, call: _Call) -> ToolCall:
        self._called += 1
        return call.whole(f"{self._ids}_{self._called}")

    def _count(self, usage: Any) -> None:
        """Counts are totals of the answer so far; what is not told again stays."""
        if isinstance(usage, dict):
            details = usage.get("output_tokens_details")
            told = usage | (details if isinstance(details, dict) else {})
            self._counts |= {name: number for name, number in told.items() if type(number) is int}


class _Call:
    """A tool call that is still coming in pieces."""

    __slots__ = ("id", "input", "name", "pieces")

    def __init__(self, block: dict[str, Any]) -> None:
        self.id = str(block.get("id") or "")
        self.name = str(block.get("name") or "")
        self.input = block.get("input") or {}
        self.pieces: list[str] = []

    def whole(self, id: str) -> ToolCall:
        if not self.name:
            raise AgentProtocolError("a tool call without a name")
        try:
            arguments = "".join(self.pieces).strip() or dumps(self.input).decode()
            whole = isinstance(loads(arguments.encode()), dict)
        except UNKNOWN:
            whole = False
        if not whole:
            raise AgentProtocolError(f"the arguments of tool {self.name!r} are no whole object")
        return ToolCall(self.id or id, self.name, arguments)


def _spoken(text: Any) -> list[Event]:
    if type(text) is not str:
        raise TypeError(f"text is {type(text).__name__}")
    return [text] if text else []


def _usage(counted: Mapping[str, int]) -> Usage:
    """What was read from the cache or written to it is not among the tokens of the input."""
    cached = counted.get("cache_read_input_tokens", 0)
    return Usage(
        prompt=counted.get("input_tokens", 0) + cached + counted.get("cache_creation_input_tokens", 0),
        completion=counted.get("output_tokens", 0),
        cached=cached,
        reasoning=counted.get("thinking_tokens", 0),
    )


def _failed(error: Any) -> AgentError:
    known = isinstance(error, dict)
    kind = str(error.get("type")) if known else ""
    words = " ".join(str((error.get("message") or kind) if known else error or "").split())
    return FAILURES.get(kind, AgentError)(REPORTED, words[:WORDS])
