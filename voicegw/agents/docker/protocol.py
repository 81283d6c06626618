"""The protocol of `docker agent serve api`: encodes the requests, and decodes the events of a run. No I/O.

One stream carries the events of the whole team. An agent that got a task from another one has a separate
session; its text is for that agent, not for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import MAX_QUOTE_CHARS, error_class_from_report
from voicegw.agents.client.json_values import count_or_zero, error_in_value, text_or_empty
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import REASONING, Activity, Event, Usage
from voicegw.wire.json import loads_piece
from voicegw.wire.sse import ServerSentEvent

NEW_SESSION: Mapping[str, Any] = {"title": "Call"}
"""A session with a title: without one, the server asks a model for it, which delays the first turn."""
REJECTION_REASON = "Nobody can approve this during a phone call."
USAGE_FIELDS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


def run_request(text: str) -> dict[str, Any]:
    """Return the body that starts a run with a message of the caller."""
    return {"messages": [{"role": "user", "content": text}]}


def parse_session_id(value: object, where: str) -> str:
    """Return the id of a new session. `where` names the server in errors.

    Raises `AgentProtocolError` if there is none.
    """
    if type(value) is dict and type(value.get("id")) is str and value["id"]:
        return str(value["id"])
    raise error_in_value(value, where, "created a session without an id")


def parse_team(value: object, where: str) -> str:
    """Return the name of the first team that a server has. Raises `AgentProtocolError` if there is none."""
    if type(value) is list:
        for team in value:
            if type(team) is dict and type(team.get("name")) is str and team["name"]:
                return str(team["name"])
    raise error_in_value(value, where, "named no agent that it serves")


class DockerEventDecoder:
    """Decodes the events of one run in the session `session`. `where` names the server in errors."""

    __slots__ = ("_calls", "_error", "_session", "_total", "_usages", "_where", "done", "pending_answer")

    def __init__(self, session: str, where: str) -> None:
        # Whether the run stopped; later events do not matter.
        self.done = False
        # The answer that the last event asks for: an action below the session's path, and its body.
        self.pending_answer: tuple[str, dict[str, Any]] | None = None
        self._session = session
        self._where = where
        self._calls: set[str] = set()
        self._error: AgentError | None = None
        # The usage of each request to a model, and the last total, for servers without the former.
        self._usages: list[Mapping[str, Any]] = []
        self._total: Mapping[str, Any] | None = None

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """Return the events of one server-sent event. Raises `AgentProtocolError` for an unknown shape."""
        self.pending_answer = None
        if not sse.data:
            return []
        try:
            event = loads_piece(sse.data)
            return self._decode(event)
        except (AttributeError, TypeError, ValueError) as error:
            raise AgentProtocolError(
                f"{self._where} sent an event of an unknown shape", repr(error)
            ) from error

    def finish(self) -> list[Event]:
        """Return the usage of the run, after its end.

        Raises the error that the run reported, `AgentError` or `AgentBusy`, unless text followed it.
        """
        if self._error is not None:
            raise self._error
        usages = self._usages or ([] if self._total is None else [self._total])
        counts = [sum(count_or_zero(usage.get(name)) for usage in usages) for name in USAGE_FIELDS]
        return [Usage(counts[0] + counts[2], *counts[1:])] if any(counts) else []

    def _decode(self, event: dict[str, Any]) -> list[Event]:
        is_own = (event.get("session_id") or self._session) == self._session
        match event.get("type"):
            case "agent_choice":
                return self._delta(event.get("content")) if is_own else []
            case "agent_choice_reasoning" | "tool_call_response":
                return [REASONING]
            case "tool_call" | "partial_tool_call":
                return self._tool_call(event.get("tool_call") or {})
            case "stream_started":
                return [] if is_own else [Activity(text_or_empty(event.get("agent_name")) or "agent")]
            case "tool_call_confirmation" | "max_iterations_reached":
                self.pending_answer = ("resume", {"confirmation": "reject", "reason": REJECTION_REASON})
            case "elicitation_request":
                self.pending_answer = ("elicitation", _decline(event))
            case "token_usage":
                self._add_usage(event.get("usage") or {})
            case "error":
                self._error = _reported_error(event, self._where) if is_own else self._error
            case "stream_stopped":
                self.done = self.done or is_own
        return []

    def _delta(self, text: object) -> list[Event]:
        if type(text) is not str:
            raise TypeError("content is no text")
        if text.strip():
            self._error = None
        return [text] if text else []

    def _tool_call(self, call: dict[str, Any]) -> list[Event]:
        """Return an activity for a tool call, once: it comes in pieces, and then as a whole."""
        function = call.get("function") or {}
        name, id = text_or_empty(function.get("name")), text_or_empty(call.get("id"))
        if not name or id in self._calls:
            return [REASONING]
        if id:
            self._calls.add(id)
        return [Activity(name)]

    def _add_usage(self, usage: dict[str, Any]) -> None:
        """Count one request to a model; older servers send only totals."""
        self._total = {name: usage.get(name) for name in USAGE_FIELDS}
        if last := usage.get("last_message"):
            self._usages.append({name: last.get(name) for name in USAGE_FIELDS})


def _decline(event: Mapping[str, Any]) -> dict[str, Any]:
    id = text_or_empty(event.get("elicitation_id"))
    return {"action": "decline", "content": {}, **({"elicitation_id": id} if id else {})}


def _reported_error(event: Mapping[str, Any], where: str) -> AgentError:
    quote = " ".join(text_or_empty(event.get("error")).split())[:MAX_QUOTE_CHARS]
    return error_class_from_report(event.get("code"), quote)(f"{where} reported an error", quote)
