"""Retell's protocol both ways: decoded frames and encoded replies."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.calls.codec import (
    ACTIONS,
    CallCodec,
    CallEvent,
    CallStarted,
    ProtocolReply,
    TranscriptUpdated,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Message, ToolCall, Usage
from voicegw.platforms.retell.codec import ONE_ACTION, RetellCodec, RetellTurn
from voicegw.turns.prompts import ACTION_DONE, ACTION_NOT_POSSIBLE
from voicegw.turns.stream import StreamEncoder

CALL = "call_a1b2"
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
    turn = RetellTurn(1)
    turn.text_delta(words)
    assert b"".join(map(turn.tool_call, calls)) == b""
    [frame] = frames(turn.finish("tool_calls", None))
    return frame


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


def test_transcript_may_be_empty_or_without_words_of_the_caller() -> None:
    assert request(RetellCodec(CALL), 1, []) == TurnRequested("", history=(), id=1)
    alone = request(RetellCodec(CALL), 1, TRANSCRIPT[:1])
    assert (alone.user_text, alone.history) == ("", HISTORY[:1])


def test_unintelligible_speech_is_passed_on() -> None:
    requested = request(RetellCodec(CALL), 1, [{"role": "user", "content": "(unintelligible audio)"}])
    assert requested.user_text == "(unintelligible audio)"


def test_user_text_is_the_last_message_of_the_caller() -> None:
    more = [{"role": "user", "content": "Hm?"}, {"role": "system", "content": "Be brief."}, TRANSCRIPT[0]]
    requested = request(RetellCodec(CALL), 1, [*TRANSCRIPT, *more])
    assert requested.user_text == "Hm?"
    assert requested.history == (*HISTORY, Message("user", "Hm?"), Message("system", "Be brief."), HISTORY[0])


def test_transcript_with_tool_calls_is_preferred() -> None:
    requested = request(
        RetellCodec(CALL), 1, TRANSCRIPT, transcript_with_tool_calls=[*TRANSCRIPT, INVOCATION, RESULT]
    )
    assert requested == TurnRequested("Are you open?", history=(*HISTORY, CALL_MESSAGE, RESULT_MESSAGE), id=1)
    assert request(RetellCodec(CALL), 1, TRANSCRIPT, transcript_with_tool_calls=None).history == HISTORY


def test_tool_result_counts_once_and_only_after_its_call() -> None:
    assert parse_history([RESULT, INVOCATION, RESULT, RESULT]) == (CALL_MESSAGE, RESULT_MESSAGE)
    assert parse_history([{**RESULT, "tool_call_id": "t2"}, INVOCATION]) == (CALL_MESSAGE,)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "hello",
        [],
        {},
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "robot", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"role": "dtmf", "digit": 1},
        {"role": "dtmf", "digit": "x"},
        {"role": "dtmf"},
        {**INVOCATION, "tool_call_id": 1},
        {**INVOCATION, "tool_call_id": ""},
        {**INVOCATION, "name": ""},
        {**INVOCATION, "name": None},
        {**INVOCATION, "arguments": {"day": "today"}},
        {**INVOCATION, "arguments": "[]"},
        {**INVOCATION, "arguments": "{"},
        {key: value for key, value in INVOCATION.items() if key != "arguments"},
        {**RESULT, "content": 5},
    ],
)
def test_invalid_entries_are_left_out_with_their_results(entry: Any) -> None:
    assert parse_history([TRANSCRIPT[0], entry, RESULT, TRANSCRIPT[1]]) == HISTORY


def keys(digits: str) -> list[dict[str, str]]:
    return [{"role": "dtmf", "digit": digit} for digit in digits]


def test_keys_reach_the_agent_as_one_message() -> None:
    pressed = Message("user", "(The caller pressed 4711# on the keypad.)")
    assert parse_history([TRANSCRIPT[0], *keys("4711#"), TRANSCRIPT[1]]) == (HISTORY[0], pressed, HISTORY[1])
    codec = RetellCodec(CALL)
    for entries, kind in ((keys("4711#"), "keypad"), ([*keys("4711#"), TRANSCRIPT[1]], "said"), ([], "said")):
        event = received(
            codec,
            interaction_type="response_required",
            response_id=codec.newest_response_id + 1,
            transcript=[],
            transcript_with_tool_calls=entries,
        )
        assert isinstance(event, TurnRequested)
        assert event.kind == kind
        assert event.user_text == {"keypad": pressed.text, "said": "Are you open?" if entries else ""}[kind]


def test_key_breaks_the_silence_after_a_reminder() -> None:
    event = received(
        RetellCodec(CALL),
        interaction_type="reminder_required",
        response_id=1,
        transcript_with_tool_calls=keys("1"),
    )
    assert isinstance(event, TurnRequested)
    assert (event.kind, event.user_text) == ("reminder", "")


@pytest.mark.parametrize("may_stay_open", [True, False])
def test_reply_with_a_refused_action_stays_open_for_the_next_turn(may_stay_open: bool) -> None:
    turn = RetellCodec(CALL).begin_turn(TurnRequested(id=1))
    turn.may_stay_open = may_stay_open
    turn.text_delta("I put you through.")
    turn.tool_call(ToolCall("1", "transfer_call", '{"number": "my boss"}'))
    assert frames(turn.finish("stop", None)) == [response(1, "I put you through.", not may_stay_open)]
    assert turn.stays_open is may_stay_open
    assert turn.actions.by_id == {"1": ACTION_NOT_POSSIBLE}


def test_only_the_action_that_retell_executes_is_done() -> None:
    turn = RetellCodec(CALL).begin_turn(TurnRequested(id=1))
    calls = [ToolCall(str(id), "send_digits", f'{{"digits": "{id}"}}') for id in (1, 2)]
    for call in (*calls, ToolCall("3", "end_call")):
        turn.tool_call(call)
    [last] = frames(turn.finish("stop", None))
    assert (last["end_call"], "digit_to_press" in last) == (True, False)
    assert [call.id for call in turn.actions.executed] == ["3"]
    assert turn.actions.by_id == {"1": ONE_ACTION, "2": ONE_ACTION, "3": ACTION_DONE}


def test_action_that_is_cut_off_is_not_done() -> None:
    turn = RetellCodec(CALL).begin_turn(TurnRequested(id=1))
    turn.tool_call(ToolCall("1", "end_call"))
    assert (turn.stop(), turn.actions.by_id, turn.actions.executed) == (b"", {}, [])


def test_words_are_gathered_until_drain() -> None:
    turn = RetellTurn(9)
    assert (
        turn.start("One ") + turn.text_delta("two ") + turn.text_delta("") + turn.text_delta("three ") == b""
    )
    assert turn.spoken_text == ""
    assert frames(turn.drain()) == [response(9, "One two three ", False)]
    assert (turn.spoken_text, turn.drain()) == ("One two three ", b"")
    assert frames(turn.finish("stop", None)) == [response(9, "", True)]


def test_reply_without_words_is_completed() -> None:
    turn = RetellTurn(9)
    assert turn.start("") + turn.drain() == b""
    assert frames(turn.finish("length", None)) == [response(9, "", True)]
    assert (turn.spoken_text, turn.ends_call) == ("", False)


def test_nothing_is_encoded_after_stop() -> None:
    turn = RetellTurn(9)
    turn.text_delta("Bye.")
    turn.tool_call(END)
    assert (
        turn.stop() + turn.tool_call(TRANSFER) + turn.drain() + turn.finish("stop", None) + turn.stop() == b""
    )
    assert (turn.spoken_text, turn.ends_call) == ("", False)


def test_stop_after_the_end_changes_nothing() -> None:
    turn = RetellTurn(9)
    turn.text_delta("Bye.")
    turn.tool_call(END)
    turn.finish("stop", None)
    assert (
        turn.stop()
        + turn.text_delta("More")
        + turn.tool_call(PRESS)
        + turn.drain()
        + turn.finish("stop", None)
        == b""
    )
    assert (turn.spoken_text, turn.ends_call) == ("Bye.", True)


@pytest.mark.parametrize(("call", "last"), [(END, True), (TRANSFER, True), (PRESS, False)])
def test_action_goes_with_the_completing_frame(call: ToolCall, last: bool) -> None:
    turn = RetellTurn(2)
    turn.text_delta("One moment. ")
    turn.tool_call(call)
    assert turn.ends_call is last
    assert frames(turn.drain()) == [response(2, "One moment. ", False)]
    turn.text_delta("Bye.")
    assert frames(turn.finish("tool_calls", None)) == [response(2, "Bye.", True, **ACTION_FIELDS[call.name])]
    assert turn.ends_call is last


@pytest.mark.parametrize(
    ("calls", "executed_action"),
    [
        ([PRESS, TRANSFER, END], "end_call"),
        ([END, PRESS], "end_call"),
        ([PRESS, TRANSFER], "transfer_call"),
        ([PRESS, ToolCall("c4", "send_digits", '{"digits":"9"}')], "send_digits"),
    ],
)
def test_only_the_first_action_by_priority_is_sent(calls: list[ToolCall], executed_action: str) -> None:
    assert completing_frame(*calls) == response(1, "Bye.", True, **ACTION_FIELDS[executed_action])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("end_call", ""),
        ("end_call", "[]"),
        ("end_call", "bye"),
        ("end_call", "\ud83d"),
        ("transfer_call", "{}"),
        ("transfer_call", '{"number":4930123456}'),
        ("transfer_call", '{"number":"4930123456"}'),
        ("transfer_call", '{"number":"+0930123456"}'),
        ("transfer_call", '{"number":"+493"}'),
        ("transfer_call", '{"number":"+4930123456789012"}'),
        ("transfer_call", '{"number":"+4930123456\\n"}'),
        ("transfer_call", '{"number":"+49٣٠١٢٣٤٥٦"}'),
        ("send_digits", "{}"),
        ("send_digits", '{"digits":""}'),
        ("send_digits", '{"digits":5}'),
        ("send_digits", '{"digits":"1w2"}'),
        ("send_digits", '{"digits":"١"}'),
        ("send_digits", json.dumps({"digits": "1" * 65})),
        ("switch_language", '{"language":"de-DE"}'),
        ("play_audio", '{"url":"https://example.com/a.mp3"}'),
        ("weather", "{}"),
    ],
)
def test_unknown_or_invalid_action_does_nothing(name: str, arguments: str) -> None:
    assert completing_frame(ToolCall("c", name, arguments)) == response(1, "Bye.", True)


@pytest.mark.parametrize("number", ["+4930", "+123456789012345"])
def test_transfer_number_is_in_e164_form(number: str) -> None:
    call = ToolCall("c", "transfer_call", json.dumps({"number": number, "reason": None}))
    assert completing_frame(call) == response(1, "Bye.", True, transfer_number=number, **LAST)


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


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
CALLS = st.builds(
    ToolCall,
    st.just("c"),
    st.sampled_from(ACTIONS) | st.just("weather"),
    st.sampled_from([END.arguments, TRANSFER.arguments, PRESS.arguments, "{}", "", "[]"]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "text_delta"]), WORDS)
    | st.tuples(st.just("tool_call"), CALLS)
    | st.tuples(st.just("drain"), st.none()),
    max_size=12,
)


@given(st.integers(0, 2**63), STEPS, st.sampled_from(["end", "stop"]), STEPS)
def test_every_reply_is_well_formed(
    id: int, before: list[tuple[str, Any]], how: str, after: list[tuple[str, Any]]
) -> None:
    turn, words, drained, sent = RetellTurn(id), "", "", b""
    wanted: dict[str, ToolCall] = {}
    for step, value in before:
        frame = turn.drain() if step == "drain" else getattr(turn, step)(value)
        assert not frame or step == "drain"
        sent += frame
        words += value if step in ("start", "text_delta") else ""
        drained = words if step == "drain" else drained
        if step == "tool_call" and completing_frame(value).keys() - response(1, "", True).keys():
            wanted.setdefault(value.name, value)
    sent += turn.finish("stop", None) if how == "end" else turn.stop()
    ended = how == "end"
    event = frames(sent)
    assert {frame["response_id"] for frame in event} <= {id}
    assert [frame["content_complete"] for frame in event] == [False] * (len(event) - ended) + [True] * ended
    assert all(frame["content"] for frame in event if not frame["content_complete"])
    assert turn.spoken_text == "".join(frame["content"] for frame in event) == (words if ended else drained)
    executed_action = next(
        (name for name in ("end_call", "transfer_call", "send_digits") if name in wanted), None
    )
    assert turn.ends_call is (ended and executed_action in ("end_call", "transfer_call"))
    if ended:
        assert event[-1] == response(
            id, event[-1]["content"], True, **ACTION_FIELDS.get(executed_action or "", {})
        )
    for step, value in [*after, ("drain", None)]:
        assert (turn.drain() if step == "drain" else getattr(turn, step)(value)) == b""
    assert turn.finish("stop", None) + turn.stop() == b""
    assert turn.spoken_text == (words if ended else drained)
