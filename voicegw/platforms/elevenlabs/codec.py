"""Decodes and encodes the messages of ElevenLabs' Speech Engine websocket.

Each transcript holds the whole conversation, and each reply carries the transcript's `event_id`. ElevenLabs
drops silently every message that does not carry the newest `event_id`. It waits for one empty final message
with each reply that no newer transcript superseded. The greeting is configured at ElevenLabs: the gateway
speaks only in reply to a transcript. The protocol has no actions.

Source: `SpeechEngineSession` of the official `elevenlabs` library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from voicegw.calls.action_results import ActionResults
from voicegw.calls.codec import (
    CallEnded,
    CallEvent,
    CallStarted,
    ProtocolReply,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Message, Role, ToolCall, Usage
from voicegw.wire.json import dumps, loads_object

ROLES: dict[str, Role] = {"user": "user", "agent": "assistant"}
CONVERSATION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
HEAD = b'{"type":"agent_response","content":'
PONG = b'{"type":"pong"}\n'


class SpeechEngineCodec:
    """Decodes and encodes the messages of one Speech Engine socket; the first message identifies the call."""

    name = "elevenlabs"
    end_call_is_final = False
    """The protocol has no action that ends the call."""
    names_interrupted_turn = True
    asks_again = False
    """ElevenLabs drops a reply to a transcript of another socket."""
    close_code = 1012
    """Service Restart (RFC 6455 registry)."""

    def __init__(self) -> None:
        self.newest_event_id: int | None = None  # of the transcripts so far; None if the newest has none
        self.newest_turn: SpeechEngineTurn | None = None  # the reply to the newest transcript

    def open(self, greeting: str, *, reconnected: bool = False) -> bytes:
        """Return b"": ElevenLabs speaks the greeting itself."""
        return b""

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """Decode a message; None for a transcript whose reply is being sent. Never raises, for any input.

        Invalid entries of a transcript are left out, and an invalid transcript counts as empty: the caller
        has spoken and must get a reply.
        """
        data = loads_object(frame)
        if data is None:
            return UnexpectedFrame("a frame that is not a JSON object")
        match data.get("type"):
            case "user_transcript":
                return self._decode_transcript(data)
            case "ping":
                return ProtocolReply(PONG)
            case "init":
                return _decode_init(data)
            case "close":
                return CallEnded()
            case "error":
                return UnexpectedFrame("the platform reports an error")
        return UnexpectedFrame("a frame of an unknown type")

    def begin_turn(self, request: TurnRequested) -> SpeechEngineTurn:
        """Return the encoder of the reply to the newest transcript; a stopped one for any other request."""
        turn = SpeechEngineTurn(self.newest_event_id)
        if request.history is None:
            turn.stop()
        else:
            self.newest_turn = turn
        return turn

    def _decode_transcript(self, data: dict[str, Any]) -> TurnRequested | UnexpectedFrame | None:
        id, entries = data.get("event_id"), data.get("user_transcript")
        if id is not None and type(id) is not int:
            return UnexpectedFrame("a transcript with an invalid event_id")
        if (
            id is not None
            and id == self.newest_event_id
            and self.newest_turn is not None
            and not self.newest_turn.ended
        ):
            return None
        self.newest_event_id, self.newest_turn = id, None
        history = tuple(_parse_messages(entries)) if isinstance(entries, list) else ()
        text = next((message.text for message in reversed(history) if message.role == "user"), "")
        return TurnRequested(text, history=history, id=id or 0)


class SpeechEngineTurn(TurnEncoder):
    """Encodes one reply: a message for each piece of gathered words, and an empty final one."""

    keepalive = b""
    ends_call = False  # the protocol has no action that ends the call

    def __init__(self, event_id: int | None) -> None:
        """Make the encoder of the reply to the transcript with this number, None if that has none."""
        self.gathered: list[str] = []  # words that are not in a message yet
        self.sent: list[str] = []  # the content of each message
        self.ended = False  # set by `finish` and `stop`
        self.actions = ActionResults()  # stays empty
        numbered = b',"event_id":' + dumps(event_id)
        self.partial_tail = numbered + b',"is_final":false}\n'  # the end of a message behind its content
        # The whole final message.
        self.final_frame = HEAD + b'""' + numbered + b',"is_final":true}\n'

    @property
    def spoken_text(self) -> str:
        """All text that was put into messages so far."""
        return "".join(self.sent)

    def start(self, words: str) -> bytes:
        """Gather the acknowledgement; return b""."""
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        """Gather words; return b""."""
        if delta and not self.ended:
            self.gathered.append(delta)
        return b""

    def tool_call(self, call: ToolCall) -> bytes:
        """Return b"": the protocol has no actions."""
        return b""

    def drain(self) -> bytes:
        """Return the gathered words as one message, b"" if there are none."""
        if not self.gathered:
            return b""
        content = "".join(self.gathered)
        self.gathered.clear()
        self.sent.append(content)
        return HEAD + dumps(content) + self.partial_tail

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the gathered words and the final message, for which ElevenLabs waits."""
        if self.ended:
            return b""
        self.ended = True
        return self.drain() + self.final_frame

    def stop(self) -> bytes:
        """Drop the gathered words; return b"": a superseded reply has no final message."""
        self.ended = True
        self.gathered.clear()
        return b""


def _decode_init(data: dict[str, Any]) -> CallStarted | UnexpectedFrame:
    call_id = data.get("conversation_id")
    if not isinstance(call_id, str) or not CONVERSATION_ID.fullmatch(call_id):
        return UnexpectedFrame("an init without a valid conversation_id")
    return CallStarted(call_id, {name: value for name, value in data.items() if name != "type"})


def _parse_messages(entries: Iterable[Any]) -> Iterator[Message]:
    """Yield the messages of a transcript in order, without invalid entries."""
    for entry in entries:
        match entry:
            case {"role": "user" | "agent" as role, "content": str(content)}:
                yield Message(ROLES[role], content)
