"""The protocol of Hermes' API server: encodes a turn as a run or a chat, and decodes the events. No I/O.

Each turn sends the whole conversation as the caller heard it, so the server never assumes that the caller
heard text that was interrupted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from voicegw.agents import session_prompt
from voicegw.agents.client.error_body import (
    error_class_from_report,
    error_from_body,
    error_from_object,
    find_error,
)
from voicegw.agents.client.json_values import count_or_zero, decode_object, error_in_value, text_or_empty
from voicegw.agents.finish_reasons import AnswerState
from voicegw.agents.model_history import texts_only, valid_history, without_instructions
from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import REASONING, Activity, Event, Message, Turn, Usage
from voicegw.wire.json import join_surrogates
from voicegw.wire.sse import ServerSentEvent

CALL_LINE = "(Call {session})"
"""A line below the instructions that makes them unique for a call. The server identifies a chat by its
instructions and first message: without the line, two callers who say "Hello?" would share a session."""
DENY = "deny"
EMPTY_ANSWER = "(empty)"
"""The answer that the server sends when its model generated no text."""
PROGRESS_EVENT = "hermes.tool.progress"
WORK_EVENTS = ("reasoning.available", "reasoning.delta", "tool.completed", "tool.progress")
"""Events of a run after which the model goes on working, without words."""
FAILURES = ("failed", "failure", "error", "aborted", "expired", "incomplete", "timeout")
FAILURE_EVENTS = frozenset({"error", *(f"run.{name}" for name in FAILURES)})
STOP_EVENTS = frozenset({"run.cancelled", "run.canceled", "run.stopped", "run.interrupted"})
"""Events that end a run without an answer. Version 0.19 sends `run.failed` and `run.cancelled`."""
MAX_ACTIVITY_CHARS = 80
"""Characters of the text that describes a tool."""
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""Run ids that can be part of a path."""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool of the run waits for an approval."""


def run_request(turn: Turn, session: str = "", model: str | None = None) -> dict[str, Any]:
    """Return the body that starts a run. Fields without a value are left out."""
    *history, last = _conversation(turn)
    body = {
        "input": last["content"],
        "instructions": session_prompt.system_prompt(turn),
        "conversation_history": history,
        "session_id": session,
        "model": model,
    }
    return {name: value for name, value in body.items() if value}


def chat_request(turn: Turn, session: str, model: str | None = None) -> dict[str, Any]:
    """Return the body that requests a chat completion in the session of this name."""
    call_line = CALL_LINE.format(session=session)
    system = session_prompt.join_paragraphs(session_prompt.system_prompt(turn), call_line)
    messages = [{"role": "system", "content": system}, *_conversation(turn)]
    return {"messages": messages, "stream": True, **({"model": model} if model else {})}


def _conversation(turn: Turn) -> list[dict[str, str]]:
    """Return the messages of the caller and the agent; the last one is the caller's."""
    dialog = valid_history(texts_only(without_instructions(turn.messages)))
    if not dialog or dialog[-1].role != "user":
        dialog += session_prompt.new_user_messages(dialog, session_prompt.user_message_count(dialog))
    return [_encode_message(message) for message in dialog]


def _encode_message(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}


def parse_run_id(answer: Any, where: str) -> str:
    """Return the id of a run that was started. `where` names the server in errors.

    Raises `AgentProtocolError` if there is none, or if it cannot be part of a path.
    """
    id = answer.get("run_id") if isinstance(answer, dict) else None
    if not isinstance(id, str) or not RUN_ID.fullmatch(id):
        raise error_in_value(answer, where, "started a run without a valid id")
    return id


def parse_models(answer: Any, where: str) -> list[str]:
    """Return the models that a turn can ask for by name: those with a parent, as routes have.

    Raises `AgentProtocolError` for a list of an unknown shape.
    """
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        raise error_in_value(answer, where, "has a list of models of an unknown shape")
    routes = (model for model in models if isinstance(model, dict) and model.get("parent"))
    return [id for route in routes if isinstance(id := route.get("id"), str) and id]


class HermesRunDecoder:
    """Decodes the server-sent events of one run."""

    def __init__(self) -> None:
        # Whether the run ended, so there is nothing to stop.
        self.done = False
        self._deltas: list[str] = []
        # Whether no text came since the start or since the last tool.
        self._silent_since_tool = True

    def feed(self, sse: ServerSentEvent) -> list[Event | ApprovalRequest]:
        """Return the events of one server-sent event; none after the end of the run.

        Raises `AgentProtocolError` for an event that cannot be decoded, and `AgentError` if the run failed or
        another client stopped it.
        """
        if self.done:
            return []
        if sse.event == "error":
            raise error_from_body(sse.data)
        event = decode_object(sse.data, "an event of Hermes")
        kind = text_or_empty(event.get("event")) or sse.event
        if kind == "message.delta":
            return self._delta(event.get("delta"))
        if kind == "tool.started":
            self._silent_since_tool = True
            return [_activity(event.get("preview"), event.get("tool"))]
        if kind == "approval.request":
            return [ApprovalRequest()]
        if kind == "run.completed":
            return self._completed(event)
        if kind in FAILURE_EVENTS or kind in STOP_EVENTS:
            self.done = True
            raise _failure(kind, event)
        if kind in ("", "message") and (error := find_error(event)) is not None:
            raise error_from_object(error)
        return [REASONING] if kind in WORK_EVENTS else []

    def _delta(self, text: Any) -> list[Event | ApprovalRequest]:
        if type(text) is not str:
            raise AgentProtocolError("Hermes sent a delta without text")
        if not text:
            return []
        self._deltas.append(text)
        self._silent_since_tool = self._silent_since_tool and text.isspace()
        return [text]

    def _completed(self, event: dict[str, Any]) -> list[Event | ApprovalRequest]:
        """Return the usage, and the answer if it did not stream: some models send no deltas."""
        self.done = True
        events: list[Event | ApprovalRequest] = []
        output = event.get("output")
        if self._silent_since_tool and isinstance(output, str) and self._is_new(output):
            events.append(f"\n\n{output}" if self._deltas else output)
        if isinstance(usage := event.get("usage"), dict):
            input_tokens, output_tokens = usage.get("input_tokens"), usage.get("output_tokens")
            events.append(Usage(count_or_zero(input_tokens), count_or_zero(output_tokens)))
        return events

    def _is_new(self, output: str) -> bool:
        """Whether the text did not stream. An agent whose run ends with a tool repeats its earlier text."""
        words = " ".join(output.split())
        return words not in ("", EMPTY_ANSWER) and words not in " ".join(
            join_surrogates("".join(self._deltas)).split()
        )


class HermesChatDecoder:
    """Decodes the server-sent events of one chat completion, with the progress of its tools."""

    def __init__(self) -> None:
        self._decoder = ChatChunkDecoder()

    @property
    def done(self) -> bool:
        """Whether the answer is complete, even if the connection breaks now."""
        return self._decoder.answer_end.state is AnswerState.ENDED

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """Return the events of one server-sent event.

        Raises `AgentProtocolError` for an event that cannot be decoded, and the error that the server
        reports: `AgentError`, `AgentBusy` or `AgentTimeout`.
        """
        if sse.event == PROGRESS_EVENT:
            tool = decode_object(sse.data, "an event of Hermes")
            is_completed = tool.get("status") == "completed"
            return [REASONING if is_completed else _activity(tool.get("label"), tool.get("tool"))]
        return self._decoder.feed(sse)

    def finish(self) -> list[Event]:
        """Return the usage, and the reason why the answer stopped."""
        return self._decoder.end()


def _failure(kind: str, event: dict[str, Any]) -> AgentError:
    """Return the error of a run that failed or was stopped, with the server's own words."""
    report = event.get("error") or event.get("message") or ""
    quote = error_from_object(report).quote
    if kind in STOP_EVENTS:
        return AgentError("another client stopped Hermes", quote)
    code = event.get("error_code") or event.get("code") or kind
    return error_class_from_report(code, report)("Hermes failed", quote)


def _activity(*names: Any) -> Activity:
    """Return an activity with the first of the names that is a text, shortened."""
    texts = (" ".join(name.split())[:MAX_ACTIVITY_CHARS].rstrip() for name in names if isinstance(name, str))
    return Activity(next(filter(None, texts), "a tool"))
