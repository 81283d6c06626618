"""The events of a call on a websocket, and the protocols that every platform's codec implements.

A codec is pure: it knows no clock and no socket. It decodes the platform's text frames into call events, and
encodes the events of a turn as frames. Each encoded frame is a JSON text with a line break at its end. JSON
never holds a raw line break, so several frames can travel as one piece of bytes to the socket.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from voicegw.calls.action_results import ActionResults
from voicegw.events import Message, Tool
from voicegw.turns.prompts import SILENCE_PROMPT
from voicegw.turns.stream import StreamEncoder

SESSION_FAILED = "session-failed"
"""`CallStarted.resumed` after the platform lost the session; the platform has apologized."""


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The platform identified the call."""

    call_id: str
    """The platform's id of the call."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The platform's description of the call, as it was received."""
    ticket: str = ""
    """The ticket that the gateway's webhook issued for the call; "" if the frame holds none."""
    resumed: str = ""
    """The reason why a call is connected again in a new session: `SESSION_FAILED`, or the status of the
    transfer that failed; "" for a new call, and for a socket that only replaces a lost one."""


@dataclass(frozen=True, slots=True)
class TurnRequested:
    """The platform requests a reply from the agent."""

    user_text: str = ""
    """The caller's words; "" where the platform only asks the agent to speak (`kind` "reminder")."""
    kind: str = "said"
    """The reason of the turn, as in `voicegw.events.Turn.kind`."""
    final: bool = True
    """False for words that the speech recognition may still change."""
    language: str | None = None
    """The BCP 47 tag of the caller's language; None if the platform does not report it."""
    history: tuple[Message, ...] | None = None
    """The whole conversation including `user_text`; None if the gateway uses its own transcript."""
    id: int = 0
    """The platform's number of the turn; 0 where it has none."""
    tools: tuple[Tool, ...] = ()
    """Tools that the platform runs, unlike the actions of a call."""
    tool_choice: str | Mapping[str, Any] | None = None
    """As in `voicegw.events.Turn.tool_choice`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Sampling options, as in `voicegw.events.Turn.options`."""
    prompt: str = SILENCE_PROMPT
    """The last message of a "reminder", in place of the caller's words."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The caller interrupted the agent (barge-in)."""

    heard_text: str | None = None
    """The part of this turn's words that the caller heard; None if the platform does not report it."""
    frames: bytes = b""
    """Frames to send after the turn was stopped."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The platform reports that the call is over."""


@dataclass(frozen=True, slots=True)
class DtmfPressed:
    """The caller pressed a key of the keypad."""

    digit: str
    """One of 0-9, "*", "#" and A-D."""


@dataclass(frozen=True, slots=True)
class TranscriptUpdated:
    """The platform sent its transcript and requests no reply."""

    history: tuple[Message, ...]
    """The conversation so far."""


@dataclass(frozen=True, slots=True)
class ProtocolReply:
    """The protocol requires a reply that needs no agent, such as a pong."""

    frame: bytes
    """The frames to send at once."""


@dataclass(frozen=True, slots=True)
class PlatformNotice:
    """The platform reports a change by itself that operators want to know; the session logs it."""

    about: str
    """The kind of change, without values of the platform."""


@dataclass(frozen=True, slots=True)
class UnexpectedFrame:
    """The codec cannot use the frame; the session logs it."""

    reason: str
    """Why, without the content of the frame."""


CallEvent: TypeAlias = (
    CallStarted
    | TurnRequested
    | Interrupted
    | CallEnded
    | DtmfPressed
    | TranscriptUpdated
    | ProtocolReply
    | PlatformNotice
    | UnexpectedFrame
)


class TurnEncoder(StreamEncoder, Protocol):
    """Encodes one turn as frames: a `voicegw.turns.stream.StreamEncoder` that gathers text until `drain`.

    `start` and `text_delta` gather words. Every method that returns frames puts the gathered words first.
    After `finish` or `stop` every method returns b"".
    """

    gathered: list[str]
    """Words that are not in a frame yet."""
    actions: ActionResults
    """The actions of this turn, and what became of each."""
    may_stay_open: bool = False
    """Set before `finish` if the next turn can complete the reply."""
    stays_open: bool = False
    """Did `finish` leave the reply open, because an action was refused? The next turn has to complete it."""
    holds_end: bool = False
    """Set before `finish` to send the end of the call later, by `hang_up`."""

    @property
    def spoken_text(self) -> str:
        """All text that was put into frames so far: the platform may have spoken it."""
        ...

    @property
    def ends_call(self) -> bool:
        """Did the agent end or transfer the call in this turn? Then the platform hangs up soon."""
        ...

    def drain(self) -> bytes:
        """Return the gathered words as one frame, b"" if there are none."""
        ...

    def hang_up(self) -> bytes:
        """Return the frame that ends the call, which `finish` held; b"" if there is none."""
        return b""

    def stop(self) -> bytes:
        """End a turn that was interrupted or superseded, and drop the gathered words.

        Returns the frames after which the platform expects nothing more of this turn. An action that was not
        sent yet is cut off.
        """
        ...


class CallCodec(Protocol):
    """Decodes and encodes the frames of one socket."""

    name: str
    """The platform's name in logs and metrics."""
    end_call_is_final: bool
    """After `end_call`: True if the call is over, False if the caller may still interrupt and go on."""
    names_interrupted_turn: bool
    """False if only the heard text shows whether an interruption means the current turn or an older one."""
    asks_again: bool
    """After a reconnect: may the gateway answer a request of the lost socket?"""
    close_code: int
    """The websocket close code on shutdown, after which the platform reconnects if it can."""

    def open(self, greeting: str, *, reconnected: bool = False) -> bytes:
        """Return the frames to send as soon as the call is identified, before any other.

        `greeting` is spoken first, "" for none. `reconnected`: the call is known already and is not greeted.
        """
        ...

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """Decode a frame; None if the gateway has nothing to do. Never raises, for any input."""
        ...

    def begin_turn(self, request: TurnRequested) -> TurnEncoder:
        """Return the encoder of the reply to `request`."""
        ...


ACTIONS = ("end_call", "transfer_call", "send_digits", "switch_language", "play_audio")
"""Actions of an agent on a call: tools with these names, which the gateway runs.

`end_call` {"reason"?: str}, `transfer_call` {"number": str, "reason"?: str}, `send_digits` {"digits": str},
`switch_language` {"language": str}, `play_audio` {"url": str, "loop"?: int}. A platform offers those that it
can execute. An action with invalid arguments does nothing, and the agent is asked to go on.
"""
