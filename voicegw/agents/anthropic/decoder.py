"""Decoder for streams of Anthropic's Messages API: their events become those of voicegw. Pure.

The model thinks, speaks and calls tools in blocks, which an index tells apart. Its thoughts are dropped.
Servers of other vendors leave things out: the name of an event, an index, the end of a block. `request` is
the other half.

Source: Anthropic's API reference, "Streaming Messages"; the tests compare with Anthropic's Python SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import MAX_QUOTE_CHARS, REPORTED_ERROR
from voicegw.agents.tool_calls import ToolCallBuilder
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import Event, Finish, Reason, ToolCall, Usage
from voicegw.wire.json import dumps, loads
from voicegw.wire.sse import ServerSentEvent

FINISH_REASONS: Mapping[str, Reason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
"""The reason of the answer's end for each `stop_reason`; any other one means "stop"."""
ERRORS_BY_TYPE: Mapping[str, type[AgentError]] = {
    "authentication_error": AgentRejected,
    "billing_error": AgentRejected,
    "invalid_request_error": AgentProtocolError,
    "not_found_error": AgentRejected,
    "overloaded_error": AgentBusy,
    "permission_error": AgentRejected,
    "rate_limit_error": AgentBusy,
    "timeout_error": AgentTimeout,
}
"""The error for each `type` that the server reports; any other one is a plain `AgentError`."""
SHAPE_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The exceptions of code that reads a value of an unexpected shape."""


class MessagesDecoder:
    """Turns the events of one streamed answer into events of voicegw.

    `id_prefix` begins the ids of tool calls that came without one. `done` says that the stream is over.
    """

    __slots__ = ("_call_count", "_calls", "_counts", "_id_prefix", "_stop_reason", "done")

    def __init__(self, id_prefix: str = "call") -> None:
        self.done = False
        self._id_prefix = id_prefix
        self._calls: dict[int | None, ToolCallBuilder] = {}
        self._call_count = 0
        self._counts: dict[str, int] = {}
        self._stop_reason = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing even if the connection breaks now."""
        return self.done or bool(self._stop_reason)

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """Return the events of one server-sent event: text at once, a tool call when it is whole.

        Raises `AgentProtocolError` for an event of an unknown shape, and the `AgentError` that the server
        reports.
        """
        if self.done or not sse.data:
            return []
        try:
            return self._decode_event(loads(sse.data), sse.event)
        except SHAPE_ERRORS as error:
            raise AgentProtocolError(f"an event of an unknown shape: {error!r}") from error

    def end(self) -> list[Event]:
        """Return what remains after the stream: tool calls, the usage, and the reason unless it is "stop".

        Raises `AgentProtocolError` if a tool call is incomplete.
        """
        events: list[Event] = [self._build_call(call) for call in self._calls.values()]
        self._calls.clear()
        if self._counts:
            events.append(_usage_from_counts(self._counts))
        reason = FINISH_REASONS.get(self._stop_reason)
        if reason is not None and (self._call_count or reason != "tool_calls"):
            events.append(Finish(reason))
        return events

    def _decode_event(self, event: dict[str, Any], name: str) -> list[Event]:
        match event.get("type", name):
            case "content_block_delta":
                return self._decode_delta(event.get("index"), event["delta"])
            case "content_block_start":
                return self._start_block(event.get("index"), event["content_block"])
            case "content_block_stop":
                call = self._calls.pop(event.get("index"), None)
                return [] if call is None else [self._build_call(call)]
            case "message_start":
                self._update_counts(event["message"].get("usage"))
            case "message_delta":
                self._stop_reason = str(event["delta"].get("stop_reason") or self._stop_reason)
                self._update_counts(event.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                raise _reported_error(event.get("error"))
        return []

    def _decode_delta(self, index: int | None, delta: dict[str, Any]) -> list[Event]:
        kind = delta["type"]
        if kind == "text_delta":
            return _text_events(delta["text"])
        if kind == "input_json_delta" and (call := self._calls.get(index)) is not None:
            call.add_arguments(delta["partial_json"])
        return []

    def _start_block(self, index: int | None, block: dict[str, Any]) -> list[Event]:
        if block["type"] == "tool_use":
            call = ToolCallBuilder(str(block.get("id") or ""), str(block.get("name") or ""))
            if whole := block.get("input"):  # some servers send the arguments here instead of in pieces
                call.default_arguments = dumps(whole).decode()
            self._calls[index] = call
            return []
        return _text_events(block.get("text") or "") if block["type"] == "text" else []

    def _build_call(self, call: ToolCallBuilder) -> ToolCall:
        self._call_count += 1
        return call.build(f"{self._id_prefix}_{self._call_count}")

    def _update_counts(self, usage: Any) -> None:
        """Take token counts, which are totals of the answer so far; a missing one keeps its value."""
        if isinstance(usage, dict):
            details = usage.get("output_tokens_details")
            counts = usage | (details if isinstance(details, dict) else {})
            self._counts |= {name: number for name, number in counts.items() if type(number) is int}


def _text_events(text: Any) -> list[Event]:
    if type(text) is not str:
        raise TypeError(f"text is {type(text).__name__}")
    return [text] if text else []


def _usage_from_counts(counts: Mapping[str, int]) -> Usage:
    """Return the usage; `input_tokens` do not include the tokens read from the cache or written to it."""
    cached = counts.get("cache_read_input_tokens", 0)
    return Usage(
        prompt=counts.get("input_tokens", 0) + cached + counts.get("cache_creation_input_tokens", 0),
        completion=counts.get("output_tokens", 0),
        cached=cached,
        reasoning=counts.get("thinking_tokens", 0),
    )


def _reported_error(error: Any) -> AgentError:
    is_object = isinstance(error, dict)
    kind = str(error.get("type")) if is_object else ""
    words = " ".join(str((error.get("message") or kind) if is_object else error or "").split())
    return ERRORS_BY_TYPE.get(kind, AgentError)(REPORTED_ERROR, words[:MAX_QUOTE_CHARS])
