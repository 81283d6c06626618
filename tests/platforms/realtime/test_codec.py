"""A realtime session both ways: client events of the official SDK, and only events that it knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import (
    ConversationItemCreateEventParam,
    ConversationItemDeleteEventParam,
    ConversationItemRetrieveEventParam,
    ConversationItemTruncateEventParam,
    RealtimeClientEventParam,
    RealtimeConversationItemUserMessageParam,
    ResponseCancelEventParam,
    ResponseCreateEventParam,
    SessionUpdateEventParam,
)
from pydantic import TypeAdapter

from tests.platforms.realtime.client import (
    add_message,
    assert_valid,
    error_of,
    event_types,
    frames,
    message,
    replies,
    send_event,
    session,
)
from voicegw.calls.codec import CallCodec, CallEvent, Interrupted, ProtocolReply, TurnRequested
from voicegw.events import Message, Tool, ToolCall, Usage
from voicegw.platforms.realtime.codec import RealtimeCodec
from voicegw.platforms.realtime.response import RealtimeResponse

RECORDED = Path(__file__).parent / "realtime.jsonl"
TRANSCRIPT = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]
CLIENT_EVENTS = [step["comes"] for step in TRANSCRIPT if "comes" in step]
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEventParam)


def expected_request(step: dict[str, Any]) -> TurnRequested:
    """Return the request that a response.create of the transcript stands for."""
    fields = dict(step["tells"][1])
    fields["tools"] = tuple(Tool(**tool) for tool in fields.get("tools", ()))
    calls = [tuple(ToolCall(**call) for call in entry.get("tool_calls", ())) for entry in fields["history"]]
    history = zip(fields["history"], calls, strict=True)
    fields["history"] = tuple(Message(**entry | {"tool_calls": called}) for entry, called in history)
    return TurnRequested(**fields)


def perform(codec: RealtimeCodec, turn: RealtimeResponse, step: list[Any]) -> bytes:
    match step:
        case ["open"]:
            return codec.open("Hi")
        case ["begin", words]:
            return turn.start(words)
        case ["text", delta]:
            return turn.text_delta(delta)
        case ["call", id, name, arguments]:
            return turn.tool_call(ToolCall(id, name, arguments))
        case ["drain"]:
            return turn.drain()
        case ["stop"]:
            return turn.stop()
        case ["end", reason, usage]:
            return turn.finish(reason, Usage(*usage) if usage else None, "a note")
    raise AssertionError(step)


def send(codec: RealtimeCodec, event: Any) -> CallEvent | None:
    return codec.receive(json.dumps(event))


@pytest.mark.parametrize("escaped", [True, False])
def test_whole_call_follows_the_recorded_transcript(escaped: bool) -> None:
    codec = session()
    turn = RealtimeCodec("other", "desk", prefix="x").begin_turn(TurnRequested())
    for step in TRANSCRIPT:
        if "do" in step:
            assert frames(perform(codec, turn, step["do"])) == step["goes"]
            continue
        event = codec.receive(json.dumps(step["comes"], ensure_ascii=escaped))
        assert type(event).__name__ == step["tells"][0]
        if isinstance(event, TurnRequested):
            assert event == expected_request(step)
            turn = codec.begin_turn(event)
        else:
            assert replies(event) == step["goes"]


def test_transcript_has_only_client_events_of_the_sdk() -> None:
    for event in CLIENT_EVENTS:
        assert CLIENT_EVENT.validate_python(event)["type"] == event["type"]


def test_open_sends_session_created_and_no_greeting() -> None:
    codec: CallCodec = session()
    assert (codec.name, codec.end_call_is_final, codec.close_code) == ("realtime", False, 1001)
    first = frames(codec.open("Hello.", reconnected=True))
    again = frames(session().open(""))
    assert first == again
    assert first[0]["session"] == {
        "type": "realtime",
        "object": "realtime.session",
        "id": "call-1",
        "model": "desk",
        "output_modalities": ["text"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
    }


@pytest.mark.parametrize(
    "frame",
    [
        b'{"type":"response.create"}',
        "",
        "{",
        "null",
        "[]",
        '"response.create"',
        '{"type":"\ud83d"}',
        '{"type":' + "[" * 64 + "]" * 64 + "}",
        "[" * 100_000,
    ],
)
def test_invalid_frame_gets_an_error(frame: str | bytes) -> None:
    assert error_of(session().receive(frame)) == ("invalid_event", None)


@pytest.mark.parametrize("kind", [None, 7, [], "", "ping", "transcription_session.update", "response.done"])
def test_unknown_event_type_gets_an_error(kind: Any) -> None:
    assert error_of(session().receive(json.dumps({"type": kind}))) == ("invalid_value", "type")
    assert error_of(session().receive("{}")) == ("invalid_value", "type")


@pytest.mark.parametrize(
    "kind", ["input_audio_buffer.append", "input_audio_buffer.commit", "output_audio_buffer.clear"]
)
def test_audio_event_gets_an_error_with_a_hint(kind: str) -> None:
    [error] = replies(send_event(session(), kind, audio="AAAA"))
    assert error["error"]["code"] == "unsupported_event"
    assert "input_text" in error["error"]["message"]


@pytest.mark.parametrize(("id", "cause"), [("c1", "c1"), ("é" * 512, "é" * 512), ("", None), (None, None)])
def test_error_names_the_client_event(id: str | None, cause: str | None) -> None:
    [error] = replies(send_event(session(), "response.cancel", event_id=id))
    assert error["error"]["event_id"] == cause


@pytest.mark.parametrize("id", [7, ["c1"], "c" * 513, "c\n"])
def test_invalid_event_id_gets_an_error(id: Any) -> None:
    [error] = replies(send_event(session(), "response.create", event_id=id))
    assert (error["error"]["param"], error["error"]["event_id"]) == ("event_id", None)


def test_session_update_is_applied_as_a_whole_or_not_at_all() -> None:
    codec = session()
    update: SessionUpdateEventParam = {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "model": "another",
            "instructions": "Be kind.",
            "tools": [{"type": "function", "name": "hours"}],
            "tool_choice": {"type": "function", "name": "hours"},
            "max_output_tokens": 50,
            "audio": {"output": {"voice": "marin"}},
            "truncation": "auto",
        },
    }
    [updated] = replies(send(codec, update))
    changed = {
        "type": "realtime",
        "object": "realtime.session",
        "id": "call-1",
        "model": "desk",
        "output_modalities": ["text"],
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "hours", "description": "", "parameters": {}}],
        "tool_choice": {"type": "function", "name": "hours"},
        "max_output_tokens": 50,
    }
    assert (updated["type"], updated["session"]) == ("session.updated", changed)
    half = {"instructions": "", "tools": [], "max_output_tokens": 0}
    assert error_of(send_event(codec, "session.update", session=half)) == (
        "invalid_value",
        "session.max_output_tokens",
    )
    [same] = replies(send_event(codec, "session.update", session={}))
    assert same["session"] == changed


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "session"),
        ([], "session"),
        ({"type": "transcription"}, "session.type"),
        ({"type": 7}, "session.type"),
        ({"output_modalities": ["audio"]}, "session.output_modalities"),
    ],
)
def test_invalid_session_is_refused(given: Any, param: str) -> None:
    assert error_of(send_event(session(), "session.update", session=given)) == ("invalid_value", param)


def item_ids(codec: RealtimeCodec) -> list[str]:
    return list(codec.conversation.items)


def test_items_are_inserted_behind_the_previous_item_id() -> None:
    codec = session()
    item: RealtimeConversationItemUserMessageParam = {
        "type": "message",
        "role": "user",
        "id": "b",
        "content": [{"type": "input_text", "text": "B"}],
    }
    event: ConversationItemCreateEventParam = {"type": "conversation.item.create", "item": item}
    shown = {**item, "object": "realtime.item", "status": "completed"}
    assert [(message["previous_item_id"], message["item"]) for message in replies(send(codec, event))] == [
        (None, shown),
        (None, shown),
    ]
    after: ConversationItemCreateEventParam = {
        "type": "conversation.item.create",
        "previous_item_id": "b",
        "item": message("user", "C"),  # type: ignore[typeddict-item]
    }
    added, done = replies(send(codec, after))
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["previous_item_id"] == done["previous_item_id"] == "b"
    add_message(codec, "A", id="a")
    assert item_ids(codec) == ["b", added["item"]["id"], "a"]
    front = {**event, "item": {**item, "id": "z"}, "previous_item_id": "root"}
    assert [message["previous_item_id"] for message in replies(send(codec, front))] == [None, None]
    assert item_ids(codec) == ["z", "b", added["item"]["id"], "a"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("invalid_value", "item")),
        ({"item": message("user", "Hi", id="a")}, ("item_already_exists", "item.id")),
        ({"item": message("user", "Hi", id="")}, ("invalid_value", "item.id")),
        ({"item": message("user", "Hi"), "previous_item_id": "x"}, ("item_not_found", "previous_item_id")),
        ({"item": message("user", "Hi"), "previous_item_id": 7}, ("invalid_value", "previous_item_id")),
        ({"item": {"type": "message", "role": "user"}}, ("invalid_value", "item.content")),
    ],
)
def test_invalid_item_changes_nothing(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    codec = session()
    add_message(codec, "A", id="a")
    assert error_of(send_event(codec, "conversation.item.create", **fields)) == expected
    assert item_ids(codec) == ["a"]


def test_items_are_retrieved_and_deleted() -> None:
    codec = session()
    add_message(codec, "A", id="a")
    retrieve: ConversationItemRetrieveEventParam = {"type": "conversation.item.retrieve", "item_id": "a"}
    delete: ConversationItemDeleteEventParam = {"type": "conversation.item.delete", "item_id": "a"}
    [retrieved] = replies(send(codec, retrieve))
    assert retrieved["item"]["content"] == [{"type": "input_text", "text": "A"}]
    [deleted] = replies(send(codec, delete))
    assert (deleted["type"], deleted["item_id"]) == ("conversation.item.deleted", "a")
    for event in (retrieve, delete):
        assert error_of(send(codec, event)) == ("item_not_found", "item_id")
    assert error_of(send_event(codec, "conversation.item.delete")) == ("invalid_value", "item_id")


def request_response(codec: RealtimeCodec, **response: Any) -> TurnRequested:
    event: ResponseCreateEventParam = {"type": "response.create"}
    event = send(codec, {**event, "response": response} if response else event)
    assert isinstance(event, TurnRequested)
    return event


def start_response(codec: RealtimeCodec, words: str = "", **response: Any) -> RealtimeResponse:
    """Return an active response of which these words were sent."""
    turn = codec.begin_turn(request_response(codec, **response))
    turn.start(words)
    turn.drain()
    return turn


def test_response_create_requests_a_turn_with_the_conversation() -> None:
    codec = session()
    assert request_response(codec) == TurnRequested(history=(), id=1)
    add_message(codec, "Hello?")
    add_message(codec, "Hi.", "assistant")
    assert request_response(codec) == TurnRequested(
        "Hello?", history=(Message("user", "Hello?"), Message("assistant", "Hi.")), id=2
    )


def test_response_create_overrides_the_session() -> None:
    codec = session()
    send_event(codec, "session.update", session={"instructions": "Be kind.", "max_output_tokens": 9})
    add_message(codec, "Hello?")
    own = request_response(
        codec,
        instructions="Be short.",
        tools=[{"type": "function", "name": "hours"}],
        tool_choice="required",
        max_output_tokens="inf",
    )
    system, user = Message("system", "Be short."), Message("user", "Hello?")
    assert own == TurnRequested(
        "Hello?", history=(system, user), id=1, tools=(Tool("hours"),), tool_choice="required"
    )
    kind = Message("system", "Be kind.")
    assert request_response(codec) == TurnRequested(
        "Hello?", history=(kind, user), id=2, options={"max_tokens": 9}
    )
    assert request_response(codec, input=[]).history == (kind,)


@pytest.mark.parametrize(
    ("response", "param"),
    [([], "response"), ({"conversation": "x"}, "response.conversation"), ({"tools": 7}, "response.tools")],
)
def test_invalid_response_create_is_refused(response: Any, param: str) -> None:
    assert error_of(send_event(session(), "response.create", response=response)) == ("invalid_value", param)


def test_turn_has_the_config_of_the_newest_response_create() -> None:
    codec = session()
    old = request_response(codec, metadata={"a": "old"})
    new = request_response(codec, metadata={"a": "new"}, max_output_tokens=5)
    [created] = frames(codec.begin_turn(new).start(""))
    assert created["response"]["metadata"] == {"a": "new"}
    assert created["response"]["max_output_tokens"] == 5
    [late] = frames(codec.begin_turn(old).start(""))
    assert late["response"]["metadata"] is None


def test_unrequested_words_are_a_response() -> None:
    codec = session()
    turn = codec.begin_turn(TurnRequested())
    message = frames(
        turn.start("Goodbye.") + turn.tool_call(ToolCall("", "end_call")) + turn.finish("stop", None)
    )
    assert [message[0]["type"], message[-1]["type"]] == ["response.created", "response.done"]
    [item] = message[-1]["response"]["output"]
    assert item["content"] == [{"type": "output_text", "text": "Goodbye."}]


def test_second_response_create_without_a_new_item_is_refused() -> None:
    codec = session()
    add_message(codec, "Hello?")
    turn = start_response(codec, "Hi")
    busy = "conversation_already_has_active_response"
    responses: list[Any] = [None, {"conversation": "none"}, {"input": []}]
    for response in responses:
        assert error_of(send_event(codec, "response.create", response=response)) == (busy, None)
    add_message(codec, "And?")
    assert error_of(send_event(codec, "response.create", response={"conversation": "none"})) == (busy, None)
    turn.finish("stop", None)
    assert request_response(codec, conversation="none").user_text == "And?"


def test_response_create_with_a_new_item_supersedes() -> None:
    codec = session()
    add_message(codec, "Hello?")
    turn = start_response(codec, "Hi the")
    add_message(codec, "And?")
    words = ("Hello?", "Hi the", "And?")
    newer = request_response(codec)
    assert tuple(message.text for message in newer.history or ()) == words
    [*_, done] = frames(turn.stop())
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    codec.begin_turn(newer)
    assert error_of(send_event(codec, "response.create"))[0] == "conversation_already_has_active_response"


def test_response_is_cancelled() -> None:
    codec = session()
    assert error_of(send_event(codec, "response.cancel")) == ("response_cancel_not_active", None)
    turn = start_response(codec, "Hi")
    assert error_of(send_event(codec, "response.cancel", response_id="x")) == (
        "response_not_found",
        "response_id",
    )
    assert error_of(send_event(codec, "response.cancel", response_id=7)) == ("invalid_value", "response_id")
    cancel: ResponseCancelEventParam = {"type": "response.cancel", "response_id": turn.id}
    assert send(codec, cancel) == Interrupted()
    [*_, done] = frames(turn.stop())
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert error_of(send(codec, cancel)) == ("response_cancel_not_active", None)


def truncate(codec: RealtimeCodec, id: str, **fields: Any) -> CallEvent | None:
    event: ConversationItemTruncateEventParam = {
        "type": "conversation.item.truncate",
        "item_id": id,
        "content_index": 0,
        "audio_end_ms": 1000,
    }
    return send(codec, {**event, **fields})


def text(codec: RealtimeCodec, id: str) -> str:
    [shown] = replies(send_event(codec, "conversation.item.retrieve", item_id=id))
    return "".join(part["text"] for part in shown["item"]["content"])


@pytest.mark.parametrize(
    ("fields", "chars_per_second", "kept"),
    [
        ({}, 15.0, "We open at"),
        ({"heard": None}, 7.0, "We open"),
        ({"audio_end_ms": 0}, 15.0, ""),
        ({"audio_end_ms": 10**12}, 15.0, "We open at eight."),
        ({"heard": "we open"}, 15.0, "We open"),
        ({"heard": "", "audio_end_ms": 99_999}, 15.0, ""),
        ({"heard": "We open at eight. And"}, 15.0, "We open at eight."),
    ],
)
@pytest.mark.parametrize("when", ["over", "before its end", "after its end"])
def test_truncated_item_keeps_the_heard_text(
    fields: dict[str, Any], chars_per_second: float, kept: str, when: str
) -> None:
    codec = session(chars_per_second=chars_per_second)
    turn = start_response(codec, "We open at eight.")
    id = turn.open_item_id
    if when == "over":
        turn.finish("stop", None)
    if when == "after its end":
        turn.stop()
    event = truncate(codec, id, **fields)
    assert isinstance(event, Interrupted)
    assert event.heard_text is None
    [truncated] = frames(event.frames)
    assert truncated.items() >= {"item_id": id, "content_index": 0}.items()
    assert truncated["audio_end_ms"] == fields.get("audio_end_ms", 1000)
    assert text(codec, id) == kept
    turn.stop()
    assert text(codec, id) == kept
    assert request_response(codec).history == ((Message("assistant", kept),) if kept else ())


def test_truncating_an_older_item_does_not_stop_the_response() -> None:
    codec = session()
    add_message(codec, "We open at eight.", "assistant", id="old")
    turn = start_response(codec, "Yes.")
    assert isinstance(truncate(codec, "old", heard="We open"), ProtocolReply)
    assert text(codec, "old") == "We open"
    assert event_types(turn.finish("stop", None))[-1] == "response.done"


def test_truncating_an_earlier_item_of_the_response_interrupts_it() -> None:
    codec = session()
    turn = start_response(codec, "Let me see.", tools=[{"type": "function", "name": "hours"}])
    id = turn.open_item_id
    turn.tool_call(ToolCall("c", "hours"))
    turn.text_delta("We open")
    turn.drain()
    assert isinstance(truncate(codec, id, heard="Let me"), Interrupted)
    turn.stop()
    assert [text(codec, id), text(codec, item_ids(codec)[-1])] == ["Let me", "We open"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"item_id": "gone"}, ("item_not_found", "item_id")),
        ({"item_id": None}, ("invalid_value", "item_id")),
        ({"item_id": "user"}, ("invalid_value", "item_id")),
        ({"item_id": "call"}, ("invalid_value", "item_id")),
        ({"content_index": 1}, ("invalid_value", "content_index")),
        ({"content_index": None}, ("invalid_value", "content_index")),
        ({"content_index": False}, ("invalid_value", "content_index")),
        ({"audio_end_ms": -1}, ("invalid_value", "audio_end_ms")),
        ({"audio_end_ms": True}, ("invalid_value", "audio_end_ms")),
        ({"audio_end_ms": 1.5}, ("invalid_value", "audio_end_ms")),
        ({"audio_end_ms": None}, ("invalid_value", "audio_end_ms")),
        ({"heard": 7}, ("invalid_value", "heard")),
    ],
)
def test_invalid_truncation_changes_nothing(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    codec = session()
    add_message(codec, "We open", "assistant", id="said")
    add_message(codec, "Hello?", id="user")
    call = {"type": "function_call", "id": "call", "call_id": "c", "name": "hours", "arguments": "{}"}
    send_event(codec, "conversation.item.create", item=call)
    assert error_of(truncate(codec, "said", **fields)) == expected
    assert text(codec, "said") == "We open"


def test_errors_name_fields_and_repeat_no_content() -> None:
    secret = "hunter2"
    for event in (
        {"type": secret},
        {"type": "session.update", "session": {"type": secret, "tool_choice": secret}},
        {"type": "session.update", "session": {"tool_choice": secret, "output_modalities": [secret]}},
        {"type": "conversation.item.create", "item": {"type": secret}},
        {"type": "conversation.item.create", "item": message(secret, secret)},
        {"type": "conversation.item.create", "item": message("user"), "previous_item_id": secret},
        {"type": "response.create", "response": {"conversation": secret}},
        {"type": "response.create", "response": {"metadata": {secret: 7}}},
        {"type": "response.create", "response": {"max_output_tokens": secret}},
        {"type": "conversation.item.delete", "item_id": secret},
    ):
        event = session().receive(json.dumps(event))
        assert isinstance(event, ProtocolReply)
        assert secret not in event.frame.decode()
    assert secret not in repr(session().receive(secret))


def test_lone_surrogate_in_an_item_is_replaced() -> None:
    codec = session()
    item = '{"type":"message","role":"user","id":"a","content":[{"type":"input_text","text":"\\ud83d"}]}'
    codec.receive('{"type":"conversation.item.create","item":' + item + "}")
    assert request_response(codec).user_text == "\ufffd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EVENTS = [
    *CLIENT_EVENTS,
    {"type": "conversation.item.truncate", "item_id": "said-1", "content_index": 0, "audio_end_ms": 700},
    {
        "type": "conversation.item.create",
        "item": message("assistant", "Yes, we do."),
        "previous_item_id": "root",
    },
    {"type": "conversation.item.create", "item": message("system", "Be kind."), "previous_item_id": "said-1"},
    {"type": "response.create", "response": {"tool_choice": {"type": "function", "name": "hours"}}},
]
STEPS = ["turn", "begin", "text", "drain", "call", "end", "stop", "ahead"]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid event with a field at any depth removed or replaced, or cut off."""
    event = json.loads(json.dumps(draw(st.sampled_from(EVENTS))))
    for _ in range(draw(st.integers(0, 2))):
        place = event
        while isinstance(place, dict) and place:
            key = draw(st.sampled_from(sorted(place)))
            if isinstance(place[key], dict) and draw(st.booleans()):
                place = place[key]
                continue
            place[key] = draw(JSON | st.just("said-1"))
            if draw(st.booleans()):
                del place[key]
            break
    frame = json.dumps(event)
    return frame[: draw(st.integers(0, len(frame)))] if draw(st.integers(0, 9)) == 0 else frame


ANY = st.text(st.characters(exclude_categories=[])) | st.binary() | JSON.map(json.dumps)


def advance(codec: RealtimeCodec, step: str, latest: TurnRequested) -> bytes:
    """Continue the active response, or begin one."""
    turn = codec.response
    match step, turn:
        case ("turn", _) | (_, None):
            stopped = turn.stop() if turn is not None else b""
            return stopped + codec.begin_turn(latest).start("Hi ")
        case "text", RealtimeResponse():
            return turn.text_delta("there ")
        case "call", RealtimeResponse():
            return turn.tool_call(ToolCall("call_7", "hours"))
        case "end", RealtimeResponse():
            return turn.finish("stop", None)
        case "begin", RealtimeResponse():
            return turn.start("So ")
        case "drain", RealtimeResponse():
            return turn.drain()
        case "stop", RealtimeResponse():
            return turn.stop()
    return b""


@given(st.lists(mutated() | ANY | st.sampled_from(STEPS), max_size=12))
def test_any_input_is_answered_with_unique_event_ids(inputs: list[str | bytes]) -> None:
    codec, latest = session(), TurnRequested()
    sent = codec.open("")
    for frame in inputs:
        if isinstance(frame, str) and frame in STEPS:
            sent += advance(codec, frame, latest)
            continue
        event = codec.receive(frame)
        assert isinstance(event, ProtocolReply | TurnRequested | Interrupted)
        if isinstance(event, ProtocolReply):
            assert event.frame
            sent += event.frame
        elif isinstance(event, TurnRequested):
            latest = event
            assert event.history is not None
            assert all(said.text or said.tool_calls or said.role == "tool" for said in event.history)
        else:
            sent += event.frames
    named = [event["event_id"] for event in frames(sent)]
    assert len(set(named)) == len(named)
    created = [event["response"]["id"] for event in frames(sent) if event["type"] == "response.created"]
    assert len(set(created)) == len(created)


def test_validation_of_events_is_strict() -> None:
    frame = frames(session().open(""))[0]
    for broken in ({**frame, "more": 1}, {**frame, "event_id": 7}, {**frame, "type": "session.changed"}):
        with pytest.raises((AssertionError, ValueError)):
            assert_valid(broken)
