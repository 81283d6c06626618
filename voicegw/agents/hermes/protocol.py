"""Hermes' API server seen by its client: a turn becomes a run or a chat, what it tells becomes events.

Either way the whole conversation travels with each turn, as the caller heard it: the server then never
believes that words were said which nobody heard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from voicegw.agents import session_prompt
from voicegw.agents.client.error_body import WORDS, error_from_body, quoted
from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import Activity, Event, Message, Turn, Usage
from voicegw.wire.json import loads
from voicegw.wire.sse import ServerSentEvent

CALL = "(Call {session})"
"""The server tells chats apart by their instructions and first words alone: two callers who say "Hello?"
would share a session. This line, under the instructions, keeps them apart."""
DENY = "deny"
EMPTY = "(empty)"
"""What the server gives for an answer when its model said nothing."""
PROGRESS = "hermes.tool.progress"
SHORT = 80
"""Characters of what a tool is said to do."""
RUN = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool waits for somebody to allow it."""


def run(turn: Turn, session: str = "", model: str | None = None) -> dict[str, Any]:
    """The body that begins a run. What there is nothing to say about is left out."""
    *before, last = _conversation(turn)
    body = {
        "input": last["content"],
        "instructions": session_prompt.system(turn),
        "conversation_history": before,
        "session_id": session,
        "model": model,
    }
    return {name: value for name, value in body.items() if value}


def chat(turn: Turn, session: str, model: str | None = None) -> dict[str, Any]:
    """The body that asks for a chat completion."""
    system = session_prompt.joined(session_prompt.system(turn), CALL.format(session=session))
    messages = [{"role": "system", "content": system}, *_conversation(turn)]
    return {"messages": messages, "stream": True, **({"model": model} if model else {})}


def _conversation(turn: Turn) -> list[dict[str, str]]:
    """What was said, ending with what is to be answered."""
    said = [m for m in turn.messages if m.role in ("user", "assistant") and m.text.strip()]
    if not said or said[-1].role != "user":
        said += session_prompt.new_messages(said, session_prompt.user_message_count(said))
    return [_written(message) for message in said]


def _written(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.text}


def begun(answer: Any, where: str) -> str:
    """The id of the run that began. Raises `AgentProtocolError` for one that cannot be part of an address."""
    id = answer.get("run_id") if isinstance(answer, dict) else None
    if not isinstance(id, str) or not RUN.fullmatch(id):
        raise AgentProtocolError(f"{where} began a run without an id")
    return id


def routes(answer: Any, where: str) -> list[str]:
    """The models that can be asked for by name, from the list of all: those that stand for another."""
    models = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        raise AgentProtocolError(f"{where} has a list of models of an unknown shape")
    named = (model for model in models if isinstance(model, dict) and model.get("parent"))
    return [id for model in named if isinstance(id := model.get("id"), str) and id]


class HermesRunDecoder:
    """Turns what happens in a run into events. `over`: it ended, so there is nothing to stop.

    Anything that cannot be understood raises `AgentProtocolError`, a run that failed an `AgentError`.
    """

    def __init__(self) -> None:
        self.over = False
        self._said: list[str] = []
        self._silent = True

    def feed(self, sse: ServerSentEvent) -> list[Event | ApprovalRequest]:
        """What one server-sent event says."""
        if self.over:
            return []
        event = _object(sse.data)
        kind = event.get("event")
        if kind == "message.delta":
            return self._delta(event.get("delta"))
        if kind == "tool.started":
            self._silent = True
            return [_doing(event.get("preview"), event.get("tool"))]
        if kind == "approval.request":
            return [ApprovalRequest()]
        if kind == "run.completed":
            return self._completed(event)
        if kind in ("run.failed", "run.cancelled"):
            self.over = True
            told = " ".join(quoted(event.get("error") or "").split())[:WORDS]
            raise AgentError(
                "Hermes failed" if kind == "run.failed" else "somebody else stopped Hermes", told
            )
        return []

    def _delta(self, text: Any) -> list[Event | ApprovalRequest]:
        if type(text) is not str:
            raise AgentProtocolError("Hermes sent a delta without text")
        if not text:
            return []
        self._said.append(text)
        self._silent = self._silent and text.isspace()
        return [text]

    def _completed(self, event: dict[str, Any]) -> list[Event | ApprovalRequest]:
        """What it used; and its words where they did not come as deltas, which not every model makes."""
        self.over = True
        events: list[Event | ApprovalRequest] = []
        output = event.get("output")
        if self._silent and isinstance(output, str) and self._new(output):
            events.append(f"\n\n{output}" if self._said else output)
        if isinstance(usage := event.get("usage"), dict):
            events.append(Usage(_count(usage.get("input_tokens")), _count(usage.get("output_tokens"))))
        return events

    def _new(self, output: str) -> bool:
        """Whether these words were not said yet; an agent that ends with a tool repeats what came before."""
        words = " ".join(output.split())
        return words not in ("", EMPTY) and words not in " ".join("".join(self._said).split())


class HermesChatDecoder:
    """Turns a chat completion with its tools into events. `over`: nothing is missing any more."""

    def __init__(self) -> None:
        self._decoder = ChatChunkDecoder()

    @property
    def over(self) -> bool:
        return self._decoder.complete

    def feed(self, sse: ServerSentEvent) -> list[Event]:
        """What one server-sent event says. Raises as `RunEvents.feed` does."""
        if sse.event == PROGRESS:
            tool = _object(sse.data)
            return [] if tool.get("status") == "completed" else [_doing(tool.get("label"), tool.get("tool"))]
        if b'"error"' in sse.data and (error := _broken(sse.data)) is not None:
            raise error
        return self._decoder.feed(sse)

    def end(self) -> list[Event]:
        """What it used, and why it stopped."""
        return self._decoder.end()


def _broken(data: bytes) -> AgentError | None:
    """What a chunk reports that ends with "error", which is no reason to finish that anybody else knows."""
    try:
        chunk = loads(data)
        if chunk["choices"][0]["finish_reason"] != "error":
            return None
        return error_from_body(data) if chunk.get("error") else AgentError("Hermes failed")
    except (AttributeError, LookupError, TypeError, ValueError):
        return None  # whatever it is, it is judged as any other chunk


def _doing(*names: Any) -> Activity:
    """The first of these names that is one, in short."""
    found = (" ".join(name.split())[:SHORT].rstrip() for name in names if isinstance(name, str))
    return Activity(next(filter(None, found), "a tool"))


def _count(value: Any) -> int:
    return value if type(value) is int else 0


def _object(data: bytes) -> dict[str, Any]:
    try:
        event = loads(data)
    except ValueError as error:
        raise AgentProtocolError(f"no JSON where an event of Hermes should be: {error}") from None
    if type(event) is not dict:
        raise AgentProtocolError(f"an event of Hermes that is no object but {type(event).__name__}")
    return event
