"""Decodes and encodes the frames of Retell's custom LLM websocket.

Each request holds the transcript, and each reply carries the request's `response_id`. Retell accepts content
only for the newest `response_id` that it sent, and only until a frame says that the reply is complete. It
drops other frames silently, also those with a field of a wrong type: numbers are integers, flags are
booleans. The webhook is in `voicegw.platforms.retell.webhook`.

Source: Retell's documentation of the LLM websocket and its demo server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from voicegw.calls.action_results import ActionResults
from voicegw.calls.codec import (
    CallEvent,
    CallStarted,
    ProtocolReply,
    TranscriptUpdated,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Message, Role, ToolCall, Usage
from voicegw.turns.prompts import KEYPAD_PROMPT, NOT_DONE
from voicegw.wire.json import dumps, loads_object

ROLES: dict[Any, Role] = {"agent": "assistant", "user": "user", "system": "system"}
TURN_KINDS = {"response_required": "said", "reminder_required": "reminder"}
"""`TurnRequested.kind` by the interaction_type of a request."""
ACTIONS_BY_PRIORITY = ("end_call", "transfer_call", "send_digits")
"""Retell executes one action per reply; the first of these that the agent called is sent."""
ONE_ACTION = NOT_DONE + "Retell executes one action per reply."
"""The result of an action beside another one in the same reply."""
E164_NUMBER = re.compile(r"\+[1-9][0-9]{3,14}")
DTMF_KEYS = re.compile(r"[0-9*#A-D]{1,64}")
"""The keys of one entry of the transcript."""
SENDABLE_DIGITS = re.compile(r"[0-9*#]{1,64}")


class RetellCodec:
    """Decodes and encodes the frames of one Retell socket."""

    name = "retell"
    close_code = 1012
    """Service Restart, after which Retell reconnects; 1000 would hang up the call."""
    end_call_is_final = False
    """If the caller interrupts the last words, Retell does not hang up."""
    names_interrupted_turn = True
    asks_again = True
    """Retell accepts the reply to its newest request also on a new socket."""

    def __init__(
        self,
        call_id: str,
        *,
        auto_reconnect: bool = True,
        call_details: bool = True,
        transcript_with_tool_calls: bool = True,
    ) -> None:
        """Make the codec of one socket; the options are those of Retell's config frame, by its names."""
        self.call_id = call_id  # the last segment of the path that Retell connected to
        self.newest_response_id = 0  # of the requests so far; 0 is the greeting
        self.is_requested = False  # was a reply with this id requested?
        # The options of the config frame, by Retell's names.
        self.config = {
            "auto_reconnect": auto_reconnect,
            "call_details": call_details,
            "transcript_with_tool_calls": transcript_with_tool_calls,
        }

    def open(self, greeting: str, *, reconnected: bool = False) -> bytes:
        """Return the config frame and the greeting; "" lets the caller speak first.

        A socket that replaces a lost one (`reconnected`) gets the config frame alone.
        """
        config = _encode_frame({"response_type": "config", "config": self.config})
        if reconnected:
            return config
        turn = RetellTurn(0)
        turn.start(greeting)
        return config + turn.finish("stop", None)

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """Decode a frame. Never raises, for any input."""
        data = loads_object(frame) if isinstance(frame, str) else None
        if data is None:
            return UnexpectedFrame("a frame that is not a JSON object")
        match data.get("interaction_type"):
            case "update_only":
                history = _parse_history(data)
                return (
                    UnexpectedFrame("an update without a transcript")
                    if history is None
                    else TranscriptUpdated(history)
                )
            case "response_required" | "reminder_required" as kind:
                return self._decode_request(data, TURN_KINDS[kind])
            case "ping_pong":
                return _reply_to_ping(data.get("timestamp"))
            case "call_details":
                metadata = data.get("call")
                return (
                    CallStarted(self.call_id, metadata)
                    if isinstance(metadata, dict)
                    else UnexpectedFrame("call_details without a call")
                )
        return UnexpectedFrame("a frame of an unknown type")

    def begin_turn(self, request: TurnRequested) -> RetellTurn:
        """Return the encoder of the reply to `request`."""
        self.newest_response_id, self.is_requested = max(request.id, self.newest_response_id), True
        return RetellTurn(request.id)

    def _decode_request(self, data: dict[str, Any], kind: str) -> TurnRequested | UnexpectedFrame:
        id, history = data.get("response_id"), _parse_history(data)
        if type(id) is not int:
            return UnexpectedFrame("a request without a valid response_id")
        if id < self.newest_response_id:
            return UnexpectedFrame("a request older than the newest")
        if id == self.newest_response_id and self.is_requested:
            return UnexpectedFrame("a request that came before")
        self.newest_response_id = id
        if history is None:
            return UnexpectedFrame("a request without a transcript")
        self.is_requested = True
        if kind == "said" and _ends_with_keys(data):
            kind = "keypad"
        text = next((message.text for message in reversed(history) if message.role == "user"), "")
        return TurnRequested("" if kind == "reminder" else text, kind, history=history, id=id)


class RetellTurn(TurnEncoder):
    """Encodes one reply. Its action goes with the last frame, for Retell to execute after the words."""

    keepalive = b""

    def __init__(self, response_id: int) -> None:
        self.gathered: list[str] = []  # words that are not in a frame yet
        self.sent: list[str] = []  # the content of each frame
        # The actions that Retell can execute, by name: the call and its fields of the last frame.
        self.possible: dict[str, tuple[ToolCall, dict[str, Any]]] = {}
        self.ended = False  # set by `finish` and `stop`
        self.actions = ActionResults()
        # The start of each frame, up to its content.
        self.frame_head = (
            dumps({"response_type": "response", "response_id": response_id})[:-1] + b',"content":'
        )

    @property
    def spoken_text(self) -> str:
        """All text that was put into frames so far."""
        return "".join(self.sent)

    @property
    def ends_call(self) -> bool:
        """Does this reply end or transfer the call?"""
        return bool(self.possible.keys() & {"end_call", "transfer_call"})

    def start(self, words: str) -> bytes:
        """Gather the acknowledgement; return b""."""
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        """Gather words; return b""."""
        if delta and not self.ended:
            self.gathered.append(delta)
        return b""

    def tool_call(self, call: ToolCall) -> bytes:
        """Keep an action for the last frame, the first of each name; return b"".

        Actions that Retell cannot execute and invalid arguments do nothing.
        """
        if self.ended or self.actions.is_repeated(call):
            return b""
        if fields := _action_fields(call):
            self.actions.by_id[call.id] = ONE_ACTION
            self.possible.setdefault(call.name, (call, fields))
        else:
            self.actions.refuse(call)
        return b""

    def drain(self) -> bytes:
        """Return the gathered words as one frame, b"" if there are none."""
        return self._encode_content(b',"content_complete":false}\n') if self.gathered else b""

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the frame that completes the reply: without it Retell's agent would stay silent.

        With `may_stay_open`, the reply stays open for the agent's next words if an action was refused and
        none is executed.
        """
        if self.ended:
            return b""
        self.ended = True
        if self.may_stay_open and self.actions.has_refused and not self.possible:
            self.stays_open = True
            return self.drain()
        name = next((name for name in ACTIONS_BY_PRIORITY if name in self.possible), None)
        fields: dict[str, Any] = {}
        if name is not None:
            call, fields = self.possible[name]
            self.actions.execute(call)
        return self._encode_content(b"," + _encode_frame({"content_complete": True, **fields})[1:])

    def stop(self) -> bytes:
        """Drop the gathered words and the actions; return b"": Retell has dropped this reply itself."""
        if not self.ended:
            self.ended = True
            self.gathered.clear()
            for call, _ in self.possible.values():
                self.actions.by_id.pop(call.id, None)
            self.possible.clear()
        return b""

    def _encode_content(self, tail: bytes) -> bytes:
        content = "".join(self.gathered)
        self.gathered.clear()
        self.sent.append(content)
        return self.frame_head + dumps(content) + tail


def _encode_frame(value: dict[str, Any]) -> bytes:
    return dumps(value) + b"\n"


def _reply_to_ping(timestamp: Any) -> ProtocolReply | UnexpectedFrame:
    if type(timestamp) is not int:
        return UnexpectedFrame("a ping without a timestamp")
    return ProtocolReply(_encode_frame({"response_type": "ping_pong", "timestamp": timestamp}))


def _action_fields(call: ToolCall) -> dict[str, Any]:
    """Return the fields that make Retell execute an action; {} for an unknown one or invalid arguments.

    The caller may not interrupt the last words: Retell would then not execute the action behind them.
    """
    match call.name, loads_object(call.arguments):
        case "end_call", dict():
            return {"no_interruption_allowed": True, "end_call": True}
        case "transfer_call", {"number": str(number)} if E164_NUMBER.fullmatch(number):
            return {"no_interruption_allowed": True, "transfer_number": number}
        case "send_digits", {"digits": str(digits)} if SENDABLE_DIGITS.fullmatch(digits):
            return {"digit_to_press": digits}
    return {}


def _entries(data: dict[str, Any]) -> list[Any] | None:
    """Return the transcript, the one with tool calls if it is there; None if there is none."""
    names = ("transcript_with_tool_calls", "transcript")
    return next((data[name] for name in names if isinstance(data.get(name), list)), None)


def _parse_history(data: dict[str, Any]) -> tuple[Message, ...] | None:
    entries = _entries(data)
    return None if entries is None else tuple(_parse_messages(entries))


def _ends_with_keys(data: dict[str, Any]) -> bool:
    """Has the caller pressed keys since anybody spoke?"""
    entries = _entries(data)
    return bool(entries and _pressed_key(entries[-1]))


def _pressed_key(entry: Any) -> str:
    """Return the key of a transcript's entry (source: the official `retell-sdk`), "" for another entry."""
    match entry:
        case {"role": "dtmf", "digit": str(digit)} if DTMF_KEYS.fullmatch(digit):
            return digit
    return ""


def _parse_messages(entries: Iterable[Any]) -> Iterator[Message]:
    """Yield the messages and tool calls in order, keys in a row as one message.

    Invalid entries and results without a call are left out.
    """
    open_calls: set[str] = set()
    for is_keys, group in groupby(entries, lambda entry: _pressed_key(entry) != ""):
        if is_keys:
            yield Message("user", KEYPAD_PROMPT.format(digits="".join(map(_pressed_key, group))))
            continue
        for entry in group:
            yield from _parse_entry(entry, open_calls)


def _parse_entry(entry: Any, open_calls: set[str]) -> Iterator[Message]:
    """Yield the message of an entry; `open_calls` are the ids of calls without a result."""
    match entry:
        case {"role": "agent" | "user" | "system" as role, "content": str(content)}:
            yield Message(ROLES[role], content)
        case {"role": "tool_call_invocation", "tool_call_id": str(id), "name": str(name)} if id and name:
            arguments = entry.get("arguments")
            if isinstance(arguments, str) and loads_object(arguments) is not None:
                open_calls.add(id)
                yield Message("assistant", tool_calls=(ToolCall(id, name, arguments),))
        case {"role": "tool_call_result", "tool_call_id": str(id), "content": str(content)} if (
            id in open_calls
        ):
            open_calls.remove(id)
            yield Message("tool", content, tool_call_id=id)
