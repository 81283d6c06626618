"""Probes: the flaws of answers to single requests."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.api.chat_response import ChunkEncoder, encode_completion
from voicegw.errors import Unauthorized
from voicegw.simulate.probes import check_completion, check_refusal, check_stream
from voicegw.wire.openai import encode_error

JSON = "application/json"
GOOD = json.loads(encode_completion("chatcmpl-1", "desk", 1, "Good day.", [], "stop", None))


def test_our_own_refusal_has_no_flaw() -> None:
    assert check_refusal(401, JSON, encode_error(Unauthorized("No."))) == ""


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"", "a wrong key was answered with status 200, not 401"),
        (403, b"", "a wrong key was answered with status 403, not 401"),
        (401, b"", "the body has no error object"),
        (401, b"[]", "the body has no error object"),
        (401, b'{"error":"no"}', "the body has no error object"),
        (401, b'{"error":{"type":"a"}}', "error.message is missing"),
        (401, b'{"error":{"message":"no","type":1}}', "error.type is missing"),
    ],
)
def test_refusal_needs_the_status_and_an_error_object(status: int, body: bytes, reason: str) -> None:
    assert check_refusal(status, JSON, body) == reason


def test_our_own_completion_has_no_flaw() -> None:
    assert check_completion(200, JSON, json.dumps(GOOD).encode()) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"object": "chat.completion.chunk"}, "no chat.completion with choices[0].message"),
        ({"choices": []}, "no chat.completion with choices[0].message"),
        ({"choices": [{"delta": {}}]}, "no chat.completion with choices[0].message"),
        (
            {"choices": [{"message": {"content": " "}}]},
            "choices[0].message has neither content nor tool_calls",
        ),
        ({"choices": [{"message": {"content": "Hi"}}]}, "choices[0].finish_reason is missing"),
    ],
)
def test_completion_needs_its_fields(change: dict[str, object], reason: str) -> None:
    assert check_completion(200, JSON, json.dumps({**GOOD, **change}).encode()) == reason


def test_stream_is_no_completion() -> None:
    assert check_completion(200, "text/event-stream", b"data: {}\n\n").startswith(
        "stream: false was answered"
    )


def test_stream_needs_text_or_a_tool_call() -> None:
    chunks = ChunkEncoder("chatcmpl-1", "desk", 1)
    assert check_stream(200, "", chunks.start("Hi") + chunks.finish("stop", None)) == ""
    assert check_stream(200, "", chunks.finish("stop", None)) == "neither text nor a tool call"
    assert check_stream(404, "", b"") == "status 404"


@given(st.sampled_from([200, 401]), st.binary() | st.just(json.dumps(GOOD).encode()))
def test_any_body_is_checked_without_an_exception(status: int, body: bytes) -> None:
    for look in (check_refusal, check_completion, check_stream):
        assert isinstance(look(status, JSON, body), str)
