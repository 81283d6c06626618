"""Encodes an agent's actions as frames of ConversationRelay. Pure.

Source: Twilio's and Telnyx's documentation of ConversationRelay's websocket messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from voicegw.calls.action_arguments import (
    ActionRefused,
    parse_arguments,
    parse_digits,
    parse_transfer_number,
)
from voicegw.calls.languages import canonical_tag, find_language
from voicegw.events import ToolCall
from voicegw.security.transfer_policy import TransferPolicy
from voicegw.turns.prompts import NOT_DONE
from voicegw.wire.json import dumps

JsonObject: TypeAlias = dict[str, Any]

SENDABLE_DIGITS = re.compile(r"[0-9w#*]{1,64}")
"""Digits of a sendDigits frame; "w" waits."""
AUDIO_URL = re.compile(r"https://[A-Za-z0-9\[][A-Za-z0-9.:\-\]]*(?:[/?#][!-~]{0,2000})?")
"""An https address that the platform can play."""


@dataclass(frozen=True, slots=True)
class RelayActions:
    """The actions that one call's platform can execute."""

    languages: tuple[str, ...] = ()
    """The languages that the call can speak; () if the gateway does not know them."""
    transfers: TransferPolicy | None = None
    """The numbers to which calls may be transferred; None for no transfers."""

    def encode(self, call: ToolCall) -> JsonObject:
        """Return the frame of an action.

        Raises `ActionRefused` for an unknown action, invalid arguments, and a language or number that the
        call does not have.
        """
        arguments = parse_arguments(call)
        encode = ACTION_ENCODERS.get(call.name)
        if encode is None:
            raise ActionRefused
        return encode(self, arguments)


def _end_call(actions: RelayActions, arguments: JsonObject) -> JsonObject:
    return _end_frame("end_call", arguments)


def _transfer_call(actions: RelayActions, arguments: JsonObject) -> JsonObject:
    number = parse_transfer_number(arguments, actions.transfers)
    return _end_frame("transfer_call", arguments, number=number)


def _end_frame(code: str, arguments: JsonObject, **more: str) -> JsonObject:
    """Return the frame that ends the session; its handoffData, JSON in JSON, is for the action webhook."""
    reason = arguments.get("reason")
    if not isinstance(reason, str | None):
        raise ActionRefused
    given = {} if reason is None else {"reason": reason}
    return {"type": "end", "handoffData": dumps({"reasonCode": code, **given, **more}).decode()}


def _send_digits(actions: RelayActions, arguments: JsonObject) -> JsonObject:
    return {"type": "sendDigits", "digits": parse_digits(arguments, SENDABLE_DIGITS)}


def _switch_language(actions: RelayActions, arguments: JsonObject) -> JsonObject:
    """Return the frame with the tag as it was declared; the platform switches to no other language."""
    given = arguments.get("language")
    tag = canonical_tag(given) if isinstance(given, str) else None
    if tag is None:
        raise ActionRefused
    language = find_language(tag, actions.languages) if actions.languages else tag
    if language is None:
        known = ", ".join(actions.languages)
        raise ActionRefused(f"{NOT_DONE}the call has no voice for {tag}; it has {known}.")
    return {"type": "language", "ttsLanguage": language, "transcriptionLanguage": language}


def _play_audio(actions: RelayActions, arguments: JsonObject) -> JsonObject:
    source, loop = arguments.get("url"), arguments.get("loop")
    if not (isinstance(source, str) and AUDIO_URL.fullmatch(source)):
        raise ActionRefused
    if not (loop is None or (type(loop) is int and loop > 0)):
        raise ActionRefused  # a bool is an int in Python, and some agents mean "endless" by 0
    return {"type": "play", "source": source, **({} if loop is None else {"loop": loop})}


ACTION_ENCODERS: Mapping[str, Callable[[RelayActions, JsonObject], JsonObject]] = {
    "end_call": _end_call,
    "transfer_call": _transfer_call,
    "send_digits": _send_digits,
    "switch_language": _switch_language,
    "play_audio": _play_audio,
}
"""By the action's name: from its arguments to its frame. They raise `ActionRefused`."""
