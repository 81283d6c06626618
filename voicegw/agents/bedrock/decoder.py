"""What Amazon Bedrock's ConverseStream tells, as events; what it reports, as errors of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from voicegw.agents.bedrock.eventstream import EventStreamMessage
from voicegw.agents.client.error_body import REPORTED, WORDS
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)
from voicegw.events import Activity, Event, Finish, Reason, ToolCall, Usage
from voicegw.wire.json import loads

REASONS: Mapping[str, Reason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
KNOWN = ("contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "metadata")
"""The events that say something to us; what is in the others does not matter, if anything is."""
FAILURES: Mapping[str, type[AgentError]] = {
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
"""What the names of failures mean, as far as the status does not say the same."""


class ConverseDecoder:
    """Turns the frames of one answer into events.

    `complete` says that nothing is missing even if the connection breaks now, `done` that nothing more will
    come: how many tokens were used is told after the end. `ids` begins the ids of tool calls without one.
    Raises `AgentProtocolError` for what cannot be understood, an `AgentError` for what Bedrock reports.
    """

    __slots__ = ("_called", "_calls", "_ids", "_reason", "_usage", "complete", "done")

    def __init__(self, ids: str = "call") -> None:
        self._ids = ids
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._called = 0
        self._reason: Reason = "stop"
        self._usage: Usage | None = None
        self.complete = self.done = False

    def feed(self, frame: EventStreamMessage) -> list[Event]:
        """What one frame says: text at once, a tool call when whole, the rest at the end."""
        headers, payload = frame
        if headers.get(":message-type") != "event":
            raise _reported(frame)
        kind = headers.get(":event-type")
        if kind not in KNOWN or (self.complete and kind != "metadata"):
            return []
        told = _object(payload)
        try:
            return self._read(kind, told)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError(f"an event of an unknown shape: {error!r}") from error

    def end(self) -> list[Event]:
        """What is left when the stream is over: the usage, and why it stopped unless that is as usual."""
        if not self.complete:
            raise AgentProtocolError("the stream ended in the middle of an answer")
        finish = [] if self._reason == "stop" else [Finish(self._reason)]
        return [*finish] if self._usage is None else [self._usage, *finish]

    def _read(self, kind: object, told: dict[str, Any]) -> list[Event]:
        if kind == "contentBlockDelta":
            return self._delta(told)
        if kind == "contentBlockStart":
            return self._start(told)
        if kind == "contentBlockStop":
            return self._stop(told["contentBlockIndex"])
        if kind == "messageStop":
            return self._over(told["stopReason"])
        self._usage, self.done = _usage(told["usage"]), self.complete
        return []

    def _delta(self, told: dict[str, Any]) -> list[Event]:
        delta = told["delta"]
        if (text := delta.get("text")) is not None:
            return [text] if _string(text) else []
        if (use := delta.get("toolUse")) and (call := self._calls.get(told["contentBlockIndex"])):
            call[2].append(use["input"])
        return []

    def _start(self, told: dict[str, Any]) -> list[Event]:
        use = told["start"].get("toolUse")
        if not use:
            return []
        name = _string(use["name"])
        if use.get("type") == "server_tool_use":  # Bedrock runs it
            return [Activity(name)]
        self._calls[told["contentBlockIndex"]] = (_string(use.get("toolUseId") or ""), name, [])
        return []

    def _stop(self, index: int) -> list[Event]:
        call = self._calls.pop(index, None)
        if call is None:
            return []
        self._called += 1
        id, name, pieces = call
        return [ToolCall(id or f"{self._ids}_{self._called}", name, _arguments(name, "".join(pieces)))]

    def _over(self, reason: object) -> list[Event]:
        why = _string(reason)
        if why.startswith("malformed"):  # a tool that was announced is never called: nobody may wait for it
            raise AgentProtocolError(f"the model broke off with {why!r}")
        events = [event for index in [*self._calls] for event in self._stop(index)]
        self._reason = REASONS.get(why, "tool_calls" if self._called else "stop")
        self.complete, self.done = True, self._usage is not None
        return events


def _arguments(name: str, text: str) -> str:
    """The arguments of a call, `{}` where there are none."""
    if not text.strip():
        return "{}"
    try:
        fine = type(loads(text.encode("utf-8", "replace"))) is dict
    except ValueError:
        fine = False
    if not fine:
        raise AgentProtocolError(f"the arguments of tool {name!r} are no JSON object")
    return text


def _string(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{type(value).__name__} where a string should be")
    return value


def _usage(told: dict[str, Any]) -> Usage:
    """Bedrock counts what it read from its cache, and what it wrote there, beside the rest of a prompt."""
    read, written = (int(told.get(f"cache{what}InputTokens") or 0) for what in ("Read", "Write"))
    return Usage(int(told["inputTokens"]) + read + written, int(told["outputTokens"]), read)


def _object(payload: bytes) -> dict[str, Any]:
    try:
        told = loads(payload)
    except ValueError as error:
        raise AgentProtocolError(f"no JSON where an event should be: {error}") from None
    if type(told) is not dict:
        raise AgentProtocolError(f"an event that is no object but {type(told).__name__}")
    return told


def _reported(frame: EventStreamMessage) -> AgentError:
    """A failure in the stream: of the model or service, or one of the stream itself."""
    headers, payload = frame
    kind = headers.get(":message-type")
    if kind == "exception":
        name, said = headers.get(":exception-type"), _words(payload)
    elif kind == "error":
        name, said = headers.get(":error-code"), _short(str(headers.get(":error-message") or ""))
    else:
        return AgentProtocolError(f"a frame of the unknown type {kind!r}")
    called = named(str(name or ""))
    return meaning(called, AgentError)(f"{REPORTED} ({called})" if called else REPORTED, said)


def _words(payload: bytes) -> str:
    """The service's own words about a failure."""
    try:
        said = _object(payload).get("message")
    except AgentProtocolError:
        said = None
    return _short(said) if isinstance(said, str) else ""


def _short(text: str) -> str:
    return " ".join(text.split())[:WORDS]


def named(name: str) -> str:
    """The name of a failure without what may surround it: a namespace, an address; "" if it has none."""
    found = re.fullmatch(r"(?:[^#]*#)?(\w{1,80})(?::.*)?", name.strip())
    return found[1] if found else ""


def meaning(name: str, otherwise: type[AgentError]) -> type[AgentError]:
    """What a failure with this name is to us."""
    return FAILURES.get(name.removesuffix("Exception").lower(), otherwise)
