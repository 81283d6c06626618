"""Frames of ConversationRelay both ways, for the tests of its codec, turns and actions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from voicegw.calls.codec import (
    CallEvent,
    TurnEncoder,
    TurnRequested,
)
from voicegw.events import ToolCall
from voicegw.platforms.conversation_relay.actions import RelayActions
from voicegw.platforms.conversation_relay.codec import RelayCodec, RelayPlatform
from voicegw.security.transfer_policy import TransferPolicy

FOLDER = Path(__file__).parent
PLATFORMS: tuple[RelayPlatform, ...] = ("twilio", "telnyx")
FINAL = {"type": "text", "token": "", "last": True}
ENDED = {"type": "end", "handoffData": '{"reasonCode":"end_call"}'}
OPTIONAL = {"interruptible", "preemptible", "lang"}


def transcript(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"relay_{name}.jsonl").read_text("utf-8").splitlines()]


RECEIVED = [step["comes"] for name in PLATFORMS for step in transcript(name) if "comes" in step]


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the encoded frames, each of which the platforms accept."""
    assert not data or data.endswith(b"\n")
    found = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    for frame in found:
        assert_valid(frame)
    return found


def assert_valid(frame: dict[str, Any]) -> None:
    """Assert that the platforms accept a frame, and that it has no other field."""
    assert type(frame) is dict
    fields = frame.keys() - {"type"}
    match frame["type"]:
        case "text":
            assert fields - OPTIONAL == {"token", "last"}
            assert type(frame["token"]) is str
            assert all(type(frame[field]) is bool for field in fields - {"token", "lang"})
            assert type(frame.get("lang", "")) is str
        case "play":
            assert fields - {"loop"} == {"source"}
            assert frame["source"].startswith("https://")
            assert type(frame.get("loop", 1)) is int
            assert frame.get("loop", 1) >= 1
        case "sendDigits":
            assert fields == {"digits"}
            assert re.fullmatch("[0-9w#*]+", frame["digits"])
        case "language":
            assert fields == {"ttsLanguage", "transcriptionLanguage"}
            assert all(re.fullmatch("[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", frame[field]) for field in fields)
        case "end":
            assert fields == {"handoffData"}
            data = json.loads(frame["handoffData"])
            assert all(type(value) is str for value in data.values())
            wanted = {"end_call": set(), "transfer_call": {"number"}}[data["reasonCode"]]
            assert data.keys() - {"reason"} == {"reasonCode"} | wanted
        case other:
            raise AssertionError(f"no platform accepts {other!r}")


def action_call(name: str, arguments: Any) -> ToolCall:
    return ToolCall("call_1", name, json.dumps(arguments))


def perform(turn: TurnEncoder, step: list[Any]) -> bytes:
    match step:
        case ["begin", words]:
            return turn.start(words)
        case ["text", delta]:
            return turn.text_delta(delta)
        case ["call", name, arguments]:
            return turn.tool_call(action_call(name, arguments))
        case ["drain"]:
            return turn.drain()
        case ["stop"]:
            return turn.stop()
        case ["end"]:
            return turn.finish("stop", None, "a note")
    raise AssertionError(step)


def make_codec(platform: RelayPlatform = "twilio") -> RelayCodec:
    return RelayCodec(platform, possible=RelayActions(transfers=TransferPolicy()))


def make_turn(platform: RelayPlatform = "twilio") -> TurnEncoder:
    return make_codec(platform).begin_turn(TurnRequested("Hello?"))


def decode(frame: Any, platform: RelayPlatform = "twilio") -> CallEvent | None:
    return RelayCodec(platform).receive(json.dumps(frame))


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
