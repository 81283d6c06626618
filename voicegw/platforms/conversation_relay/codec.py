"""ConversationRelay, as Twilio and Telnyx speak it: JSON texts on one websocket per call.

A turn is one talk cycle: tokens, of which only the final one says so. The platform joins tokens as they
are, so the agent's spaces stay; whatever followed the final token would open a new cycle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from voicegw.calls.codec import (
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import ToolCall, Usage
from voicegw.wire.json import dumps, loads

Flavour: TypeAlias = Literal["twilio", "telnyx"]
Object: TypeAlias = dict[str, Any]

IDS: Mapping[Flavour, tuple[str, ...]] = {
    "twilio": ("callSid",),
    "telnyx": ("callControlId", "callSessionId", "sessionId"),
}
"""Where the setup names the call, the best name first."""
KEY = re.compile(r"[0-9*#A-D]")
DIGITS = re.compile(r"[0-9w#*]{1,64}")
NUMBER = re.compile(r"\+[1-9][0-9]{3,14}")
"""E.164, which is what both platforms dial."""
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,4}")
"""BCP-47, as far as its shape goes."""
AUDIO = re.compile(r"https://[A-Za-z0-9\[][A-Za-z0-9.:\-\]]*(?:[/?#][!-~]{0,2000})?")


class RelayCodec:
    """One ConversationRelay call.

    `preemptible` (the next cycle may cut a turn) and `interruptible` (the caller may) are said with every
    token; None leaves them to what the call was set up with. `ticket_parameter` is the custom parameter that
    holds the call's ticket, "" if there is none: the agent does not see it.
    """

    close_code = 1012
    ends = True

    def __init__(
        self,
        name: Flavour,
        *,
        preemptible: bool | None = None,
        interruptible: bool | None = None,
        ticket_parameter: str = "",
    ) -> None:
        self.name: str = name
        self.ticket_parameter = ticket_parameter
        self.ids = IDS[name]
        options = {"preemptible": preemptible, "interruptible": interruptible}
        said = {key: value for key, value in options.items() if value is not None}
        self.more, self.final = _tail(last=False, **said), _tail(last=True, **said)

    def open(self, greeting: str, *, again: bool = False) -> bytes:
        """Nothing: the platform speaks the greeting itself while the socket is set up."""
        return b""

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """What a frame tells; None if nothing that matters. Never raises, whatever came."""
        if not isinstance(frame, str):
            return UnexpectedFrame("a binary frame")
        try:
            data = loads(frame.encode())
        except ValueError:
            return UnexpectedFrame("not valid JSON")
        return self._read(data) if isinstance(data, dict) else UnexpectedFrame("not a JSON object")

    def turn(self, asked: TurnRequested) -> RelayTurn:
        """The codec of the answer to this."""
        return RelayTurn(self.more, self.final)

    def _read(self, data: Object) -> CallEvent | None:
        match data.get("type"):
            case "prompt":
                return _asked(data)
            case "interrupt":
                heard = data.get("utteranceUntilInterrupt")
                return Interrupted(heard if isinstance(heard, str) else None)
            case "dtmf":
                digit = _matched(KEY, data.get("digit"))
                return DtmfPressed(digit) if digit else UnexpectedFrame("a key that no keypad has")
            case "setup":
                return self._opened(data)
            case "info" | "configUpdated":
                return None
            case "error":
                return UnexpectedFrame("the platform reports an error")
        return UnexpectedFrame("a frame of unknown type")

    def _opened(self, data: Object) -> CallEvent:
        named = (data.get(key) for key in self.ids)
        call = next((id for id in named if isinstance(id, str) and id.strip()), None)
        if call is None:
            return UnexpectedFrame("a setup that names no call")
        ticket, facts = _without_ticket(data, self.ticket_parameter)
        return CallStarted(call, facts, ticket)


def _without_ticket(setup: Object, parameter: str) -> tuple[str, Object]:
    """Take the ticket out of what the platform tells of a call: it is no business of the agent's."""
    match setup:
        case {"customParameters": {} as parameters} if parameter and parameter in parameters:
            rest = {name: value for name, value in parameters.items() if name != parameter}
            ticket = parameters[parameter]
            return ticket if isinstance(ticket, str) else "", {**setup, "customParameters": rest}
    return "", setup


def _asked(data: Object) -> CallEvent | None:
    said, final, language = data.get("voicePrompt"), data.get("last"), data.get("lang")
    if not isinstance(said, str) or not isinstance(final, bool | None):
        return UnexpectedFrame("a prompt of wrong types")
    final = final is not False
    if not said.strip():
        return UnexpectedFrame("a prompt without words") if final else None
    return TurnRequested(
        said, final=final, language=language if isinstance(language, str) and language else None
    )


class RelayTurn:
    """One turn: tokens, actions among them, and one final token; ending the call comes after that.

    `more` and `final` are what follows the token in a text frame.
    """

    keepalive = b""

    def __init__(self, more: bytes, final: bytes) -> None:
        self.more = more
        self.final = final
        self.words: list[str] = []
        self.spoken_text = ""
        self.begun = False
        self.acted = False
        self.over = False
        self.hangup = b""
        self.executed: list[ToolCall] = []
        self.already_executed: set[tuple[str, str]] = set()

    @property
    def ends_call(self) -> bool:
        """Did the agent end the call with this turn? Not if the turn was cut short before it did."""
        return bool(self.hangup)

    def start(self, words: str) -> bytes:
        return self.text_delta(words)

    def text_delta(self, delta: str) -> bytes:
        if not self.over:
            self.words.append(delta)
        return b""

    def drain(self) -> bytes:
        """What was gathered, as one token."""
        words = self._gathered()
        if not words:
            return b""
        self.begun = True
        return self._token(words, self.more)

    def tool_call(self, call: ToolCall) -> bytes:
        """An action, after the words before it; ending the call waits for `end`, and the first one counts."""
        action = None if self.over else _action(call)
        if action is None:
            return b""
        self.acted = True
        if (call.name, call.arguments) in self.already_executed:
            return b""  # done already, in answer to the same words
        self.executed.append(call)
        frame = dumps(action) + b"\n"
        if action["type"] != "end":
            return self.drain() + frame
        self.hangup = self.hangup or frame
        return b""

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        """The remaining words as the final token, then the end of the call if there is one.

        A turn that only acted opened no talk cycle, and closes none.
        """
        if self.over:
            return b""
        self.over = True
        words = self._gathered()
        silent = self.acted and not words and not self.begun
        return self.hangup if silent else self._token(words, self.final) + self.hangup

    def stop(self) -> bytes:
        """Close the cycle if it was opened. Gathered words and the end of the call are dropped."""
        if self.over:
            return b""
        self.over = True
        self.words.clear()
        self.hangup = b""
        return self._token("", self.final) if self.begun else b""

    def _gathered(self) -> str:
        words = "".join(self.words)
        self.words.clear()
        return words

    def _token(self, words: str, tail: bytes) -> bytes:
        self.spoken_text += words
        return b'{"type":"text","token":' + dumps(words) + tail


def _tail(**fields: bool) -> bytes:
    return b"," + dumps(fields)[1:] + b"\n"


def _action(call: ToolCall) -> Object | None:
    """The frame for an action; None if we know no such action or its arguments make no sense."""
    build = ACTIONS.get(call.name)
    try:
        arguments = loads(call.arguments.encode())
    except ValueError:
        return None
    return build(arguments) if build and isinstance(arguments, dict) else None


def _matched(pattern: re.Pattern[str], value: Any) -> str | None:
    """The value, if it is a text of this pattern and nothing more."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _end_call(arguments: Object) -> Object | None:
    return _handoff("end_call", arguments)


def _transfer_call(arguments: Object) -> Object | None:
    number = _matched(NUMBER, arguments.get("number"))
    return _handoff("transfer_call", arguments, number=number) if number else None


def _handoff(code: str, arguments: Object, **more: str) -> Object | None:
    """The end of our session, and what the web hook that goes on with the call has to know: JSON in JSON."""
    reason = arguments.get("reason")
    if not isinstance(reason, str | None):
        return None
    given = {} if reason is None else {"reason": reason}
    return {"type": "end", "handoffData": dumps({"reasonCode": code, **given, **more}).decode()}


def _send_digits(arguments: Object) -> Object | None:
    digits = _matched(DIGITS, arguments.get("digits"))
    return {"type": "sendDigits", "digits": digits} if digits else None


def _switch_language(arguments: Object) -> Object | None:
    language = _matched(LANGUAGE, arguments.get("language"))
    if not language:
        return None
    return {"type": "language", "ttsLanguage": language, "transcriptionLanguage": language}


def _play_audio(arguments: Object) -> Object | None:
    source, loop = _matched(AUDIO, arguments.get("url")), arguments.get("loop")
    if not source or not (loop is None or (type(loop) is int and loop > 0)):
        return None  # a bool is an int to Python, and 0 means "for ever" to some
    return {"type": "play", "source": source, **({} if loop is None else {"loop": loop})}


ACTIONS: Mapping[str, Callable[[Object], Object | None]] = {
    "end_call": _end_call,
    "transfer_call": _transfer_call,
    "send_digits": _send_digits,
    "switch_language": _switch_language,
    "play_audio": _play_audio,
}
