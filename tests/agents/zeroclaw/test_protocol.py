"""Frames of ZeroClaw's chat socket are encoded and decoded."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.zeroclaw.protocol import ZeroClawTurnDecoder, approval_frame, message_frame, parse_resumed
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentUnavailable
from voicegw.events import Activity, Event, Usage

WHERE = "http://zeroclaw/ws/chat"


def decode(*frames: dict[str, Any]) -> list[Event]:
    decoder = ZeroClawTurnDecoder(WHERE)
    return [event for frame in frames for event in decoder.feed(frame)]


def chunk(text: Any) -> dict[str, Any]:
    return {"type": "chunk", "content": text}


def done(answer: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "done", "full_response": answer, **more}


TOOL = {"type": "tool_call", "name": "shell", "args": {"x": 1}}


def test_encoded_requests() -> None:
    assert message_frame("Hi") == {"type": "message", "content": "Hi"}
    assert approval_frame("r", "deny") == {"type": "approval_response", "request_id": "r", "decision": "deny"}


@pytest.mark.parametrize(
    ("frames", "events"),
    [
        ((chunk("a"), chunk(""), chunk("b"), done("ab")), ["a", "b"]),
        ((chunk(None), done("ab")), ["ab"]),
        ((TOOL, {"type": "tool_call"}), [Activity("shell"), Activity("tool")]),
        (
            (chunk("Let me see."), TOOL, done("It is five.")),
            ["Let me see.", Activity("shell"), "It is five."],
        ),
        ((chunk("It is five."), TOOL, done(" five.\n")), ["It is five.", Activity("shell")]),
        ((chunk(" "), done("Yes")), [" ", "Yes"]),
        ((chunk("Yes"), done("Yes, and more")), ["Yes"]),
        (({"type": "thinking", "content": ""}, {"type": "plan"}, {"type": "cron_result"}, {}), []),
        (({"type": 5}, {"type": "error", "component": "cron", "message": "x"}), []),
        (({"type": "error", "code": "STEERING_QUEUE_FULL"}, {"type": "error", "code": "SOP_DISABLED"}), []),
        (
            (done(input_tokens=9, output_tokens=3, usage_by_provider=[{"cached_input_tokens": 4}, {}, 1]),),
            [Usage(9, 3, 4)],
        ),
        ((done(input_tokens=None, output_tokens=3, usage_by_provider={}),), [Usage(0, 3)]),
        ((done(input_tokens=-1, output_tokens=True),), []),
    ],
)
def test_frames_are_events(frames: tuple[dict[str, Any], ...], events: list[Event]) -> None:
    assert decode(*frames) == events


def test_a_turn_is_done_after_done_or_aborted() -> None:
    decoder = ZeroClawTurnDecoder(WHERE)
    decoder.feed(chunk("a"))
    assert (decoder.done, decoder.aborted) == (False, False)
    decoder.feed(done())
    assert (decoder.done, decoder.aborted) == (True, False)
    stopped = ZeroClawTurnDecoder(WHERE)
    stopped.feed({"type": "aborted"})
    assert (stopped.done, stopped.aborted) == (True, True)


def test_the_approval_id_is_that_of_the_last_frame() -> None:
    decoder = ZeroClawTurnDecoder(WHERE)
    assert decoder.feed({"type": "approval_request", "request_id": "r", "tool": "rm"}) == [Activity("rm")]
    assert decoder.approval_id == "r"
    decoder.feed(chunk("a"))
    assert decoder.approval_id is None


@pytest.mark.parametrize(
    ("frame", "error_class", "done", "message"),
    [
        ({"code": "SESSION_QUEUE_TIMEOUT"}, AgentBusy, True, f"{WHERE} reported SESSION_QUEUE_TIMEOUT"),
        (
            {"code": "PROVIDER_ERROR", "message": "a\nb"},
            AgentError,
            True,
            f"{WHERE} reported PROVIDER_ERROR: a b",
        ),
        ({}, AgentError, False, f"{WHERE} reported an error"),
        ({"code": 5, "message": []}, AgentError, False, f"{WHERE} reported an error"),
    ],
)
def test_an_error_frame_tells_whether_the_turn_is_done(
    frame: dict[str, Any], error_class: type[AgentError], done: bool, message: str
) -> None:
    decoder = ZeroClawTurnDecoder(WHERE)
    with pytest.raises(AgentError) as raised:
        decoder.feed({"type": "error", **frame})
    assert (type(raised.value), str(raised.value), decoder.done) == (error_class, message, done)


def test_content_that_is_no_text_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="content is no text"):
        decode(chunk(5))


def test_a_session_is_resumed_or_new() -> None:
    assert parse_resumed({"type": "session_start", "resumed": True}, WHERE) is True
    assert parse_resumed({"type": "session_start"}, WHERE) is False
    assert parse_resumed({"type": "history_trimmed"}, WHERE) is None
    with pytest.raises(AgentUnavailable):
        parse_resumed({"type": "error", "code": "SESSION_RESTORE_UNAVAILABLE"}, WHERE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
NAMES = [
    "content",
    "name",
    "tool",
    "request_id",
    "full_response",
    "code",
    "message",
    "component",
    "input_tokens",
]
TYPES = ["chunk", "tool_call", "approval_request", "done", "aborted", "error", "session_start", "other"]
FRAMES = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(TYPES) | JSON,
    st.dictionaries(st.sampled_from([*NAMES, "usage_by_provider", "output_tokens"]), JSON),
)


@given(st.lists(FRAMES, max_size=6))
def test_no_frame_raises_anything_but_an_agent_error(frames: list[dict[str, Any]]) -> None:
    decoder = ZeroClawTurnDecoder(WHERE)
    for frame in frames:
        with suppress(AgentError):
            assert all(type(event) in (str, Activity, Usage) for event in decoder.feed(frame))
        with suppress(AgentError):
            parse_resumed(frame, WHERE)
