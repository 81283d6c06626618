"""ElevenLabs Speech Engine: every transcript holds the whole conversation, answers carry its number.

ElevenLabs drops without a word what does not carry the number of its newest transcript, and waits for one
empty final message with every answer that nothing superseded. The greeting is configured over there: here
nothing is said but in reply to a transcript, and nothing can be done on a call but speak.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from voicegw.calls.codec import (
    CallEnded,
    CallEvent,
    CallStarted,
    ProtocolReply,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Message, Role, ToolCall, Usage
from voicegw.wire.json import dumps, loads

ROLES: dict[str, Role] = {"user": "user", "agent": "assistant"}
NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
HEAD = b'{"type":"agent_response","content":'
PONG = b'{"type":"pong"}\n'


class SpeechEngineCodec:
    """One conversation, named by its first message."""

    name = "elevenlabs"
    ends = False
    close_code = 1012

    def __init__(self) -> None:
        self.newest: int | None = None
        self.reply: SpeechEngineTurn | None = None  # to the newest transcript

    def open(self, greeting: str, *, again: bool = False) -> bytes:
        """Nothing: ElevenLabs speaks the greeting itself."""
        return b""

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """What a frame tells; None for a transcript that is being answered. Never raises, whatever came.

        What makes no sense in a transcript is left out, or counts as an empty one: somebody said something,
        and must not wait unheard.
        """
        data = _object(frame)
        if data is None:
            return UnexpectedFrame("a frame that is no JSON object")
        match data.get("type"):
            case "user_transcript":
                return self._asked(data)
            case "ping":
                return ProtocolReply(PONG)
            case "init":
                return _opened(data)
            case "close":
                return CallEnded()
            case "error":
                return UnexpectedFrame("the platform reports an error")
        return UnexpectedFrame("a frame of an unknown type")

    def turn(self, asked: TurnRequested) -> SpeechEngineTurn:
        """The codec of the answer to the newest transcript; a mute one if no transcript asked."""
        reply = SpeechEngineTurn(self.newest)
        if asked.history is None:
            reply.stop()
        else:
            self.reply = reply
        return reply

    def _asked(self, data: dict[str, Any]) -> TurnRequested | UnexpectedFrame | None:
        id, entries = data.get("event_id"), data.get("user_transcript")
        if id is not None and type(id) is not int:
            return UnexpectedFrame("a transcript whose number is none")
        if id is not None and id == self.newest and self.reply is not None and not self.reply.over:
            return None
        self.newest, self.reply = id, None
        history = tuple(_messages(entries)) if isinstance(entries, list) else ()
        said = next((message.text for message in reversed(history) if message.role == "user"), "")
        return TurnRequested(said, history=history, id=id or 0)


class SpeechEngineTurn:
    """One answer: a message for whatever was gathered, and an empty final one.

    `id` is the number of its transcript, None where that had none.
    """

    keepalive = b""
    ends_call = False

    def __init__(self, id: int | None) -> None:
        self.words: list[str] = []
        self.framed: list[str] = []
        self.over = False
        self.executed: list[ToolCall] = []
        self.already_executed: set[tuple[str, str]] = set()
        numbered = b',"event_id":' + dumps(id)
        self.more = numbered + b',"is_final":false}\n'
        self.final = HEAD + b'""' + numbered + b',"is_final":true}\n'

    @property
    def spoken_text(self) -> str:
        """Everything that was put into frames so far."""
        return "".join(self.framed)

    def start(self, words: str) -> bytes:
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        if delta and not self.over:
            self.words.append(delta)
        return b""

    def tool_call(self, call: ToolCall) -> bytes:
        """Nothing: this wire carries no actions."""
        return b""

    def drain(self) -> bytes:
        if not self.words:
            return b""
        content = "".join(self.words)
        self.words.clear()
        self.framed.append(content)
        return HEAD + dumps(content) + self.more

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """What was gathered, and the final message, without which ElevenLabs would wait."""
        if self.over:
            return b""
        self.over = True
        return self.drain() + self.final

    def stop(self) -> bytes:
        """Nothing is sent: an answer that was superseded has no final message."""
        self.over = True
        self.words.clear()
        return b""


def _object(frame: str | bytes) -> dict[str, Any] | None:
    """The JSON object that a frame holds, None if it holds none."""
    try:
        data = loads(frame.encode() if isinstance(frame, str) else frame)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _opened(data: dict[str, Any]) -> CallStarted | UnexpectedFrame:
    call = data.get("conversation_id")
    if not isinstance(call, str) or not NAME.fullmatch(call):
        return UnexpectedFrame("a beginning that names no conversation")
    return CallStarted(call, {name: value for name, value in data.items() if name != "type"})


def _messages(entries: Iterable[Any]) -> Iterator[Message]:
    """What was said, in order, without what makes no sense."""
    for entry in entries:
        match entry:
            case {"role": "user" | "agent" as role, "content": str(content)}:
                yield Message(ROLES[role], content)
