"""Frames of Retell both ways, for the tests of its codec, turns and transcripts."""

from __future__ import annotations

import json
import re
from typing import Any

from voicegw.calls.codec import (
    CallEvent,
    TranscriptUpdated,
)
from voicegw.events import Message, ToolCall
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.platforms.retell.turn import RetellTurn
from voicegw.security.transfer_policy import TransferPolicy

CALL = "call_a1b2"
POLICY = TransferPolicy()
CONFIG = (
    b'{"response_type":"config","config":'
    b'{"auto_reconnect":true,"call_details":true,"transcript_with_tool_calls":true}}\n'
)
TRANSCRIPT = [{"role": "agent", "content": "Hello."}, {"role": "user", "content": "Are you open?"}]
HISTORY = (Message("assistant", "Hello."), Message("user", "Are you open?"))
INVOCATION = {
    "role": "tool_call_invocation",
    "tool_call_id": "t1",
    "name": "hours",
    "arguments": '{"day":"today"}',
}
RESULT = {"role": "tool_call_result", "tool_call_id": "t1", "content": "9 to 5"}
CALL_MESSAGE = Message("assistant", tool_calls=(ToolCall("t1", "hours", '{"day":"today"}'),))
RESULT_MESSAGE = Message("tool", "9 to 5", tool_call_id="t1")
END = ToolCall("c1", "end_call", '{"reason":"done"}')
TRANSFER = ToolCall("c2", "transfer_call", '{"number":"+4930123456"}')
PRESS = ToolCall("c3", "send_digits", '{"digits":"12#"}')
LAST = {"no_interruption_allowed": True}
ACTION_FIELDS: dict[str, dict[str, Any]] = {
    "end_call": {**LAST, "end_call": True},
    "transfer_call": {**LAST, "transfer_number": "+4930123456"},
    "send_digits": {"digit_to_press": "12#"},
}
KEYS: dict[str, dict[str, type]] = {
    "config": {"config": dict},
    "ping_pong": {"timestamp": int},
    "response": {"response_id": int, "content": str, "content_complete": bool},
}
FLAGS: dict[str, type] = {"no_interruption_allowed": bool, "end_call": bool}
TARGETS = {
    "transfer_number": re.compile(r"\+[1-9]\d{3,14}", re.A),
    "digit_to_press": re.compile(r"[\d*#]+", re.A),
}


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the encoded frames, each of which Retell accepts."""
    assert not data or data.endswith(b"\n")
    return [assert_valid(json.loads(line)) for line in data.split(b"\n")[:-1]]


def assert_valid(frame: dict[str, Any]) -> dict[str, Any]:
    given = dict(frame)
    kind = given.pop("response_type")
    for key, wanted in KEYS[kind].items():
        assert type(given.pop(key)) is wanted, key
    if kind == "config":
        assert all(type(value) is bool for value in frame["config"].values())
    assert kind == "response" or not given
    actions = given.keys() - {"no_interruption_allowed"}
    assert len(actions) <= 1, "Retell runs one action at most"
    assert not given or frame["content_complete"], "an action goes with the completing frame"
    for key, value in given.items():
        assert type(value) is bool if key in FLAGS else TARGETS[key].fullmatch(value)
    return frame


def received(codec: RetellCodec | None = None, **frame: Any) -> CallEvent | None:
    return (codec or RetellCodec(CALL)).receive(json.dumps(frame))


def request(
    codec: RetellCodec, id: Any, transcript: Any = TRANSCRIPT, kind: str = "response_required", **more: Any
) -> Any:
    return received(codec, interaction_type=kind, response_id=id, transcript=transcript, **more)


def parse_history(entries: list[Any]) -> tuple[Message, ...]:
    """Return the history of a transcript with tool calls."""
    event = received(interaction_type="update_only", transcript=[], transcript_with_tool_calls=entries)
    assert isinstance(event, TranscriptUpdated)
    return event.history


def response(id: int, content: str, complete: bool, **action: Any) -> dict[str, Any]:
    return {
        "response_type": "response",
        "response_id": id,
        "content": content,
        "content_complete": complete,
        **action,
    }


def completing_frame(*calls: ToolCall, words: str = "Bye.") -> dict[str, Any]:
    """Return the completing frame of a reply with these actions."""
    turn = RetellTurn(1, POLICY)
    turn.text_delta(words)
    assert b"".join(map(turn.tool_call, calls)) == b""
    [frame] = frames(turn.finish("tool_calls", None))
    return frame


def keys(digits: str) -> list[dict[str, str]]:
    return [{"role": "dtmf", "digit": digit} for digit in digits]
