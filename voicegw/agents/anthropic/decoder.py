"""Decoder for streams of Anthropic's Messages API: their events become those of voicegw. Pure.

The model thinks, speaks and calls tools in blocks, which an index tells apart. Its thoughts are not spoken.
Servers of other vendors leave things out: the name of an event, an index, the end of a block. `request` is
the other half.

Source: Anthropic's API reference, "Streaming Messages"; the tests compare with Anthropic's Python SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import (
    MAX_QUOTE_CHARS,
    MESSAGE_FIELDS,
    REPORTED_ERROR,
    error_from_body,
    error_from_object,
    find_error,
)
from voicegw.agents.client.json_values import error_in_place
from voicegw.agents.finish_reasons import AnswerState, correct_reason, is_cut, parse_finish_reason
from voicegw.agents.tool_calls import ToolCallGatherer
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Finish, Reason, Usage
from voicegw.wire.json import dumps, loads_piece
from voicegw.wire.sse import ServerSentEvent

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

    `id_prefix` begins the ids of tool calls that came without one. `state` says how far the answer is, `done`
    that the stream is over.
    """

    __slots__ = ("_calls", "_counts", "_open_blocks", "_reason", "done", "state")

    def __init__(self, id_prefix: str = "call") -> None:
        self.done = False
        self.state = AnswerState.OPEN
        self._calls = ToolCallGatherer(id_prefix)
        # The blocks that neither text nor tool calls of the platform are in, by their index.
        self._open_blocks: set[int | None] = set()
        self._counts: dict[str, int] = {}
        self._reason: Reason | None = None

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """Return the events of one server-sent event: text at once, a tool call when it is whole.

        Raises `AgentProtocolError` for an event of an unknown shape, and the `AgentError` that the server
        reports.
        """
        if self.done or not sse.data:
            return []
        try:
            return self._decode_event(loads_piece(sse.data), sse.event)
        except SHAPE_ERRORS as error:
            if sse.event == "error":
                raise error_from_body(sse.data) from error
            raise error_in_place(sse.data, "an event of an unknown shape", repr(error)) from error

    def end(self) -> list[Event]:
        """Return what remains after the stream: tool calls, the usage, and the reason unless it is "stop".

        Raises `AgentProtocolError` if a tool call is incomplete.
        """
        events: list[Event] = [*self._calls.end(is_cut=is_cut(self._reason))]
        if self._counts:
            events.append(_usage_from_counts(self._counts))
        reason = self._reason and correct_reason(self._reason, self._calls.count > 0)
        return events if reason in (None, "stop") else [*events, Finish(reason)]

    def _decode_event(self, event: dict[str, Any], name: str) -> list[Event]:
        match event.get("type", name):
            case "content_block_delta":
                self.state = AnswerState.OPEN  # also after a reason to stop
                return self._decode_delta(event.get("index"), event["delta"])
            case "content_block_start":
                self.state = AnswerState.OPEN
                return self._start_block(event.get("index"), event["content_block"])
            case "content_block_stop":
                self._open_blocks.discard(event.get("index"))
                return [*self._calls.close(event.get("index"))]
            case "ping":  # within a block it says that the model still works on it
                return [REASONING] if self._open_blocks and self.state is AnswerState.OPEN else []
            case "message_start":
                self._update_counts(event["message"].get("usage"))
            case "message_delta":
                self._reason = parse_finish_reason(event["delta"].get("stop_reason")) or self._reason
                if self._reason is not None:
                    goes_on = self._calls.has_open_call and not is_cut(self._reason)
                    self.state = AnswerState.OPEN if goes_on else AnswerState.ENDED
                self._update_counts(event.get("usage"))
            case "message_stop":
                self.done, self.state = True, AnswerState.ENDED
            case _:
                if (error := find_error(event)) is not None:
                    raise reported_error(error)
        return []

    def _decode_delta(self, index: int | None, delta: dict[str, Any]) -> list[Event]:
        kind = delta["type"]
        if kind == "text_delta":
            return _text_events(delta["text"])
        if kind == "input_json_delta" and index not in self._open_blocks:
            if not self._calls.append(index, delta["partial_json"]):
                raise AgentProtocolError("arguments of a tool call that did not begin")
            return [REASONING]
        return [REASONING] if index in self._open_blocks else []

    def _start_block(self, index: int | None, block: dict[str, Any]) -> list[Event]:
        kind = block["type"]
        if kind == "text":
            return _text_events(block.get("text") or "")
        if kind == "tool_use":
            whole = block.get("input")  # some servers send the arguments here instead of in pieces
            default_arguments = dumps(whole).decode() if whole else ""
            self._calls.start(
                index, str(block.get("id") or ""), str(block.get("name") or ""), default_arguments
            )
            return [REASONING]
        self._open_blocks.add(index)
        return [Activity(str(block.get("name") or "tool"))] if kind == "server_tool_use" else [REASONING]

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


def reported_error(error: Any) -> AgentError:
    """Return the error that an `error` object of the protocol reports."""
    reported = error_from_object(error)
    kind = str(error.get("type")) if isinstance(error, dict) else ""
    if kind and not any(map(error.get, MESSAGE_FIELDS)):
        reported.redact(REPORTED_ERROR, kind.removeprefix("error")[:MAX_QUOTE_CHARS])
    error_class = ERRORS_BY_TYPE.get(kind)
    return reported if error_class is None else error_class(REPORTED_ERROR, reported.quote)
