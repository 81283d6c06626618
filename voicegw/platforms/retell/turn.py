"""Encodes one reply as response frames of Retell. Pure.

Retell executes the action of a reply behind its words. It drops frames with a field of a wrong type silently:
numbers are integers, flags are booleans.
"""

from __future__ import annotations

import re
from typing import Any

from voicegw.calls.action_arguments import (
    ActionRefused,
    parse_arguments,
    parse_digits,
    parse_transfer_number,
)
from voicegw.calls.action_results import ActionResults
from voicegw.calls.codec import TurnEncoder
from voicegw.events import ToolCall, Usage
from voicegw.security.transfer_policy import TransferPolicy
from voicegw.turns.prompts import NOT_DONE
from voicegw.wire.json import dumps

ACTIONS_BY_PRIORITY = ("end_call", "transfer_call", "send_digits")
"""Retell executes one action per reply; the first of these that the agent called is sent."""
ONE_ACTION = NOT_DONE + "Retell executes one action per reply."
"""The result of an action beside another one in the same reply."""
SENDABLE_DIGITS = re.compile(r"[0-9*#]{1,64}")


class RetellTurn(TurnEncoder):
    """Encodes one reply. Its action goes with the last frame, for Retell to execute after the words."""

    keepalive = b""

    def __init__(self, response_id: int, transfers: TransferPolicy | None = None) -> None:
        self.transfers = transfers  # the numbers to which calls may be transferred; None for no transfers
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
        try:
            fields = _action_fields(call, self.transfers)
        except ActionRefused as refusal:
            self.actions.refuse(call, str(refusal))
            return b""
        self.actions.by_id[call.id] = ONE_ACTION
        self.possible.setdefault(call.name, (call, fields))
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
        return self._encode_content(b"," + encode_frame({"content_complete": True, **fields})[1:])

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


def encode_frame(value: dict[str, Any]) -> bytes:
    """Return the frame of a JSON object."""
    return dumps(value) + b"\n"


def _action_fields(call: ToolCall, transfers: TransferPolicy | None) -> dict[str, Any]:
    """Return the fields that make Retell execute an action.

    Raises `ActionRefused` for an unknown action and invalid arguments. The caller may not interrupt the last
    words: Retell would then not execute the action behind them.
    """
    arguments = parse_arguments(call)
    match call.name:
        case "end_call":
            return {"no_interruption_allowed": True, "end_call": True}
        case "transfer_call":
            number = parse_transfer_number(arguments, transfers)
            return {"no_interruption_allowed": True, "transfer_number": number}
        case "send_digits":
            return {"digit_to_press": parse_digits(arguments, SENDABLE_DIGITS)}
    raise ActionRefused
