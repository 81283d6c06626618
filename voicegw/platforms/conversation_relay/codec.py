"""Decodes and encodes the frames of ConversationRelay, which Twilio and Telnyx share.

Each frame is a JSON text; a socket carries one call. A turn is one talk cycle: text tokens, of which only the
last one is marked as final. The platform joins tokens as they are, so the agent's spaces are kept. A token
after the final one would open a new talk cycle. Authentication is in the platforms' own folders.

Source: Twilio's and Telnyx's documentation of ConversationRelay's websocket messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from voicegw.calls.action_results import ActionResults
from voicegw.calls.codec import (
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.calls.languages import canonical_tag, find_language
from voicegw.events import ToolCall, Usage
from voicegw.turns.prompts import ACTION_NOT_POSSIBLE, NOT_DONE
from voicegw.wire.json import dumps, loads

RelayPlatform: TypeAlias = Literal["twilio", "telnyx"]
JsonObject: TypeAlias = dict[str, Any]

CALL_ID_FIELDS: Mapping[RelayPlatform, tuple[str, ...]] = {
    "twilio": ("callSid",),
    "telnyx": ("callControlId", "callSessionId", "sessionId"),
}
"""Fields of the setup frame that identify the call; the first one that is present counts."""
DTMF_KEY = re.compile(r"[0-9*#A-D]")
"""One key of the keypad."""
SENDABLE_DIGITS = re.compile(r"[0-9w#*]{1,64}")
"""Digits of a sendDigits frame; "w" waits."""
E164_NUMBER = re.compile(r"\+[1-9][0-9]{3,14}")
"""E.164, the form of a telephone number that both platforms dial."""
AUDIO_URL = re.compile(r"https://[A-Za-z0-9\[][A-Za-z0-9.:\-\]]*(?:[/?#][!-~]{0,2000})?")
"""An https address that the platform can play."""


class RelayCodec:
    """Decodes and encodes the frames of one ConversationRelay socket."""

    close_code = 1012
    """Service Restart (RFC 6455 registry)."""
    end_call_is_final = True
    """An end frame ends the session, with the words before it."""
    names_interrupted_turn = False
    """An interrupt frame holds the heard words alone."""
    asks_again = True
    """A reconnected call takes the reply to the words that it was asked before."""

    def __init__(
        self,
        name: RelayPlatform,
        *,
        preemptible: bool | None = None,
        interruptible: bool | None = None,
        ticket_parameter: str = "",
        languages: tuple[str, ...] = (),
    ) -> None:
        """Make the codec of one socket.

        `preemptible` (the next talk cycle may cut a turn) and `interruptible` (the caller may) are written
        into every token; None leaves them to the call's setup.
        """
        self.name: str = name
        # The languages that the call can speak; () if the gateway does not know them.
        self.languages = languages
        # The custom parameter with the ticket, hidden from the agent; "" for none.
        self.ticket_parameter = ticket_parameter
        self.call_id_fields = CALL_ID_FIELDS[name]  # fields of the setup frame with the call's id
        options = {"preemptible": preemptible, "interruptible": interruptible}
        given = {key: value for key, value in options.items() if value is not None}
        # The end of a text frame, behind its token.
        self.partial_tail, self.final_tail = (
            _encode_tail(last=False, **given),
            _encode_tail(last=True, **given),
        )

    def open(self, greeting: str, *, reconnected: bool = False) -> bytes:
        """Return b"": the platform itself speaks the greeting while the socket is set up."""
        return b""

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """Decode a frame; None if the gateway has nothing to do. Never raises, for any input."""
        if not isinstance(frame, str):
            return UnexpectedFrame("a binary frame")
        try:
            data = loads(frame.encode())
        except ValueError:
            return UnexpectedFrame("not valid JSON")
        return self._decode(data) if isinstance(data, dict) else UnexpectedFrame("not a JSON object")

    def begin_turn(self, request: TurnRequested) -> RelayTurn:
        """Return the encoder of the reply to `request`."""
        return RelayTurn(
            self.partial_tail, self.final_tail, self.languages, may_be_silent=request.kind == "tool"
        )

    def _decode(self, data: JsonObject) -> CallEvent | None:
        match data.get("type"):
            case "prompt":
                return _decode_prompt(data)
            case "interrupt":
                heard = data.get("utteranceUntilInterrupt")
                return Interrupted(heard if isinstance(heard, str) else None)
            case "dtmf":
                digit = _match_text(DTMF_KEY, data.get("digit"))
                return DtmfPressed(digit) if digit else UnexpectedFrame("a dtmf frame without a valid digit")
            case "setup":
                return self._decode_setup(data)
            case "info" | "configUpdated":
                return None
            case "error":
                return UnexpectedFrame("the platform reports an error")
        return UnexpectedFrame("a frame of unknown type")

    def _decode_setup(self, data: JsonObject) -> CallEvent:
        ids = (data.get(field) for field in self.call_id_fields)
        call_id = next((id for id in ids if isinstance(id, str) and id.strip()), None)
        if call_id is None:
            return UnexpectedFrame("a setup that names no call")
        ticket, metadata = _split_ticket(data, self.ticket_parameter)
        return CallStarted(call_id, metadata, ticket)


def _split_ticket(setup: JsonObject, parameter: str) -> tuple[str, JsonObject]:
    """Return the ticket ("" for none) and the setup without it: the agent must not see it."""
    match setup:
        case {"customParameters": {} as parameters} if parameter and parameter in parameters:
            rest = {name: value for name, value in parameters.items() if name != parameter}
            ticket = parameters[parameter]
            return ticket if isinstance(ticket, str) else "", {**setup, "customParameters": rest}
    return "", setup


def _decode_prompt(data: JsonObject) -> CallEvent | None:
    text, final, language = data.get("voicePrompt"), data.get("last"), data.get("lang")
    if not isinstance(text, str) or not isinstance(final, bool | None):
        return UnexpectedFrame("a prompt of wrong types")
    final = final is not False
    if not text.strip():
        return UnexpectedFrame("a prompt without words") if final else None
    return TurnRequested(
        text, final=final, language=language if isinstance(language, str) and language else None
    )


class RelayTurn(TurnEncoder):
    """Encodes one turn: text tokens and actions, one final token, and the end of the call after it."""

    keepalive = b""

    def __init__(
        self,
        partial_tail: bytes,
        final_tail: bytes,
        languages: tuple[str, ...] = (),
        *,
        may_be_silent: bool = False,
    ) -> None:
        self.partial_tail = partial_tail  # the end of a text frame that is not the last of the turn
        self.final_tail = final_tail
        self.languages = languages  # those that the call can speak; () if the gateway does not know them
        self.may_be_silent = may_be_silent  # without words, the turn has no talk cycle to close
        self.gathered: list[str] = []  # words that are not in a frame yet
        self._spoken = ""  # all text that was put into tokens so far
        self.has_tokens = False  # did a token open the talk cycle?
        self.ended = False  # set by `finish` and `stop`
        self.end_frame = b""  # ends the session after the final token; b"" if the call goes on
        self.end_call: ToolCall | None = None  # the action to which it belongs
        self.actions = ActionResults()

    @property
    def spoken_text(self) -> str:
        """All text that was put into tokens so far."""
        return self._spoken

    @property
    def ends_call(self) -> bool:
        """Did the agent end or transfer the call in this turn? False after `stop`."""
        return self.end_call is not None

    def start(self, words: str) -> bytes:
        """Gather the acknowledgement; return b""."""
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        """Gather words; return b""."""
        if not self.ended:
            self.gathered.append(delta)
        return b""

    def drain(self) -> bytes:
        """Return the gathered words as one token, b"" if there are none."""
        words = self._take_gathered()
        if not words:
            return b""
        self.has_tokens = True
        return self._encode_token(words, self.partial_tail)

    def tool_call(self, call: ToolCall) -> bytes:
        """Return the frame of an action behind the gathered words.

        Ending the call waits for `finish`, and the first such action counts. An unknown action or invalid
        arguments do nothing, and so does an action that was executed for the same words of the caller.
        """
        if self.ended or self.actions.is_repeated(call):
            self.may_be_silent = True
            return b""
        action = _encode_action(call, self.languages)
        if isinstance(action, str):
            self.actions.refuse(call, action)
            return b""
        self.may_be_silent = True
        self.actions.execute(call)
        frame = dumps(action) + b"\n"
        if action["type"] != "end":
            return self.drain() + frame
        if self.end_call is None:
            self.end_call, self.end_frame = call, frame
        return b""

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """Return the remaining words as the final token, then the end of the call if the agent ended it.

        A turn with actions and without words opened no talk cycle, and closes none. With `holds_end`, the
        end of the call waits for `hang_up`.
        """
        if self.ended:
            return b""
        self.ended = True
        words = self._take_gathered()
        opened_no_cycle = self.may_be_silent and not words and not self.has_tokens
        last_words = b"" if opened_no_cycle else self._encode_token(words, self.final_tail)
        return last_words if self.holds_end else last_words + self.hang_up()

    def hang_up(self) -> bytes:
        """Return the frame that ends the session, once; b"" if the call goes on."""
        frame, self.end_frame = self.end_frame, b""
        return frame

    def stop(self) -> bytes:
        """Close the talk cycle if it was opened; drop the gathered words and the end of the call."""
        if self.end_frame and self.end_call is not None:
            self.actions.cut_off(self.end_call)
            self.end_call, self.end_frame = None, b""
        if self.ended:
            return b""
        self.ended = True
        self.gathered.clear()
        return self._encode_token("", self.final_tail) if self.has_tokens else b""

    def _take_gathered(self) -> str:
        words = "".join(self.gathered)
        self.gathered.clear()
        return words

    def _encode_token(self, words: str, tail: bytes) -> bytes:
        self._spoken += words
        return b'{"type":"text","token":' + dumps(words) + tail


def _encode_tail(**fields: bool) -> bytes:
    return b"," + dumps(fields)[1:] + b"\n"


def _encode_action(call: ToolCall, languages: tuple[str, ...]) -> JsonObject | str:
    """Return the frame of an action; for an action that is refused, the result that the agent reads."""
    encode = ACTION_ENCODERS.get(call.name)
    try:
        arguments = loads(call.arguments.encode())
    except ValueError:
        return ACTION_NOT_POSSIBLE
    if not isinstance(arguments, dict):
        return ACTION_NOT_POSSIBLE
    if call.name == "switch_language":
        return _switch_language(arguments, languages)
    return (encode and encode(arguments)) or ACTION_NOT_POSSIBLE


def _match_text(pattern: re.Pattern[str], value: Any) -> str | None:
    """Return the value if it is a text that the pattern matches as a whole, else None."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _end_call(arguments: JsonObject) -> JsonObject | None:
    return _end_frame("end_call", arguments)


def _transfer_call(arguments: JsonObject) -> JsonObject | None:
    number = _match_text(E164_NUMBER, arguments.get("number"))
    return _end_frame("transfer_call", arguments, number=number) if number else None


def _end_frame(code: str, arguments: JsonObject, **more: str) -> JsonObject | None:
    """Return the frame that ends the session; its handoffData, JSON in JSON, is for the action webhook."""
    reason = arguments.get("reason")
    if not isinstance(reason, str | None):
        return None
    given = {} if reason is None else {"reason": reason}
    return {"type": "end", "handoffData": dumps({"reasonCode": code, **given, **more}).decode()}


def _send_digits(arguments: JsonObject) -> JsonObject | None:
    digits = _match_text(SENDABLE_DIGITS, arguments.get("digits"))
    return {"type": "sendDigits", "digits": digits} if digits else None


def _switch_language(arguments: JsonObject, languages: tuple[str, ...]) -> JsonObject | str:
    """Return the frame with the tag as it was declared; the platform switches to no other language."""
    given = arguments.get("language")
    tag = canonical_tag(given) if isinstance(given, str) else None
    if tag is None:
        return ACTION_NOT_POSSIBLE
    language = find_language(tag, languages) if languages else tag
    if language is None:
        return f"{NOT_DONE}the call has no voice for {tag}; it has {', '.join(languages)}."
    return {"type": "language", "ttsLanguage": language, "transcriptionLanguage": language}


def _play_audio(arguments: JsonObject) -> JsonObject | None:
    source, loop = _match_text(AUDIO_URL, arguments.get("url")), arguments.get("loop")
    if not source or not (loop is None or (type(loop) is int and loop > 0)):
        return None  # a bool is an int in Python, and some agents mean "endless" by 0
    return {"type": "play", "source": source, **({} if loop is None else {"loop": loop})}


ACTION_ENCODERS: Mapping[str, Callable[[JsonObject], JsonObject | None]] = {
    "end_call": _end_call,
    "transfer_call": _transfer_call,
    "send_digits": _send_digits,
    "play_audio": _play_audio,
}
"""By the action's name: from its arguments to its frame, None if the arguments are invalid.

`switch_language` is not here: it also needs the languages of the call.
"""
