"""Calls on a websocket: what can happen on one, and what every platform's codec must be able to do.

A call codec is pure. It reads the platform's text frames into the few things that can happen on a call,
and writes a turn's events as frames. Written frames are JSON texts, each ended by a line break, which JSON
itself never holds: so several may travel as one piece of bytes on their way to the socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from voicegw.events import Message, Tool, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The platform told which call this is. `facts` are what it knows of it, as it came.

    `ticket` is what our webhook gave the call to show here, "" if it shows none.
    """

    call: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class TurnRequested:
    """The caller wants an answer.

    `said` is what they said, "" where the platform only nudges (`kind` "reminder"). `history` is the whole
    conversation up to and with it where the platform keeps one; else the ledger has it. `final` is false for
    words that may still change. `id` is the platform's own name of the turn. `language` is None if unknown.
    `tools` are run by the platform, unlike the actions of a call; `tool_choice` and `options` go with them to
    the agent, in the form that a `voicegw.events.Turn` has.
    """

    user_text: str = ""
    kind: str = "said"
    final: bool = True
    language: str | None = None
    history: tuple[Message, ...] | None = None
    id: int = 0
    tools: tuple[Tool, ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The caller spoke over us. `heard` is what they heard of this talk cycle, None if unknown.

    `frames` go back once the turn has stopped.
    """

    heard_text: str | None = None
    frames: bytes = b""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over, by the platform's word."""


@dataclass(frozen=True, slots=True)
class DtmfPressed:
    """A key of the caller's keypad."""

    digit: str


@dataclass(frozen=True, slots=True)
class TranscriptUpdated:
    """The platform's own account of the conversation so far; nothing is wanted."""

    history: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class ProtocolReply:
    """Nothing for us to decide: this frame goes back at once."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class UnexpectedFrame:
    """A frame that means nothing to us, and why, without its content: worth a line in the log."""

    why: str


CallEvent: TypeAlias = (
    CallStarted
    | TurnRequested
    | Interrupted
    | CallEnded
    | DtmfPressed
    | TranscriptUpdated
    | ProtocolReply
    | UnexpectedFrame
)


class TurnEncoder(Protocol):
    """One turn on the wire: a `voicegw.turns.stream.StreamEncoder` that gathers text until it is asked for it.

    `begin` and `text` take words; `drain` gives what was gathered as one frame, b"" if nothing was. Whatever
    else gives frames gives the gathered words first. `stop` ends a turn that was cut short, so that the
    platform takes nothing more for it; after `end` or `stop` every method gives b"".
    """

    @property
    def keepalive(self) -> bytes: ...
    def start(self, words: str) -> bytes: ...
    def text_delta(self, delta: str) -> bytes: ...
    def tool_call(self, call: ToolCall) -> bytes: ...
    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes: ...
    def drain(self) -> bytes: ...
    def stop(self) -> bytes: ...

    executed: list[ToolCall]
    """The actions that made sense, and so were or will be done."""
    already_executed: set[tuple[str, str]]
    """Names and arguments of what was done already in answer to the same words: it is not done again."""

    @property
    def spoken_text(self) -> str:
        """Everything that was put into frames so far: what the platform may have played."""
        ...

    @property
    def ends_call(self) -> bool:
        """Did the agent end the call with this turn? Then the platform hangs up by itself, soon."""
        ...


class CallCodec(Protocol):
    """One platform's call. One object per socket."""

    name: str
    ends: bool
    """Is a call over for good once the agent ended it? Else the caller may still say something."""
    close_code: int
    """How we close a socket on shutdown: so that the platform comes back where it can."""

    def open(self, greeting: str, *, again: bool = False) -> bytes:
        """The frames that leave at once when the socket is open, before anything came.

        `again`: the call is known already, so nobody is greeted.
        """
        ...

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """What a frame tells; None if nothing that matters. Never raises, whatever came."""
        ...

    def turn(self, asked: TurnRequested) -> TurnEncoder:
        """The codec of the answer to this."""
        ...


ACTIONS = ("end_call", "transfer_call", "send_digits", "switch_language", "play_audio")
"""What an agent can do on a call besides speaking: tools by these names, run by the gateway.

`end_call` {"reason"?: str}, `transfer_call` {"number": str, "reason"?: str}, `send_digits` {"digits": str},
`switch_language` {"language": str}, `play_audio` {"url": str, "loop"?: int}; a platform that cannot do one
leaves it out. Arguments that make no sense do nothing.
"""
