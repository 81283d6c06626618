"""Decodes the frames of ConversationRelay, which Twilio and Telnyx share.

Each frame is a JSON text; a socket carries one call. A turn is one talk cycle, which
`voicegw.platforms.conversation_relay.turn` encodes. Authentication is in the platforms' own folders.

Source: Twilio's and Telnyx's documentation of ConversationRelay's websocket messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from voicegw.calls.codec import (
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    PlatformNotice,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.platforms.conversation_relay.actions import JsonObject, RelayActions
from voicegw.platforms.conversation_relay.turn import RelayTurn
from voicegw.wire.json import dumps, loads

RelayPlatform: TypeAlias = Literal["twilio", "telnyx"]

CALL_ID_FIELDS: Mapping[RelayPlatform, tuple[str, ...]] = {
    "twilio": ("callSid",),
    "telnyx": ("callControlId", "callSessionId", "sessionId"),
}
"""Fields of the setup frame that identify the call; the first one that is present counts."""
CONFIG_UPDATED = "configUpdated"
"""The name of the info event after a change of the session's configuration, or of a provider (failover)."""
NO_CHOICE = RelayActions()
"""The actions without a choice of languages and without transfers."""
DTMF_KEY = re.compile(r"[0-9*#A-D]")
"""One key of the keypad."""


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
        resumed_parameter: str = "",
        tags_language: bool = False,
        possible: RelayActions = NO_CHOICE,
    ) -> None:
        """Make the codec of one socket; `possible` are the actions that the platform can execute.

        `preemptible` (the next talk cycle may cut a turn) and `interruptible` (the caller may) are written
        into every token; None leaves them to the call's setup. With `tags_language`, each token has the
        language of its request, in which the platform then speaks it.
        """
        self.name: str = name
        self.possible = possible
        # The custom parameters with the ticket, and with the reason why a call is connected again. They are
        # hidden from the agent; "" for none.
        self.ticket_parameter, self.resumed_parameter = ticket_parameter, resumed_parameter
        self.tags_language = tags_language
        self._has_reported_change = False  # was a change of the platform's configuration reported?
        self.call_id_fields = CALL_ID_FIELDS[name]  # fields of the setup frame with the call's id
        options = {"preemptible": preemptible, "interruptible": interruptible}
        self.flags = {key: value for key, value in options.items() if value is not None}
        # The ends of a text frame behind its token: of a partial one, and of the final one.
        self.tails = (encode_tail(last=False, **self.flags), encode_tail(last=True, **self.flags))

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
        tails = self.tails
        if self.tags_language and request.language:
            flags: dict[str, bool | str] = {"lang": request.language, **self.flags}
            tails = (encode_tail(last=False, **flags), encode_tail(last=True, **flags))
        return RelayTurn(*tails, self.possible, may_be_silent=request.kind == "tool")

    def _decode(self, data: JsonObject) -> CallEvent | None:
        match data.get("type"):
            case "prompt":
                return _decode_prompt(data)
            case "interrupt":
                heard = data.get("utteranceUntilInterrupt")
                return Interrupted(heard if isinstance(heard, str) else None)
            case "dtmf":
                return _decode_digit(data.get("digit"))
            case "setup":
                return self._decode_setup(data)
            case "info" if data.get("name") != CONFIG_UPDATED:
                return None
            case "info" | "configUpdated":
                return self._report_change()
            case "error":
                return UnexpectedFrame("the platform reports an error")
        return UnexpectedFrame("a frame of unknown type")

    def _decode_setup(self, data: JsonObject) -> CallEvent:
        ids = (data.get(field) for field in self.call_id_fields)
        call_id = next((id for id in ids if isinstance(id, str) and id.strip()), None)
        if call_id is None:
            return UnexpectedFrame("a setup that names no call")
        ticket, metadata = _split_parameter(data, self.ticket_parameter)
        resumed, metadata = _split_parameter(metadata, self.resumed_parameter)
        return CallStarted(call_id, metadata, ticket, resumed)

    def _report_change(self) -> CallEvent | None:
        """Report the first change of the session's configuration or provider; its value is not documented."""
        is_first, self._has_reported_change = not self._has_reported_change, True
        return PlatformNotice("config-updated") if is_first else None


def _split_parameter(setup: JsonObject, parameter: str) -> tuple[str, JsonObject]:
    """Return a custom parameter ("" for none) and the setup without it: the agent must not see it."""
    match setup:
        case {"customParameters": {} as parameters} if parameter and parameter in parameters:
            rest = {name: value for name, value in parameters.items() if name != parameter}
            value = parameters[parameter]
            return value if isinstance(value, str) else "", {**setup, "customParameters": rest}
    return "", setup


def _decode_digit(digit: object) -> CallEvent:
    if isinstance(digit, str) and DTMF_KEY.fullmatch(digit):
        return DtmfPressed(digit)
    return UnexpectedFrame("a dtmf frame without a valid digit")


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


def encode_tail(**fields: bool | str) -> bytes:
    """Return the end of a text frame behind its token."""
    return b"," + dumps(fields)[1:] + b"\n"
