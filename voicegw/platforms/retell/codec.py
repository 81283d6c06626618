"""Retell's custom LLM websocket: the transcript comes with every question, answers carry its number.

Retell takes content only for the newest `response_id` that it asked for, and only until that answer says
that it is complete; anything else it drops without a word. So does a field of a wrong type: numbers are
whole, flags are booleans.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from voicegw.calls.codec import (
    CallEvent,
    CallStarted,
    ProtocolReply,
    TranscriptUpdated,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Message, Role, ToolCall, Usage
from voicegw.wire.json import dumps, loads

ROLES: dict[Any, Role] = {"agent": "assistant", "user": "user", "system": "system"}
ASKING = {"response_required": "said", "reminder_required": "reminder"}
ACTIONS = ("end_call", "transfer_call", "send_digits")
"""What Retell can do, the strongest first: it does only one with an answer."""
NUMBER = re.compile(r"\+[1-9][0-9]{3,14}")
DIGITS = re.compile(r"[0-9*#]{1,64}")


class RetellCodec:
    """One call, named by the last part of the path that Retell dialled."""

    name = "retell"
    close_code = 1012  # 1000 would hang up
    ends = False  # who interrupts last words is not hung up on

    def __init__(
        self,
        call: str,
        *,
        auto_reconnect: bool = True,
        call_details: bool = True,
        transcript_with_tool_calls: bool = True,
    ) -> None:
        self.call = call
        self.newest = 0
        self.config = {
            "auto_reconnect": auto_reconnect,
            "call_details": call_details,
            "transcript_with_tool_calls": transcript_with_tool_calls,
        }

    def open(self, greeting: str, *, again: bool = False) -> bytes:
        """The configuration and what the agent says first; "" lets the caller speak first.

        On a socket that replaces a lost one (`again`) nothing is said.
        """
        config = _frame({"response_type": "config", "config": self.config})
        if again:
            return config
        begin = RetellTurn(0)
        begin.start(greeting)
        return config + begin.finish("stop", None)

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """What a frame tells. Never raises."""
        data = _object(frame) if isinstance(frame, str) else None
        if data is None:
            return UnexpectedFrame("a frame that is no JSON object")
        match data.get("interaction_type"):
            case "update_only":
                history = _history(data)
                return (
                    UnexpectedFrame("an update without a transcript")
                    if history is None
                    else TranscriptUpdated(history)
                )
            case "response_required" | "reminder_required" as kind:
                return self._asked(data, ASKING[kind])
            case "ping_pong":
                return _pong(data.get("timestamp"))
            case "call_details":
                facts = data.get("call")
                return (
                    CallStarted(self.call, facts)
                    if isinstance(facts, dict)
                    else UnexpectedFrame("call details without any")
                )
        return UnexpectedFrame("a frame of an unknown type")

    def turn(self, asked: TurnRequested) -> RetellTurn:
        """The codec of the answer to this."""
        return RetellTurn(asked.id)

    def _asked(self, data: dict[str, Any], kind: str) -> TurnRequested | UnexpectedFrame:
        id, history = data.get("response_id"), _history(data)
        if type(id) is not int:
            return UnexpectedFrame("a question without a number")
        if id < self.newest:
            return UnexpectedFrame("a question older than the newest")
        self.newest = id
        if history is None:
            return UnexpectedFrame("a question without a transcript")
        last = next((message.text for message in reversed(history) if message.role == "user"), "")
        return TurnRequested(last if kind == "said" else "", kind, history=history, id=id)


class RetellTurn:
    """One answer. What the agent wants done goes with its last frame, for after its words are spoken."""

    keepalive = b""

    def __init__(self, id: int) -> None:
        self.words: list[str] = []
        self.framed: list[str] = []
        self.actions: dict[str, dict[str, Any]] = {}
        self.over = False
        self.executed: list[ToolCall] = []
        self.already_executed: set[tuple[str, str]] = set()
        self.head = dumps({"response_type": "response", "response_id": id})[:-1] + b',"content":'

    @property
    def spoken_text(self) -> str:
        """Everything that was put into frames so far."""
        return "".join(self.framed)

    @property
    def ends_call(self) -> bool:
        """Does the call end with this answer, or go to somebody else?"""
        return bool(self.actions.keys() & {"end_call", "transfer_call"})

    def start(self, words: str) -> bytes:
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        if delta and not self.over:
            self.words.append(delta)
        return b""

    def tool_call(self, call: ToolCall) -> bytes:
        """Note what is to be done at the end; of two of a kind the first."""
        if not self.over and (fields := _action(call)):
            self.actions.setdefault(call.name, fields)
            self.executed.append(call)
        return b""

    def drain(self) -> bytes:
        return self._content(b',"content_complete":false}\n') if self.words else b""

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """The frame that completes the answer: without it the agent would stay mute."""
        if self.over:
            return b""
        self.over = True
        action = next((self.actions[name] for name in ACTIONS if name in self.actions), {})
        return self._content(b"," + _frame({"content_complete": True, **action})[1:])

    def stop(self) -> bytes:
        """Nothing is sent: Retell dropped this answer when it asked anew."""
        if not self.over:
            self.over = True
            self.words.clear()
            self.actions.clear()
        return b""

    def _content(self, tail: bytes) -> bytes:
        content = "".join(self.words)
        self.words.clear()
        self.framed.append(content)
        return self.head + dumps(content) + tail


def _frame(value: dict[str, Any]) -> bytes:
    return dumps(value) + b"\n"


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text holds, None if it holds none."""
    try:
        data = loads(text.encode())
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _pong(timestamp: Any) -> ProtocolReply | UnexpectedFrame:
    if type(timestamp) is not int:
        return UnexpectedFrame("a ping without a time")
    return ProtocolReply(_frame({"response_type": "ping_pong", "timestamp": timestamp}))


def _action(call: ToolCall) -> dict[str, Any]:
    """The fields that make Retell do this, {} if it cannot or if the arguments make no sense.

    The caller may not interrupt last words: Retell would then not do what was to follow them.
    """
    match call.name, _object(call.arguments):
        case "end_call", dict():
            return {"no_interruption_allowed": True, "end_call": True}
        case "transfer_call", {"number": str(number)} if NUMBER.fullmatch(number):
            return {"no_interruption_allowed": True, "transfer_number": number}
        case "send_digits", {"digits": str(digits)} if DIGITS.fullmatch(digits):
            return {"digit_to_press": digits}
    return {}


def _history(data: dict[str, Any]) -> tuple[Message, ...] | None:
    """The conversation, with the tools' part in it where that came; None if there is no transcript."""
    for name in ("transcript_with_tool_calls", "transcript"):
        if isinstance(entries := data.get(name), list):
            return tuple(_messages(entries))
    return None


def _messages(entries: Iterable[Any]) -> Iterator[Message]:
    """What was said and done, in order; without results that nobody asked for and what makes no sense."""
    asked = set()
    for entry in entries:
        match entry:
            case {"role": "agent" | "user" | "system" as role, "content": str(content)}:
                yield Message(ROLES[role], content)
            case {"role": "tool_call_invocation", "tool_call_id": str(id), "name": str(name)} if id and name:
                arguments = entry.get("arguments")
                if isinstance(arguments, str) and _object(arguments) is not None:
                    asked.add(id)
                    yield Message("assistant", tool_calls=(ToolCall(id, name, arguments),))
            case {"role": "tool_call_result", "tool_call_id": str(id), "content": str(content)} if (
                id in asked
            ):
                asked.remove(id)
                yield Message("tool", content, tool_call_id=id)
