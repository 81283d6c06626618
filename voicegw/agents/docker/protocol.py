"""`docker agent serve api`: the events of a run become ours, and what is sent there.

One stream carries the events of the whole team: those of an agent that another one gave a task have a session
of their own. What they say is for the other agent, not for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import WORDS
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError
from voicegw.events import Activity, Event, Usage
from voicegw.wire.json import loads
from voicegw.wire.sse import ServerSentEvent

NEW: Mapping[str, Any] = {"title": "Call"}
"""A session with a title: without one, the server asks a model for it, and the first turn waits for that."""
NO = "Nobody can approve this during a phone call."
COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


def ask(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def created(value: object, where: str) -> str:
    """The id of a new session."""
    if type(value) is dict and type(value.get("id")) is str and value["id"]:
        return str(value["id"])
    raise AgentProtocolError(f"{where} made a session without an id")


def served(value: object, where: str) -> str:
    """The name of the first team that a server has."""
    if type(value) is list:
        for team in value:
            if type(team) is dict and type(team.get("name")) is str and team["name"]:
                return str(team["name"])
    raise AgentProtocolError(f"{where} named no agent that it serves")


class DockerEventDecoder:
    """Turns the events of one run into ours.

    `over`: the run stopped; nothing that matters follows. `answer` is what the last event wants to be
    answered with: where, and what. `where` names the agent in errors. What cannot be understood raises
    `AgentProtocolError`; `end` raises the error that the run reported, unless it went on talking after it.
    """

    __slots__ = ("_calls", "_error", "_last", "_session", "_used", "_where", "answer", "over")

    def __init__(self, session: str, where: str) -> None:
        self.over = False
        self.answer: tuple[str, dict[str, Any]] | None = None
        self._session = session
        self._where = where
        self._calls: set[str] = set()
        self._error: AgentError | None = None
        self._last: Mapping[str, Any] | None = None
        self._used: list[Mapping[str, Any]] = []

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """What one server-sent event says."""
        self.answer = None
        if not sse.data:
            return []
        try:
            event = loads(sse.data)
            return self._read(event)
        except (AttributeError, TypeError, ValueError) as error:
            raise AgentProtocolError(f"{self._where} sent an event of an unknown shape: {error!r}") from error

    def end(self) -> list[Event]:
        """What the run used, once it is over."""
        if self._error is not None:
            raise self._error
        used = self._used or ([] if self._last is None else [self._last])
        counts = [sum(_count(usage.get(name)) for usage in used) for name in COUNTS]
        return [Usage(counts[0] + counts[2], *counts[1:])] if any(counts) else []

    def _read(self, event: dict[str, Any]) -> list[Event]:
        ours = (event.get("session_id") or self._session) == self._session
        match event.get("type"):
            case "agent_choice":
                return self._speak(event.get("content")) if ours else []
            case "tool_call" | "partial_tool_call":
                return self._call(event.get("tool_call") or {})
            case "stream_started":
                return [] if ours else [Activity(_word(event.get("agent_name")) or "agent")]
            case "tool_call_confirmation" | "max_iterations_reached":
                self.answer = ("resume", {"confirmation": "reject", "reason": NO})
            case "elicitation_request":
                self.answer = ("elicitation", _declined(event))
            case "token_usage":
                self._count(event.get("usage") or {})
            case "error":
                self._error = _failed(event, self._where) if ours else self._error
            case "stream_stopped":
                self.over = self.over or ours
        return []

    def _speak(self, text: object) -> list[Event]:
        if type(text) is not str:
            raise TypeError("what was said is no text")
        if text.strip():
            self._error = None
        return [text] if text else []

    def _call(self, call: dict[str, Any]) -> list[Event]:
        """A tool call comes in pieces, and then as a whole."""
        name, id = _word((call.get("function") or {}).get("name")), _word(call.get("id"))
        if not name or id in self._calls:
            return []
        if id:
            self._calls.add(id)
        return [Activity(name)]

    def _count(self, usage: dict[str, Any]) -> None:
        """Each event counts one request to a model; older servers do not say so apart from their totals."""
        self._last = {name: usage.get(name) for name in COUNTS}
        if last := usage.get("last_message"):
            self._used.append({name: last.get(name) for name in COUNTS})


def _declined(event: Mapping[str, Any]) -> dict[str, Any]:
    id = event.get("elicitation_id")
    return {"action": "decline", "content": {}, **({"elicitation_id": id} if _word(id) else {})}


def _failed(event: Mapping[str, Any], where: str) -> AgentError:
    words = " ".join(_word(event.get("error")).split())[:WORDS]
    kind = AgentBusy if event.get("code") == "rate_limited" else AgentError
    return kind(f"{where} reported an error", words)


def _word(value: object) -> str:
    return value if type(value) is str else ""


def _count(value: object) -> int:
    return max(0, value) if type(value) is int else 0
