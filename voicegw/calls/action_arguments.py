"""Reads the arguments of an agent's actions, which agents spell in many ways. Pure.

The encoders of `voicegw.platforms` make frames of them.
"""

from __future__ import annotations

import re
from typing import Any

from voicegw.events import ToolCall
from voicegw.security.transfer_policy import TransferPolicy, TransferRefused
from voicegw.turns.prompts import ACTION_NOT_POSSIBLE, NOT_DONE
from voicegw.wire.json import loads_object

DIGIT_SEPARATORS = re.compile(r"[\s-]")
"""Characters between keys that agents write for reading; they are left out."""


class ActionRefused(Exception):
    """The action is not executed; the message is its result, which the agent reads."""

    def __init__(self, result: str = ACTION_NOT_POSSIBLE) -> None:
        super().__init__(result)


def parse_arguments(call: ToolCall) -> dict[str, Any]:
    """Return the arguments of an action. Raises `ActionRefused` if they are no JSON object."""
    arguments = loads_object(call.arguments)
    if arguments is None:
        raise ActionRefused
    return arguments


def parse_digits(arguments: dict[str, Any], keys: re.Pattern[str]) -> str:
    """Return the `digits` of `send_digits` without separators, which `keys` has to match.

    Raises `ActionRefused`.
    """
    digits = arguments.get("digits")
    text = DIGIT_SEPARATORS.sub("", digits) if isinstance(digits, str) else ""
    if not keys.fullmatch(text):
        raise ActionRefused
    return text


def parse_transfer_number(arguments: dict[str, Any], transfers: TransferPolicy | None) -> str:
    """Return the `number` of `transfer_call` in E.164 form.

    Raises `ActionRefused` if the policy refuses it, and without a policy.
    """
    number = arguments.get("number")
    if transfers is None:
        raise ActionRefused
    if not isinstance(number, str):
        raise ActionRefused
    try:
        return transfers.resolve(number)
    except TransferRefused as refusal:
        raise ActionRefused(f"{NOT_DONE}{refusal}") from None
