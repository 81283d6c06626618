"""The Speech Engine protocol both ways: decoded messages, and only replies that ElevenLabs accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.calls.codec import (
    CallCodec,
    CallEnded,
    CallEvent,
    CallStarted,
    ProtocolReply,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import Message, ToolCall, Usage
from voicegw.platforms.elevenlabs.codec import SpeechEngineCodec, SpeechEngineTurn
from voicegw.turns.stream import StreamEncoder

RECORDED = Path(__file__).parent / "speech_engine.jsonl"
STEPS: list[dict[str, Any]] = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]
KEYS = ["type", "content", "event_id", "is_final"]
TRANSCRIPT = [{"role": "agent", "content": "Hello."}, {"role": "user", "content": "Are you open?"}]
HISTORY = (Message("assistant", "Hello."), Message("user", "Are you open?"))
NO_OBJECT = UnexpectedFrame("a frame that is not a JSON object")
NO_TYPE = UnexpectedFrame("a frame of an unknown type")
NO_CONVERSATION_ID = UnexpectedFrame("an init without a valid conversation_id")
NO_EVENT_ID = UnexpectedFrame("a transcript with an invalid event_id")
PLATFORM_ERROR = UnexpectedFrame("the platform reports an error")
END = ToolCall("c1", "end_call", "{}")


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the encoded messages, each of which ElevenLabs accepts."""
    assert not data or data.endswith(b"\n")
    found = [json.loads(line) for line in data.split(b"\n")[:-1]]
    for frame in found:
        if frame != {"type": "pong"}:
            assert list(frame) == KEYS
            assert frame["type"] == "agent_response"
            assert type(frame["content"]) is str
            assert frame["event_id"] is None or type(frame["event_id"]) is int
            assert frame["is_final"] is (frame["content"] == "")
    return found


def response(id: int | None, content: str) -> dict[str, Any]:
    return {"type": "agent_response", "content": content, "event_id": id, "is_final": not content}


def decode(frame: Any) -> CallEvent | None:
    return SpeechEngineCodec().receive(json.dumps(frame))


def send_transcript(codec: SpeechEngineCodec, id: Any = None, entries: Any = TRANSCRIPT) -> Any:
    return codec.receive(json.dumps({"type": "user_transcript", "user_transcript": entries, "event_id": id}))


def expected_event(step: dict[str, Any]) -> CallEvent | None:
    if step["tells"] is None:
        return None
    kind, fields = step["tells"]
    match kind:
        case "TurnRequested":
            history = tuple(Message(role, text) for role, text in fields["history"])
            return TurnRequested(**{**fields, "history": history})
        case "ProtocolReply":
            return ProtocolReply(json.dumps(fields["frame"], separators=(",", ":")).encode() + b"\n")
    event: CallEvent = {
        "CallStarted": CallStarted,
        "UnexpectedFrame": UnexpectedFrame,
        "CallEnded": CallEnded,
    }[kind](**fields)
    return event


def perform(turn: TurnEncoder, step: list[Any]) -> bytes:
    match step:
        case ["begin", words]:
            return turn.start(words)
        case ["text", delta]:
            return turn.text_delta(delta)
        case ["call", name, arguments]:
            return turn.tool_call(ToolCall("call_1", name, json.dumps(arguments)))
        case ["drain"]:
            return turn.drain()
        case ["stop"]:
            return turn.stop()
        case ["end"]:
            return turn.finish("stop", Usage(1, 2), "a note")
    raise AssertionError(step)


def test_codec_and_turn_implement_their_protocols() -> None:
    codec: CallCodec = SpeechEngineCodec()
    turn: TurnEncoder = codec.begin_turn(TurnRequested(history=()))
    stream_encoder: StreamEncoder = turn
    assert (codec.name, codec.close_code, codec.end_call_is_final, stream_encoder.keepalive) == (
        "elevenlabs",
        1012,
        False,
        b"",
    )


@pytest.mark.parametrize("form", ["escaped", "plain", "bytes"])
def test_whole_call_follows_the_recorded_transcript(form: str) -> None:
    call: CallCodec = SpeechEngineCodec()
    current = call.begin_turn(TurnRequested())
    for step in STEPS:
        if "comes" in step:
            text = json.dumps(step["comes"], ensure_ascii=form == "escaped")
            event = call.receive(text.encode() if form == "bytes" else text)
            assert event == expected_event(step)
            if isinstance(event, TurnRequested):
                current = call.begin_turn(event)
        else:
            assert frames(perform(current, step["do"])) == step["goes"]


@pytest.mark.parametrize("again", [True, False])
def test_open_sends_nothing(again: bool) -> None:
    assert SpeechEngineCodec().open("Hello.", reconnected=again) == b""


def test_fields_of_init_are_metadata() -> None:
    frame = {"type": "init", "conversation_id": "c", "agent_id": "a", "x": [1]}
    assert decode(frame) == CallStarted("c", {"conversation_id": "c", "agent_id": "a", "x": [1]})


@pytest.mark.parametrize("name", ["c", "conv_01k3-X", "0" * 128])
def test_conversation_id_is_decoded(name: str) -> None:
    assert decode({"type": "init", "conversation_id": name}) == CallStarted(name, {"conversation_id": name})


@pytest.mark.parametrize(
    "name", [None, "", " ", 7, True, ["c"], {}, "a/b", "a.b", "a b", "c\n", "ä", "١", "0" * 129]
)
def test_invalid_conversation_id_is_unexpected(name: Any) -> None:
    assert decode({"type": "init", "conversation_id": name}) == NO_CONVERSATION_ID
    assert decode({"type": "init"}) == NO_CONVERSATION_ID


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("", NO_OBJECT),
        ("{", NO_OBJECT),
        ("null", NO_OBJECT),
        ("[]", NO_OBJECT),
        ('"ping"', NO_OBJECT),
        ("[" * 100_000, NO_OBJECT),
        ('{"type":"\ud83d"}', NO_OBJECT),
        (b"", NO_OBJECT),
        (b"\xff", NO_OBJECT),
        (b'{"type":"\xff"}', NO_OBJECT),
        ("{}", NO_TYPE),
        ('{"type":"pong"}', NO_TYPE),
        ('{"type":null}', NO_TYPE),
        ('{"type":["ping"]}', NO_TYPE),
        ('{"type":{}}', NO_TYPE),
        (b'{"type":"ping"}', ProtocolReply(b'{"type":"pong"}\n')),
        ('{"type":"ping","more":1}', ProtocolReply(b'{"type":"pong"}\n')),
        ('{"type":"error"}', PLATFORM_ERROR),
        ('{"type":"error","message":"secret words"}', PLATFORM_ERROR),
        ('{"type":"close","reason":"done"}', CallEnded()),
    ],
)
def test_every_message_type_is_decoded(frame: str | bytes, expected: CallEvent) -> None:
    assert SpeechEngineCodec().receive(frame) == expected


@pytest.mark.parametrize(
    ("id", "echoed"), [(0, 0), (7, 7), (-3, -3), (2**63 - 1, 2**63 - 1), (2**64 - 1, 2**64 - 1), (None, None)]
)
def test_reply_has_the_event_id_of_its_transcript(id: int | None, echoed: int | None) -> None:
    codec = SpeechEngineCodec()
    request = send_transcript(codec, id)
    assert request == TurnRequested("Are you open?", history=HISTORY, id=id or 0)
    assert frames(codec.begin_turn(request).finish("stop", None)) == [response(echoed, "")]


@pytest.mark.parametrize("id", [True, False, "1", 1.0, [1], {}, 2**64])
def test_invalid_event_id_is_unexpected_and_changes_nothing(id: Any) -> None:
    codec = SpeechEngineCodec()
    turn = codec.begin_turn(send_transcript(codec, 1))
    assert send_transcript(codec, id) == NO_EVENT_ID
    assert send_transcript(codec, 1) is None
    assert frames(turn.finish("stop", None)) == [response(1, "")]


@pytest.mark.parametrize("entries", [None, [], {}, "", "Hello", 7, True, {"role": "user", "content": "Hi"}])
def test_invalid_transcript_is_answered_as_an_empty_one(entries: Any) -> None:
    assert send_transcript(SpeechEngineCodec(), 3, entries) == TurnRequested("", history=(), id=3)
    assert decode({"type": "user_transcript", "event_id": 3}) == TurnRequested("", history=(), id=3)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "hello",
        7,
        [],
        {},
        {"role": "user"},
        {"content": "x"},
        {"role": "user", "content": None},
        {"role": "user", "content": ["x"]},
        {"role": "agent", "content": 7},
        {"role": "system", "content": "x"},
        {"role": "assistant", "content": "x"},
        {"role": None, "content": "x"},
        {"role": ["user"], "content": "x"},
    ],
)
def test_invalid_entries_are_left_out(entry: Any) -> None:
    wanted = TurnRequested("Are you open?", history=HISTORY, id=1)
    assert send_transcript(SpeechEngineCodec(), 1, [TRANSCRIPT[0], entry, TRANSCRIPT[1], entry]) == wanted
    assert send_transcript(SpeechEngineCodec(), 1, [entry]) == TurnRequested("", history=(), id=1)


def test_user_text_is_the_last_message_of_the_caller() -> None:
    more = [{"role": "user", "content": "Hm?", "when": 3}, TRANSCRIPT[0]]
    request = send_transcript(SpeechEngineCodec(), 1, [*TRANSCRIPT, *more])
    assert request == TurnRequested("Hm?", history=(*HISTORY, Message("user", "Hm?"), HISTORY[0]), id=1)
    assert send_transcript(SpeechEngineCodec(), 1, TRANSCRIPT[:1]) == TurnRequested(
        "", history=HISTORY[:1], id=1
    )


@pytest.mark.parametrize("close", ["end", "stop"])
def test_repeated_transcript_is_ignored_during_its_reply_and_answered_after_it(close: str) -> None:
    codec = SpeechEngineCodec()
    turn = codec.begin_turn(send_transcript(codec, 5))
    assert send_transcript(codec, 5) is None
    turn.text_delta("Yes")
    turn.drain()
    assert send_transcript(codec, 5, []) is None
    perform(turn, [close])
    assert send_transcript(codec, 5) == TurnRequested("Are you open?", history=HISTORY, id=5)


def test_event_id_zero_is_valid() -> None:
    codec = SpeechEngineCodec()
    codec.begin_turn(send_transcript(codec, 0))
    assert send_transcript(codec, 0) is None


def test_transcript_without_a_reply_is_requested_again() -> None:
    codec = SpeechEngineCodec()
    codec.begin_turn(send_transcript(codec, 5))
    assert send_transcript(codec, 6) == send_transcript(codec, 6)


@pytest.mark.parametrize("id", [4, 6, None])
def test_any_other_event_id_supersedes(id: int | None) -> None:
    codec = SpeechEngineCodec()
    old = codec.begin_turn(send_transcript(codec, 5))
    assert send_transcript(codec, id) == TurnRequested("Are you open?", history=HISTORY, id=id or 0)
    assert old.stop() == b""
    assert send_transcript(codec, 5) == TurnRequested("Are you open?", history=HISTORY, id=5)


def test_transcripts_without_an_event_id_are_never_repeated() -> None:
    codec = SpeechEngineCodec()
    codec.begin_turn(send_transcript(codec))
    assert send_transcript(codec) == TurnRequested("Are you open?", history=HISTORY)


def test_turn_without_a_transcript_sends_nothing() -> None:
    codec = SpeechEngineCodec()
    answering = codec.begin_turn(send_transcript(codec, 1))
    mute = codec.begin_turn(TurnRequested("Hello?"))
    assert mute.start("We are full.") + mute.tool_call(END) + mute.drain() + mute.finish("stop", None) == b""
    assert (mute.spoken_text, mute.ends_call, mute.actions.executed) == ("", False, [])
    assert send_transcript(codec, 1) is None
    assert frames(answering.finish("stop", None)) == [response(1, "")]


def test_words_are_gathered_until_drain() -> None:
    turn = SpeechEngineTurn(9)
    assert (
        turn.start("One ") + turn.text_delta("two ") + turn.text_delta("") + turn.text_delta("three ") == b""
    )
    assert turn.spoken_text == ""
    assert turn.drain() == (
        b'{"type":"agent_response","content":"One two three ","event_id":9,"is_final":false}\n'
    )
    assert (turn.spoken_text, turn.drain()) == ("One two three ", b"")
    assert turn.finish("stop", None) == (
        b'{"type":"agent_response","content":"","event_id":9,"is_final":true}\n'
    )


def test_content_is_unescaped_and_keeps_its_spaces() -> None:
    turn = SpeechEngineTurn(1)
    turn.text_delta(" Größe “M” 🙂\n")
    assert turn.drain() == (
        '{"type":"agent_response","content":" Größe “M” 🙂\\n","event_id":1,"is_final":false}\n'.encode()
    )


def test_surrogate_pair_in_two_deltas_is_joined() -> None:
    turn = SpeechEngineTurn(1)
    turn.text_delta("\ud83d")
    turn.text_delta("\ude42")
    assert frames(turn.drain()) == [response(1, "🙂")]
    turn.text_delta("\ud83d!")
    assert frames(turn.drain()) == [response(1, "\ufffd!")]


def test_lone_surrogate_in_a_transcript_is_replaced() -> None:
    entries = [{"role": "user", "content": "Hi \ud83d"}]
    assert send_transcript(SpeechEngineCodec(), 1, entries).user_text == "Hi \ufffd"


def test_protocol_has_no_actions() -> None:
    turn = SpeechEngineTurn(1)
    assert turn.tool_call(END) == b""
    assert (turn.actions.executed, turn.ends_call) == ([], False)
    assert frames(turn.finish("tool_calls", None)) == [response(1, "")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRY = JSON | st.fixed_dictionaries(
    {}, optional={"role": st.sampled_from(["agent", "user", "system"]) | JSON, "content": st.text() | JSON}
)
FRAME = st.fixed_dictionaries(
    {"type": st.sampled_from(["init", "user_transcript", "ping", "close", "error"]) | JSON},
    optional={
        "conversation_id": st.from_regex(r"[\w-]{1,8}") | JSON,
        "user_transcript": st.lists(ENTRY, max_size=4) | JSON,
        "event_id": st.integers(0, 3) | JSON,
        "message": st.text() | JSON,
    },
)


@given(st.text(st.characters(exclude_categories=[])) | st.binary())
def test_random_message_is_unexpected(frame: str | bytes) -> None:
    assert SpeechEngineCodec().receive(frame) in (NO_OBJECT, NO_TYPE)


@given(st.lists(FRAME | JSON, max_size=8), st.data())
def test_any_message_is_decoded_without_an_exception(sent: list[Any], data: st.DataObject) -> None:
    codec, open_turn = SpeechEngineCodec(), None
    for frame in sent:
        text = json.dumps(frame)
        cut = data.draw(st.none() | st.integers(0, len(text)))
        match codec.receive(text[:cut]):
            case None:
                assert open_turn is not None
                assert open_turn.id == frame["event_id"]
            case CallStarted(call, metadata):
                assert metadata == {key: value for key, value in frame.items() if key != "type"}
                assert call == metadata["conversation_id"]
            case ProtocolReply(pong):
                assert frames(pong) == [{"type": "pong"}]
            case TurnRequested(said, "said", True, None, tuple() as history) as request:
                assert all(message.role in ("user", "assistant") for message in history)
                assert said == ([""] + [m.text for m in history if m.role == "user"])[-1]
                codec.begin_turn(request)
                open_turn = request
            case other:
                assert other in (
                    CallEnded(),
                    NO_OBJECT,
                    NO_TYPE,
                    NO_CONVERSATION_ID,
                    NO_EVENT_ID,
                    PLATFORM_ERROR,
                )


CALLS: st.SearchStrategy[list[Any]] = st.lists(
    st.tuples(st.sampled_from(["begin", "text"]), st.text(max_size=5))
    | st.just(("call", "end_call", {}))
    | st.just(("drain",)),
    max_size=12,
)


@given(st.none() | st.integers(-(2**63), 2**64 - 1), CALLS, st.sampled_from(["end", "stop"]), CALLS)
def test_every_reply_ends_once_or_never_if_it_is_stopped(
    id: int | None, before: list[Any], how: str, after: list[Any]
) -> None:
    turn, words, drained, sent = SpeechEngineTurn(id), "", "", b""
    for step in before:
        frame = perform(turn, list(step))
        assert not frame or step == ("drain",)
        sent += frame
        words += step[1] if step[0] in ("begin", "text") else ""
        drained = words if step == ("drain",) else drained
    sent += perform(turn, [how])
    found = frames(sent)
    assert {frame["event_id"] for frame in found} <= {id}
    finals = [frame["is_final"] for frame in found]
    assert finals == ([False] * (len(found) - 1) + [True] if how == "end" else [False] * len(found))
    said = words if how == "end" else drained
    assert turn.spoken_text == "".join(frame["content"] for frame in found) == said
    for step in [*after, ("drain",), ("end",), ("stop",), ("end",)]:
        assert perform(turn, list(step)) == b""
    assert (turn.spoken_text, turn.actions.executed, turn.ends_call) == (said, [], False)
