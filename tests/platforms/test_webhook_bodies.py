from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.asgi.webhook import parse_call_sid
from voicegw.calls.codec import TurnRequested
from voicegw.errors import BadRequest
from voicegw.events import ToolCall
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.retell.webhook import ended_call_id
from voicegw.platforms.twilio.webhooks import MAX_FORM_FIELDS, parse_form, transfer_number


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))))
def test_a_form_is_read_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    if pairs:
        assert parse_form(urlencode(pairs).encode()) == pairs


@pytest.mark.parametrize(
    "body",
    [b"a", b"a=1&b", b"\xff=1", "é=1".encode(), b"a=%FF", b"{}", b"&".join([b"a=1"] * (MAX_FORM_FIELDS + 1))],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^The body is not a form\.$"):
        parse_form(body)


@pytest.mark.parametrize("call", [None, 1, "", " ", "a b", "a\n", "é", "x" * 129, ["CA1"]])
def test_a_call_has_a_plain_name(call: object) -> None:
    with pytest.raises(BadRequest, match="names no call"):
        parse_call_sid(call)


def test_a_name_is_passed_on_as_it_is() -> None:
    assert parse_call_sid("CA1") == "CA1"
    assert parse_call_sid("x" * 128) == "x" * 128


def handoff(name: str, **arguments: Any) -> str:
    """What our codec leaves for the hook when the agent does this."""
    turn = RelayCodec("twilio").turn(TurnRequested())
    turn.tool_call(ToolCall("1", name, json.dumps(arguments)))
    return str(json.loads(turn.finish("stop", None).splitlines()[-1])["handoffData"])


def test_a_transfer_that_our_codec_wrote_is_understood() -> None:
    assert transfer_number(handoff("transfer_call", number="+4930123456", reason="asked")) == "+4930123456"
    assert transfer_number(handoff("end_call", reason="done")) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "1",
        '{"reasonCode":"transfer_call"}',
        '{"reasonCode":"transfer_call","number":4930123456}',
        '{"reasonCode":"transfer_call","number":"911"}',
        '{"reasonCode":"transfer_call","number":"+4930123456;x"}',
        '{"reasonCode":"transfer_call","number":"+4930123456\\n"}',
        '{"reasonCode":"end_call","number":"+4930123456"}',
        "\ud800",
        "[" * 100_000,
    ],
)
def test_anything_else_transfers_nobody(text: str) -> None:
    assert transfer_number(text) is None


@pytest.mark.parametrize("event", ["call_ended", "call_analyzed"])
@pytest.mark.parametrize("key", ["call", "data"])
def test_a_call_that_ended_is_named(event: str, key: str) -> None:
    assert (
        ended_call_id(json.dumps({"event": event, key: {"call_id": "c1", "transcript": "x"}}).encode())
        == "c1"
    )


@pytest.mark.parametrize("event", ["call_started", "transcript_updated", "anything"])
def test_other_events_end_nothing(event: str) -> None:
    assert ended_call_id(json.dumps({"event": event, "call": {"call_id": "c1"}}).encode()) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "names no event"),
        (b"{}", "names no event"),
        (b'{"event":1}', "names no event"),
        (b'{"event":"call_ended"}', "names no call"),
        (b'{"event":"call_ended","call":"c1"}', "names no call"),
        (b'{"event":"call_ended","call":{}}', "names no call"),
        (b'{"event":"call_ended","call":{"call_id":7}}', "names no call"),
    ],
)
def test_what_is_no_event_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        ended_call_id(body)


@given(st.binary() | st.text().map(str.encode), st.text(st.characters()))
def test_whatever_comes_is_read_or_refused(body: bytes, text: str) -> None:
    transfer_number(text)
    for read in (parse_form, ended_call_id):
        with suppress(BadRequest):
            read(body)
