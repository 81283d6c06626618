"""ZeroClaw's chat socket: frames become events, and what is sent there.

Frames do not name the turn that they belong to: a turn ends with `done`, `aborted` or `error`, and the next
one begins only then. Frames of other things (scheduled jobs, plans, trimmed histories) may come any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from voicegw.agents.client.error_body import WORDS
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import Activity, Event, Usage

PROTOCOL = "zeroclaw.v1"
CONNECT: Mapping[str, Any] = {"type": "connect"}
"""Changes nothing, but the agent of a socket is only built when its first frame comes."""

CODES: Mapping[str, type[AgentError]] = {
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
"""What is an `AgentError` and nothing more is not here."""
TURNS = frozenset(
    {"AUTH_ERROR", "PROVIDER_ERROR", "AGENT_ERROR", "SESSION_QUEUE_FULL", "SESSION_QUEUE_TIMEOUT"}
)
"""Errors that end a turn and leave the socket as good as it was."""
ASIDE = ("STEERING_", "SOP_", "INVALID_APPROVAL_RESPONSE")
"""What errors begin with that end nothing."""


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "content": text}


def decision(request: str, verdict: Literal["deny", "approve"]) -> dict[str, Any]:
    return {"type": "approval_response", "request_id": request, "decision": verdict}


def resumed(frame: Mapping[str, Any], where: str) -> bool | None:
    """Whether the session that a socket opened existed before; None if the frame says nothing of that."""
    if frame.get("type") == "error":
        raise _failed(frame, where)
    return frame.get("resumed") is True if frame.get("type") == "session_start" else None


class ZeroClawTurnDecoder:
    """Turns the frames of one turn into events; `where` names the agent in errors.

    `over`: the turn ended, `aborted`: because it was told to. `asked` is the id of the action that the last
    frame wants to be approved. What cannot be understood raises `AgentProtocolError`.
    """

    __slots__ = ("_said", "_since", "_where", "aborted", "asked", "over")

    def __init__(self, where: str) -> None:
        self.over = False
        self.aborted = False
        self.asked: str | None = None
        self._where = where
        self._said: list[str] = []
        self._since = False

    def read(self, frame: Mapping[str, Any]) -> list[Event]:
        """What one frame says: the usage comes with the end. Raises the error that a frame reports."""
        self.asked = None
        match frame.get("type"):
            case "chunk":
                return self._speak(self._text(frame, "content"))
            case "tool_call":
                self._since = False
                return [Activity(self._text(frame, "name") or "tool")]
            case "approval_request":
                self.asked = self._text(frame, "request_id")
                return [Activity(self._text(frame, "tool") or "approval")]
            case "done":
                self.over = True
                return [*self._unsaid(self._text(frame, "full_response")), *_usage(frame)]
            case "aborted":
                self.over = self.aborted = True
            case "error" if "component" not in frame:  # that is news of another part of the server
                self._fail(frame)
        return []

    def _speak(self, text: str) -> list[Event]:
        if not text:
            return []
        self._said.append(text)
        self._since = self._since or bool(text.strip())
        return [text]

    def _unsaid(self, answer: str) -> list[Event]:
        """The answer, where it did not come in pieces: not every provider streams."""
        if self._since or not answer.strip() or answer.strip() in "".join(self._said):
            return []
        return [answer]

    def _fail(self, frame: Mapping[str, Any]) -> None:
        code = _word(frame.get("code"))
        if not code.startswith(ASIDE):
            self.over = code in TURNS
            raise _failed(frame, self._where)

    def _text(self, frame: Mapping[str, Any], name: str) -> str:
        text = frame.get(name)
        if text is not None and type(text) is not str:
            raise AgentProtocolError(f"{self._where} sent a frame of an unknown shape: {name} is no text")
        return text or ""


def _failed(frame: Mapping[str, Any], where: str) -> AgentError:
    code = _word(frame.get("code"))
    words = " ".join(_word(frame.get("message")).split())[:WORDS]
    return CODES.get(code, AgentError)(f"{where} reported {code[:WORDS] or 'an error'}", words)


def _usage(frame: Mapping[str, Any]) -> list[Event]:
    prompt, completion = _count(frame.get("input_tokens")), _count(frame.get("output_tokens"))
    providers = frame.get("usage_by_provider")
    parts = providers if type(providers) is list else []
    cached = sum(_count(part.get("cached_input_tokens")) for part in parts if type(part) is dict)
    return [Usage(prompt, completion, cached)] if prompt or completion else []


def _word(value: object) -> str:
    return value if type(value) is str else ""


def _count(value: object) -> int:
    return max(0, value) if type(value) is int else 0
