"""The protocol of ZeroClaw's chat websocket: encodes the frames to send, decodes those of a turn. No I/O.

Frames do not name their turn: a turn ends with `done`, `aborted` or `error`, and the next one begins only
then. Frames about other things (scheduled jobs, plans, trimmed histories) may arrive at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from voicegw.agents.client.error_body import MAX_QUOTE_CHARS, describe_code, error_class_from_report
from voicegw.agents.client.json_values import count_or_zero, text_or_empty
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import REASONING, Activity, Event, Usage
from voicegw.wire.json import join_surrogates

SUBPROTOCOL = "zeroclaw.v1"
CONNECT_FRAME: Mapping[str, Any] = {"type": "connect"}
"""A frame without effect. But the server builds the agent of a socket only when its first frame arrives."""

ERROR_CLASSES: Mapping[str, type[AgentError]] = {
    "AUTH_ERROR": AgentRejected,
    "NEEDS_ONBOARDING": AgentRejected,
    "INVALID_CWD": AgentRejected,
    "AGENT_INIT_FAILED": AgentUnavailable,
    "SESSION_RESTORE_UNAVAILABLE": AgentUnavailable,
    "SESSION_QUEUE_FULL": AgentBusy,
    "SESSION_QUEUE_TIMEOUT": AgentBusy,
    "INVALID_JSON": AgentProtocolError,
    "EMPTY_CONTENT": AgentProtocolError,
    "UNKNOWN_MESSAGE_TYPE": AgentProtocolError,
}
"""Error codes and their errors. For every other code, the words of the message decide."""
TURN_ERRORS = frozenset(
    {"AUTH_ERROR", "PROVIDER_ERROR", "AGENT_ERROR", "SESSION_QUEUE_FULL", "SESSION_QUEUE_TIMEOUT"}
)
"""Codes of errors that end the turn but not the socket."""
IGNORED_ERRORS = ("STEERING_", "SOP_", "INVALID_APPROVAL_RESPONSE")
"""Prefixes of error codes that do not concern the turn."""


def message_frame(text: str) -> dict[str, Any]:
    """Return the frame that sends a message of the caller, which starts a turn."""
    return {"type": "message", "content": text}


def approval_frame(request_id: str, decision: Literal["deny", "approve"]) -> dict[str, Any]:
    """Return the frame that answers an approval request."""
    return {"type": "approval_response", "request_id": request_id, "decision": decision}


def parse_resumed(frame: Mapping[str, Any], where: str) -> bool | None:
    """Whether the session of a new socket existed before; None if this frame does not start the session.

    Raises the `AgentError` that the frame reports. `where` names the server in it.
    """
    if frame.get("type") == "error":
        raise _reported_error(frame, where)
    return frame.get("resumed") is True if frame.get("type") == "session_start" else None


class ZeroClawTurnDecoder:
    """Decodes the frames of one turn. `where` names the server in errors."""

    __slots__ = ("_deltas", "_spoke_since_tool", "_where", "aborted", "approval_id", "done")

    def __init__(self, where: str) -> None:
        # Whether the turn ended, so the socket is free for the next one.
        self.done = False
        # Whether the turn ended because a client aborted it.
        self.aborted = False
        # The id of the action that the last frame asks to approve; None if it does not ask.
        self.approval_id: str | None = None
        self._where = where
        self._deltas: list[str] = []
        self._spoke_since_tool = False

    def feed(self, frame: Mapping[str, Any]) -> list[Event]:
        """Return the events of one frame; the usage comes with the end.

        Raises the `AgentError` that a frame reports, and `AgentProtocolError` for a frame of an unknown
        shape.
        """
        self.approval_id = None
        match frame.get("type"):
            case "chunk":
                return self._delta(self._text(frame, "content"))
            case "thinking" if frame.get("content"):
                return [REASONING]
            case "tool_result":  # the model goes on
                return [REASONING]
            case "tool_call":
                self._spoke_since_tool = False
                return [Activity(self._text(frame, "name") or "tool")]
            case "approval_request":
                self.approval_id = self._text(frame, "request_id")
                return [Activity(self._text(frame, "tool") or "approval")]
            case "done":
                self.done = True
                return [*self._unstreamed(self._text(frame, "full_response")), *_usage(frame)]
            case "aborted":
                self.done = self.aborted = True
            case "error" if "component" not in frame:  # an error with a component concerns no turn
                self._error(frame)
        return []

    def _delta(self, text: str) -> list[Event]:
        if not text:
            return []
        self._deltas.append(text)
        self._spoke_since_tool = self._spoke_since_tool or bool(text.strip())
        return [text]

    def _unstreamed(self, answer: str) -> list[Event]:
        """Return the complete answer if it did not stream: some providers send no chunks."""
        if (
            self._spoke_since_tool
            or not answer.strip()
            or answer.strip() in join_surrogates("".join(self._deltas))
        ):
            return []
        return [answer]

    def _error(self, frame: Mapping[str, Any]) -> None:
        code = text_or_empty(frame.get("code"))
        if not code.startswith(IGNORED_ERRORS):
            self.done = code in TURN_ERRORS
            raise _reported_error(frame, self._where)

    def _text(self, frame: Mapping[str, Any], name: str) -> str:
        text = frame.get(name)
        if text is not None and type(text) is not str:
            raise AgentProtocolError(f"{self._where} sent a frame of an unknown shape: {name} is no text")
        return text or ""


def _reported_error(frame: Mapping[str, Any], where: str) -> AgentError:
    code = text_or_empty(frame.get("code"))
    quote = " ".join(text_or_empty(frame.get("message")).split())[:MAX_QUOTE_CHARS]
    error_class = ERROR_CLASSES.get(code) or error_class_from_report(None, quote)
    return error_class(*describe_code(f"{where} reported", code, "an error", quote))


def _usage(frame: Mapping[str, Any]) -> list[Event]:
    prompt, completion = count_or_zero(frame.get("input_tokens")), count_or_zero(frame.get("output_tokens"))
    providers = frame.get("usage_by_provider")
    parts = providers if type(providers) is list else []
    cached = sum(count_or_zero(part.get("cached_input_tokens")) for part in parts if type(part) is dict)
    return [Usage(prompt, completion, cached)] if prompt or completion else []
