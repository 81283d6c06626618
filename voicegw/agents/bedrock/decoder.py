"""Decoder for streams of Amazon Bedrock's ConverseStream: messages become events and errors. Pure.

`eventstream` cuts the bytes into messages; `request` is the other half.

Source: Amazon Bedrock's API reference, "ConverseStream"; the tests compare with botocore.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from voicegw.agents.bedrock.eventstream import EventStreamMessage
from voicegw.agents.client.error_body import MAX_QUOTE_CHARS, REPORTED_ERROR
from voicegw.agents.client.json_values import decode_object, text_or_empty
from voicegw.agents.tool_calls import ToolCallBuilder
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)
from voicegw.events import Activity, Event, Finish, Reason, Usage
from voicegw.wire.json import loads_object

FINISH_REASONS: Mapping[str, Reason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""The reason of the answer's end for each `stopReason`; any other one means "tool_calls" or "stop"."""
EVENT_TYPES = ("contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "metadata")
"""The events that are decoded; all others are skipped unread."""
ERRORS_BY_NAME: Mapping[str, type[AgentError]] = {
    "accessdenied": AgentRejected,
    "expiredtoken": AgentRejected,
    "incompletesignature": AgentRejected,
    "modelerror": AgentUnavailable,
    "modelnotready": AgentBusy,
    "modeltimeout": AgentTimeout,
    "servicequotaexceeded": AgentBusy,
    "serviceunavailable": AgentBusy,
    "throttling": AgentBusy,
    "validation": AgentRejected,
}
"""The error for each of Bedrock's error names, without "Exception": the status alone does not decide it."""


class ConverseDecoder:
    """Turns the messages of one answer into events.

    `id_prefix` begins the ids of tool calls without one. `complete` says that nothing is missing even if the
    connection breaks now, `done` that nothing more comes: the token usage follows the end of the answer.
    """

    __slots__ = ("_call_count", "_calls", "_id_prefix", "_reason", "_usage", "complete", "done")

    def __init__(self, id_prefix: str = "call") -> None:
        self._id_prefix = id_prefix
        self._calls: dict[int, ToolCallBuilder] = {}
        self._call_count = 0
        self._reason: Reason = "stop"
        self._usage: Usage | None = None
        self.complete = self.done = False

    def feed(self, message: EventStreamMessage) -> list[Event]:
        """Return the events of one message: text at once, a tool call when it is whole.

        Raises `AgentProtocolError` for a message of an unknown shape, or a model that broke off, and the
        `AgentError` that Bedrock reports.
        """
        headers, payload = message
        if headers.get(":message-type") != "event":
            raise _reported_error(message)
        kind = headers.get(":event-type")
        if kind not in EVENT_TYPES or (self.complete and kind != "metadata"):
            return []
        event = decode_object(payload, "an event")
        try:
            return self._decode_event(kind, event)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError(f"an event of an unknown shape: {error!r}") from error

    def end(self) -> list[Event]:
        """Return what remains after the stream: the usage, and the reason of the end unless it is "stop".

        Raises `AgentProtocolError` if the stream ended before the answer did.
        """
        if not self.complete:
            raise AgentProtocolError("the stream ended in the middle of an answer")
        finish = [] if self._reason == "stop" else [Finish(self._reason)]
        return [*finish] if self._usage is None else [self._usage, *finish]

    def _decode_event(self, kind: object, event: dict[str, Any]) -> list[Event]:
        if kind == "contentBlockDelta":
            return self._decode_delta(event)
        if kind == "contentBlockStart":
            return self._start_block(event)
        if kind == "contentBlockStop":
            return self._stop_block(event["contentBlockIndex"])
        if kind == "messageStop":
            return self._stop_message(event["stopReason"])
        self._usage, self.done = _decode_usage(event["usage"]), self.complete
        return []

    def _decode_delta(self, event: dict[str, Any]) -> list[Event]:
        delta = event["delta"]
        if (text := delta.get("text")) is not None:
            return [text] if _require_text(text) else []
        if (use := delta.get("toolUse")) and (call := self._calls.get(event["contentBlockIndex"])):
            call.add_arguments(use["input"])
        return []

    def _start_block(self, event: dict[str, Any]) -> list[Event]:
        use = event["start"].get("toolUse")
        if not use:
            return []
        name = _require_text(use["name"])
        if use.get("type") == "server_tool_use":  # Bedrock runs it
            return [Activity(name)]
        call = ToolCallBuilder(_require_text(use.get("toolUseId") or ""), name)
        self._calls[event["contentBlockIndex"]] = call
        return []

    def _stop_block(self, index: int) -> list[Event]:
        call = self._calls.pop(index, None)
        if call is None:
            return []
        self._call_count += 1
        return [call.build(f"{self._id_prefix}_{self._call_count}")]

    def _stop_message(self, reason: object) -> list[Event]:
        name = _require_text(reason)
        if name.startswith("malformed"):  # an announced tool call never comes
            raise AgentProtocolError(f"the model broke off with {name!r}")
        events = [event for index in [*self._calls] for event in self._stop_block(index)]
        self._reason = FINISH_REASONS.get(name, "tool_calls" if self._call_count else "stop")
        self.complete, self.done = True, self._usage is not None
        return events


def _require_text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{type(value).__name__} where a string should be")
    return value


def _decode_usage(usage: dict[str, Any]) -> Usage:
    """Return the usage; `inputTokens` do not include the tokens read from the cache or written to it."""
    read, written = (int(usage.get(f"cache{access}InputTokens") or 0) for access in ("Read", "Write"))
    return Usage(int(usage["inputTokens"]) + read + written, int(usage["outputTokens"]), read)


def _reported_error(message: EventStreamMessage) -> AgentError:
    """Return the error that a message reports: an exception of the service, or an error of the stream."""
    headers, payload = message
    kind = headers.get(":message-type")
    if kind == "exception":
        name = headers.get(":exception-type")
        words = text_or_empty((loads_object(payload) or {}).get("message"))
    elif kind == "error":
        name = headers.get(":error-code")
        words = str(headers.get(":error-message") or "")
    else:
        return AgentProtocolError(f"a message of the unknown type {kind!r}")
    name = parse_error_name(str(name or ""))
    summary = f"{REPORTED_ERROR} ({name})" if name else REPORTED_ERROR
    return error_class_for(name, AgentError)(summary, " ".join(words.split())[:MAX_QUOTE_CHARS])


def parse_error_name(name: str) -> str:
    """Return the name of an error without the namespace or address around it; "" if there is no name."""
    found = re.fullmatch(r"(?:[^#]*#)?(\w{1,80})(?::.*)?", name.strip())
    return found[1] if found else ""


def error_class_for(name: str, default: type[AgentError]) -> type[AgentError]:
    """Return the error that Bedrock's error of this name stands for, `default` if the name decides none."""
    return ERRORS_BY_NAME.get(name.removesuffix("Exception").lower(), default)
