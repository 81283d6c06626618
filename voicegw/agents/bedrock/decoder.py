"""Decoder for streams of Amazon Bedrock's ConverseStream: messages become events and errors. Pure.

`eventstream` cuts the bytes into messages; `request` is the other half.

Source: Amazon Bedrock's API reference, "ConverseStream"; the tests compare with botocore.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from voicegw.agents.bedrock.eventstream import EventStreamMessage
from voicegw.agents.client.error_body import MAX_QUOTE_CHARS, REPORTED_ERROR, error_from_object
from voicegw.agents.client.json_values import decode_object, text_or_empty
from voicegw.agents.finish_reasons import AnswerState, correct_reason, is_cut, parse_finish_reason
from voicegw.agents.tool_calls import ToolCallGatherer
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
)
from voicegw.events import REASONING, Activity, Event, Finish, Reason, Usage
from voicegw.wire.json import loads_lossy

EVENT_TYPES = ("contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "metadata")
"""The events that are decoded; all others are skipped unread, except for errors."""
ERRORS_BY_NAME: Mapping[str, type[AgentError]] = {
    "accessdenied": AgentRejected,
    "expiredtoken": AgentRejected,
    "incompletesignature": AgentRejected,
    "modelerror": AgentError,
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

    `id_prefix` begins the ids of tool calls without one. `state` says how far the answer is, `done` that
    nothing more comes: the token usage follows the end of the answer.
    """

    __slots__ = ("_calls", "_reason", "_skipped_blocks", "_usage", "done", "state")

    def __init__(self, id_prefix: str = "call") -> None:
        self._calls = ToolCallGatherer(id_prefix)
        # The blocks of tools that Bedrock runs, by their index.
        self._skipped_blocks: set[int] = set()
        self._reason: Reason = "stop"
        self._usage: Usage | None = None
        self.done = False
        self.state = AnswerState.OPEN

    def feed(self, message: EventStreamMessage) -> list[Event]:
        """Return the events of one message: text at once, a tool call when it is whole.

        Raises `AgentProtocolError` for a message of an unknown shape, or a model that broke off, and the
        `AgentError` that Bedrock reports.
        """
        headers, payload = message
        kind = headers.get(":event-type")
        if headers.get(":message-type") != "event" or str(kind).endswith("Exception"):
            raise _reported_error(message)
        has_ended = self.state is AnswerState.ENDED
        if kind not in EVENT_TYPES or (has_ended and kind != "metadata"):
            return []
        event = decode_object(payload, "an event")
        try:
            return self._decode_event(kind, event)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError("an event of an unknown shape", repr(error)) from error

    def end(self) -> list[Event]:
        """Return what remains after the stream: tool calls, the usage, and the reason unless it is "stop".

        Raises `AgentProtocolError` if the stream ended before the answer did, or in a tool call.
        """
        if self.state is not AnswerState.ENDED:
            raise AgentProtocolError("the stream ended in the middle of an answer")
        events: list[Event] = [*self._calls.end(is_cut=is_cut(self._reason))]
        if self._usage is not None:
            events.append(self._usage)
        reason = correct_reason(self._reason, self._calls.count > 0)
        return events if reason == "stop" else [*events, Finish(reason)]

    def _decode_event(self, kind: object, event: dict[str, Any]) -> list[Event]:
        if kind == "contentBlockDelta":
            return self._decode_delta(event)
        if kind == "contentBlockStart":
            return self._start_block(event)
        if kind == "contentBlockStop":
            return [*self._calls.close(event["contentBlockIndex"])]
        if kind == "messageStop":
            self._reason = parse_finish_reason(_require_text(event["stopReason"])) or "stop"
            self.state, self.done = AnswerState.ENDED, self._usage is not None
        else:
            self._usage = _decode_usage(event["usage"])
            self.done = self.state is AnswerState.ENDED
        return []

    def _decode_delta(self, event: dict[str, Any]) -> list[Event]:
        delta = event["delta"]
        if (text := delta.get("text")) is not None:
            return [text] if _require_text(text) else []
        if use := delta.get("toolUse"):
            index = event["contentBlockIndex"]
            if not self._calls.append(index, use["input"]) and index not in self._skipped_blocks:
                raise AgentProtocolError("arguments of a tool call that did not begin")
            return [REASONING]
        return [REASONING] if delta.get("reasoningContent") else []

    def _start_block(self, event: dict[str, Any]) -> list[Event]:
        use = event["start"].get("toolUse")
        if not use:
            return []
        name = _require_text(use["name"])
        if use.get("type") == "server_tool_use":  # Bedrock runs it
            self._skipped_blocks.add(event["contentBlockIndex"])
            return [Activity(name)]
        self._calls.start(event["contentBlockIndex"], _require_text(use.get("toolUseId") or ""), name)
        return [REASONING]


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
    if kind in ("exception", "event"):
        name = headers.get(":exception-type") or headers.get(":event-type")
        words = _words_of(payload)
    elif kind == "error":
        name = headers.get(":error-code")
        words = str(headers.get(":error-message") or "")
    else:
        return AgentProtocolError("a message of an unknown type", str(kind or ""))
    name = parse_error_name(str(name or ""))
    summary = f"{REPORTED_ERROR} ({name})" if name else REPORTED_ERROR
    return error_class_for(name, AgentError)(summary, " ".join(words.split())[:MAX_QUOTE_CHARS])


def error_from_value(name: str, error: Any) -> AgentError:
    """Return the error that a JSON body reports. Without a `name`, its `__type` names it."""
    reported = error_from_object(error)
    name = name or parse_error_name(text_or_empty(error.get("__type")))
    summary = f"{REPORTED_ERROR} ({name})" if name else REPORTED_ERROR
    return error_class_for(name, type(reported))(summary, reported.quote)


def parse_error_name(name: str) -> str:
    """Return the name of an error without the namespace or address around it; "" if there is no name."""
    found = re.fullmatch(r"(?:[^#]*#)?([A-Za-z_]{1,80})(?::.*)?", name.strip())
    return found[1] if found else ""


def error_class_for(name: str, default: type[AgentError]) -> type[AgentError]:
    """Return the error that Bedrock's error of this name stands for, `default` if the name decides none."""
    return ERRORS_BY_NAME.get(name.removesuffix("Exception").lower(), default)


def _words_of(payload: bytes) -> str:
    """Return the message in the JSON of an exception; "" if there is none."""
    try:
        value = loads_lossy(payload)
    except ValueError:
        return ""
    return text_or_empty(value.get("message")) if isinstance(value, dict) else ""
