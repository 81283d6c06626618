"""Retell's protocol both ways: decoded frames and encoded replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.retell.frames import (
    CALL,
    CONFIG,
    END,
    HISTORY,
    TRANSCRIPT,
    completing_frame,
    frames,
    keys,
    received,
    request,
    response,
)
from voicegw.calls.codec import (
    CallCodec,
    CallStarted,
    ProtocolReply,
    TranscriptUpdated,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Usage
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.turns.stream import StreamEncoder


def test_codec_and_turn_implement_their_protocols() -> None:
    codec: CallCodec = RetellCodec(CALL)
    turn: TurnEncoder = codec.begin_turn(TurnRequested(id=3))
    stream_encoder: StreamEncoder = turn
    assert (codec.name, codec.close_code, stream_encoder.keepalive) == ("retell", 1012, b"")


def test_whole_call_both_ways() -> None:
    codec = RetellCodec(CALL)
    assert codec.open("Hello.") == CONFIG + (
        b'{"response_type":"response","response_id":0,"content":"Hello.","content_complete":true}\n'
    )
    details = {"call_id": CALL, "from_number": "+12137771234", "metadata": {}}
    assert received(codec, interaction_type="call_details", call=details) == CallStarted(CALL, details)
    assert received(codec, interaction_type="ping_pong", timestamp=1703302407333) == ProtocolReply(
        b'{"response_type":"ping_pong","timestamp":1703302407333}\n'
    )
    update = received(codec, interaction_type="update_only", transcript=TRANSCRIPT, turntaking="agent_turn")
    assert update == TranscriptUpdated(HISTORY)
    requested = request(codec, 1)
    assert requested == TurnRequested("Are you open?", history=HISTORY, id=1)
    turn = codec.begin_turn(requested)
    assert turn.start("One moment... ") == b""
    assert turn.drain() == (
        b'{"response_type":"response","response_id":1,"content":"One moment... ","content_complete":false}\n'
    )
    assert turn.text_delta("Ja, ") + turn.text_delta("schön") + turn.tool_call(END) == b""
    assert (
        turn.finish("tool_calls", Usage(1, 2), "ack=0ms")
        == (
            '{"response_type":"response","response_id":1,"content":"Ja, schön","content_complete":true,'
            '"no_interruption_allowed":true,"end_call":true}\n'
        ).encode()
    )
    assert (turn.spoken_text, turn.ends_call) == ("One moment... Ja, schön", True)
    reminder = request(codec, 2, kind="reminder_required")
    assert reminder == TurnRequested("", "reminder", history=HISTORY, id=2)
    assert frames(codec.begin_turn(reminder).finish("stop", None)) == [response(2, "", True)]


@pytest.mark.parametrize("greeting", ["", "Hello.", 'Grüße "an" dich\n'])
def test_open_sends_the_config_and_the_greeting(greeting: str) -> None:
    config, begin = frames(RetellCodec(CALL).open(greeting))
    assert config["response_type"] == "config"
    assert begin == response(0, greeting, True)


def test_reconnected_socket_gets_the_config_alone() -> None:
    assert RetellCodec(CALL).open("Hello.", reconnected=True) == CONFIG


@pytest.mark.parametrize("option", ["auto_reconnect", "call_details", "transcript_with_tool_calls"])
def test_every_config_option_can_be_turned_off(option: str) -> None:
    [config] = frames(RetellCodec(CALL, **{option: False}).open("", reconnected=True))
    assert [name for name, wanted in config["config"].items() if not wanted] == [option]


def test_call_id_is_that_of_the_path() -> None:
    event = received(interaction_type="call_details", call={"call_id": "another"})
    assert event == CallStarted(CALL, {"call_id": "another"})


def test_ping_is_answered_during_a_turn() -> None:
    codec = RetellCodec(CALL)
    turn = codec.begin_turn(request(codec, 1))
    turn.text_delta("One ")
    turn.drain()
    pong = received(codec, interaction_type="ping_pong", timestamp=7)
    assert pong == ProtocolReply(b'{"response_type":"ping_pong","timestamp":7}\n')
    turn.text_delta("two")
    assert frames(turn.finish("stop", None)) == [response(1, "two", True)]


def test_update_does_not_change_the_current_turn() -> None:
    codec = RetellCodec(CALL)
    turn = codec.begin_turn(request(codec, 4))
    turn.text_delta("Yes.")
    assert received(codec, interaction_type="update_only", transcript=[]) == TranscriptUpdated(())
    assert frames(turn.finish("stop", None)) == [response(4, "Yes.", True)]
    assert request(codec, 5) == TurnRequested("Are you open?", history=HISTORY, id=5)


def test_request_that_came_before_is_not_answered_twice() -> None:
    codec = RetellCodec(CALL)
    turn = codec.begin_turn(request(codec, 4))
    assert isinstance(request(codec, 4), UnexpectedFrame)
    assert frames(turn.finish("stop", None)) == [response(4, "", True)]
    assert isinstance(request(codec, 4), UnexpectedFrame), "Retell accepts no more words with this id"
    reconnected = RetellCodec(CALL)
    reconnected.begin_turn(TurnRequested("Are you open?", id=4))
    assert isinstance(request(reconnected, 4), UnexpectedFrame), "the gateway answers it already"


def test_request_older_than_the_newest_is_unexpected() -> None:
    codec = RetellCodec(CALL)
    assert request(codec, 5).id == 5
    assert request(codec, 4) == UnexpectedFrame("a request older than the newest")
    assert request(codec, 4, kind="reminder_required") == UnexpectedFrame("a request older than the newest")
    assert request(codec, 6).id == 6
    assert request(RetellCodec(CALL), -1) == UnexpectedFrame("a request older than the newest")


def test_invalid_request_counts_as_the_newest() -> None:
    codec = RetellCodec(CALL)
    assert request(codec, 5, transcript="x") == UnexpectedFrame("a request without a transcript")
    assert isinstance(request(codec, 4), UnexpectedFrame)


@pytest.mark.parametrize("id", [None, True, False, "1", 1.0, [1], 2**64])
@pytest.mark.parametrize("kind", ["response_required", "reminder_required"])
def test_request_needs_an_integer_response_id(kind: str, id: Any) -> None:
    assert request(RetellCodec(CALL), id, kind=kind) == UnexpectedFrame(
        "a request without a valid response_id"
    )


@pytest.mark.parametrize("timestamp", [None, True, "7", 7.5, {}])
def test_ping_needs_an_integer_timestamp(timestamp: Any) -> None:
    assert received(interaction_type="ping_pong", timestamp=timestamp) == UnexpectedFrame(
        "a ping without a timestamp"
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b'{"interaction_type":"ping_pong","timestamp":1}', "a frame that is not a JSON object"),
        ("", "a frame that is not a JSON object"),
        ("{", "a frame that is not a JSON object"),
        ("[]", "a frame that is not a JSON object"),
        ('"ping_pong"', "a frame that is not a JSON object"),
        ("\ud83d", "a frame that is not a JSON object"),
        ("[" * 100_000, "a frame that is not a JSON object"),
        ("{}", "a frame of an unknown type"),
        ('{"interaction_type":"dance"}', "a frame of an unknown type"),
        ('{"interaction_type":["ping_pong"]}', "a frame of an unknown type"),
        ('{"interaction_type":"update_only"}', "an update without a transcript"),
        ('{"interaction_type":"update_only","transcript":{}}', "an update without a transcript"),
        ('{"interaction_type":"call_details"}', "call_details without a call"),
        ('{"interaction_type":"call_details","call":[]}', "call_details without a call"),
    ],
)
def test_invalid_frame_is_unexpected_without_its_content(frame: str | bytes, reason: str) -> None:
    assert RetellCodec(CALL).receive(frame) == UnexpectedFrame(reason)


def test_key_breaks_the_silence_after_a_reminder() -> None:
    event = received(
        RetellCodec(CALL),
        interaction_type="reminder_required",
        response_id=1,
        transcript_with_tool_calls=keys("1"),
    )
    assert isinstance(event, TurnRequested)
    assert (event.kind, event.user_text) == ("reminder", "")


def test_lone_surrogate_is_replaced() -> None:
    assert completing_frame(words="\ud83d!") == response(1, "\ufffd!", True)
    requested = RetellCodec(CALL).receive(
        r'{"interaction_type":"response_required","response_id":1,'
        r'"transcript":[{"role":"user","content":"\ud83d"}]}'
    )
    assert isinstance(requested, TurnRequested)
    assert requested.user_text == "\ufffd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRY = JSON | st.fixed_dictionaries(
    {"role": st.sampled_from(["agent", "user", "system", "tool_call_invocation", "tool_call_result"]) | JSON},
    optional={
        "content": st.text(max_size=5) | JSON,
        "tool_call_id": st.sampled_from(["t1", "t2"]) | JSON,
        "name": st.just("hours") | JSON,
        "arguments": st.just("{}") | JSON,
    },
)
FRAME = st.fixed_dictionaries(
    {
        "interaction_type": st.sampled_from(
            ["ping_pong", "call_details", "update_only", "response_required", "reminder_required"]
        )
        | JSON
    },
    optional={
        "timestamp": st.integers() | JSON,
        "call": st.just({"call_id": CALL}) | JSON,
        "response_id": st.integers(-2, 9) | JSON,
        "transcript": st.lists(ENTRY, max_size=4) | JSON,
        "transcript_with_tool_calls": st.lists(ENTRY, max_size=4) | JSON,
    },
)


@given(st.text(st.characters(exclude_categories=[])) | st.binary())
def test_random_frame_is_unexpected(frame: str | bytes) -> None:
    assert isinstance(RetellCodec(CALL).receive(frame), UnexpectedFrame)


@given(st.lists(FRAME | JSON, max_size=8), st.data())
def test_any_frame_is_decoded_or_unexpected(sent: list[Any], data: st.DataObject) -> None:
    codec, newest = RetellCodec(CALL), 0
    for frame in sent:
        text = json.dumps(frame)
        cut = data.draw(st.none() | st.integers(0, len(text)))
        event = codec.receive(text[:cut])
        assert isinstance(
            event, CallStarted | TurnRequested | TranscriptUpdated | ProtocolReply | UnexpectedFrame
        )
        if isinstance(event, ProtocolReply):
            assert frames(event.frame) == [{"response_type": "ping_pong", "timestamp": frame["timestamp"]}]
        if isinstance(event, TurnRequested):
            assert event.id == frame["response_id"] >= newest
            assert event.kind == ("said" if frame["interaction_type"] == "response_required" else "reminder")
            newest = event.id
        if isinstance(event, TurnRequested | TranscriptUpdated):
            assert event.history is not None
            open_calls: set[str] = set()
            for message in event.history:
                assert message.role in ("assistant", "user", "system", "tool")
                assert message.role != "tool" or message.tool_call_id in open_calls
                open_calls |= {call.id for call in message.tool_calls}
