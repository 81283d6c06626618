"""Hermes' protocol: request bodies, events of runs and chats, and invalid input."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.hermes.recordings import EVENTS, read_recording
from voicegw.agents.hermes.protocol import (
    ApprovalRequest,
    HermesChatDecoder,
    HermesRunDecoder,
    chat_request,
    parse_models,
    parse_run_id,
    run_request,
)
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Finish, Message, ToolCall, Turn, Usage
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.sse import ServerSentEvent, SseParser

SYSTEM, HI, HELLO = Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello?")
TOOL = ToolCall("1", "look")


def turn(*messages: Message) -> Turn:
    return Turn("t1", messages, model="desk", call="c1", options={"temperature": 1})


def sse(**event: Any) -> ServerSentEvent:
    return ServerSentEvent("", orjson.dumps(event))


def decode(
    decoder: HermesRunDecoder | HermesChatDecoder, *events: ServerSentEvent
) -> list[Event | ApprovalRequest]:
    """Return all events but `REASONING`."""
    return [decoded for event in events for decoded in decoder.feed(event) if decoded != REASONING]


def delta(text: str) -> ServerSentEvent:
    return sse(event="message.delta", delta=text)


def progress(**tool: Any) -> ServerSentEvent:
    return ServerSentEvent("hermes.tool.progress", orjson.dumps(tool))


STARTED = sse(event="tool.started", tool="terminal", preview="ls")


def test_a_turn_becomes_a_run_with_its_history() -> None:
    asking = turn(SYSTEM, HI, HELLO, Message("developer", "Be brief."), Message("user", "Who are you?"))
    assert run_request(asking, "c1", "fast") == {
        "input": "Who are you?",
        "instructions": "Be kind.\n\nBe brief.",
        "conversation_history": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello?"},
        ],
        "session_id": "c1",
        "model": "fast",
    }


def test_a_run_needs_only_a_first_message() -> None:
    assert run_request(turn(HI)) == {"input": "Hi"}


@pytest.mark.parametrize(
    ("messages", "contents"),
    [
        ((), [CALL_START_PROMPT]),
        ((HELLO,), ["Hello?", CALL_START_PROMPT]),
        ((HI, HELLO), ["Hi", "Hello?", SILENCE_PROMPT]),
        ((HI, HELLO, Message("user", " ")), ["Hi", "Hello?", SILENCE_PROMPT]),
        ((HI, Message("user", "Anybody?")), ["Hi\n\nAnybody?"]),
        ((HI, Message("assistant", "", tool_calls=(TOOL,)), Message("tool", "5")), ["Hi"]),
    ],
)
def test_a_request_always_ends_with_a_user_message(
    messages: tuple[Message, ...], contents: list[str]
) -> None:
    *history, last = contents
    body = run_request(turn(*messages))
    assert [m["content"] for m in body.get("conversation_history", [])] == history
    assert body["input"] == last
    assert [m["content"] for m in chat_request(turn(*messages), "s")["messages"]][1:] == contents


def test_a_turn_becomes_a_chat_with_a_line_for_its_call() -> None:
    assert chat_request(turn(SYSTEM, HI), "c1", "fast") == {
        "messages": [
            {"role": "system", "content": "Be kind.\n\n(Call c1)"},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "model": "fast",
    }
    assert chat_request(turn(HI), "c2") == {
        "messages": [{"role": "system", "content": "(Call c2)"}, {"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_a_started_run_has_an_id() -> None:
    assert parse_run_id({"run_id": "run_0aB-9", "status": "started"}, "Hermes") == "run_0aB-9"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"run_id": 1},
        *({"run_id": id} for id in ("", "a/b", "a?b", "..", "a\r\nb", "a\n", "é", "x" * 129)),
    ],
)
def test_an_id_that_cannot_be_in_a_path_is_a_protocol_error(answer: Any) -> None:
    with pytest.raises(AgentProtocolError, match=r"^Hermes started a run without a valid id$"):
        parse_run_id(answer, "Hermes")


def test_models_with_a_parent_can_be_selected() -> None:
    main = {"id": "hermes-agent", "parent": None}
    fast = {"id": "fast", "root": "tiny", "parent": "hermes-agent"}
    invalid = [{"id": "old"}, {"id": 1, "parent": "x"}, {"id": "", "parent": "x"}, "fast", None]
    assert parse_models({"object": "list", "data": [main, fast, *invalid]}, "Hermes") == ["fast"]


@pytest.mark.parametrize("answer", [None, [], {}, {"data": {}}, {"data": None}])
def test_a_missing_list_of_models_is_a_protocol_error(answer: Any) -> None:
    with pytest.raises(AgentProtocolError, match="list of models"):
        parse_models(answer, "Hermes")


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_recorded_run_is_decoded(size: int) -> None:
    decoder, splitter, body = HermesRunDecoder(), SseParser(), read_recording("run")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert decode(decoder, *(event for piece in pieces for event in splitter.feed(piece))) == EVENTS
    assert decoder.done


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_recorded_chat_is_decoded(size: int) -> None:
    decoder, splitter, body = HermesChatDecoder(), SseParser(), read_recording("chat")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    decoded = decode(decoder, *(event for piece in pieces for event in splitter.feed(piece)))
    assert decoder.done
    assert [*decoded, *decoder.finish()] == [*EVENTS, Finish()]


def test_tools_of_a_run_are_short_activities() -> None:
    decoder = HermesRunDecoder()
    assert decode(
        decoder,
        sse(event="tool.started", tool="terminal", preview="echo \n 'a  b'"),
        sse(event="tool.started", tool="memory", preview=None),
        sse(event="tool.started", tool="memory", preview=" "),
        sse(event="tool.started", preview="x" * 78 + " yz"),
        sse(event="tool.started"),
        sse(event="tool.completed", tool="memory"),
        sse(event="reasoning.available", text="Hm."),
        sse(event="approval.responded", choice="deny"),
        sse(event="something.new"),
        sse(),
    ) == [
        Activity("echo 'a b'"),
        Activity("memory"),
        Activity("memory"),
        Activity("x" * 78 + " y"),
        Activity("a tool"),
    ]
    assert not decoder.done


def test_an_approval_event_is_an_approval_request() -> None:
    assert decode(HermesRunDecoder(), sse(event="approval.request", choices=["once", "deny"])) == [
        ApprovalRequest()
    ]


@pytest.mark.parametrize(
    ("events", "output", "spoken"),
    [
        ([], "Hi", ["Hi"]),
        ([delta("")], "Hi", ["Hi"]),
        ([delta("Hi")], "Hi", []),
        ([delta("Hi ")], "Hi there", []),
        ([delta("Wait. "), STARTED], "Done.", ["\n\nDone."]),
        ([delta("Wait. "), STARTED, delta("\n\n")], "Done.", ["\n\nDone."]),
        ([delta("Wait. "), STARTED, delta("\n\nDone.")], "Done. (1 file changed)", []),
        ([delta("It is\n"), delta("five."), STARTED], "It is five.", []),
        ([], "(empty)", []),
        ([], " ", []),
        ([], None, []),
        ([], 5, []),
    ],
)
def test_output_that_did_not_stream_is_spoken(
    events: list[ServerSentEvent], output: Any, spoken: list[str]
) -> None:
    decoder = HermesRunDecoder()
    decode(decoder, *events)
    assert decode(decoder, sse(event="run.completed", output=output)) == spoken
    assert decoder.done


@pytest.mark.parametrize(
    ("usage", "events"),
    [
        ({"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}, [Usage(5, 7)]),
        ({"input_tokens": None, "output_tokens": "7"}, [Usage()]),
        ({}, [Usage()]),
        (None, []),
        (5, []),
    ],
)
def test_the_usage_of_a_run(usage: Any, events: list[Event]) -> None:
    assert decode(HermesRunDecoder(), sse(event="run.completed", output="", usage=usage)) == events


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"event": "run.failed", "error": "HTTP 400:\n no"}, "Hermes failed: HTTP 400: no"),
        ({"event": "run.failed", "error": "x" * 999}, "Hermes failed: " + "x" * 300),
        ({"event": "run.failed", "error": {"code": 5}}, 'Hermes failed: {"code":5}'),
        ({"event": "run.failed", "error": {"message": "no"}, "code": "x"}, "Hermes failed: no"),
        ({"event": "run.failed"}, "Hermes failed"),
        ({"event": "run.error", "message": "no"}, "Hermes failed: no"),
        ({"event": "error", "error": "no"}, "Hermes failed: no"),
        ({"event": "run.cancelled"}, "another client stopped Hermes"),
        ({"event": "run.stopped"}, "another client stopped Hermes"),
    ],
)
def test_a_failed_run_is_an_error_and_done(event: Any, message: str) -> None:
    decoder = HermesRunDecoder()
    with pytest.raises(AgentError) as raised:
        decoder.feed(sse(**event))
    assert (type(raised.value), str(raised.value)) == (AgentError, message)
    assert decoder.done


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"event": "run.failed", "error": "API call failed: HTTP 429: rate limit"}, AgentBusy),
        ({"event": "run.failed", "error": {"type": "rate_limit_error", "message": "slow"}}, AgentBusy),
        ({"event": "run.failed", "error": "slow", "error_code": "rate_limit_exceeded"}, AgentBusy),
        ({"event": "run.failed", "error": "no", "code": "provider_timeout"}, AgentTimeout),
        ({"event": "run.failed", "error": "HTTP 401: no"}, AgentRejected),
        ({"event": "run.timeout"}, AgentTimeout),
    ],
)
def test_report_of_a_failed_run_decides_its_error(event: Any, kind: type[AgentError]) -> None:
    with pytest.raises(kind):
        HermesRunDecoder().feed(sse(**event))


def test_events_after_the_end_are_ignored() -> None:
    assert (
        decode(HermesRunDecoder(), sse(event="run.completed"), delta("Hi"), ServerSentEvent("", b"{")) == []
    )


@pytest.mark.parametrize("text", [None, 5, ["Hi"], {}])
def test_a_delta_without_text_is_a_protocol_error(text: Any) -> None:
    with pytest.raises(AgentProtocolError, match="delta without text"):
        HermesRunDecoder().feed(sse(event="message.delta", delta=text))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff", b"[" * 5000])
def test_an_event_that_is_no_object_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(AgentProtocolError, match="of Hermes"):
        HermesRunDecoder().feed(ServerSentEvent("", data))
    with pytest.raises(AgentProtocolError, match="of Hermes"):
        HermesChatDecoder().feed(ServerSentEvent("hermes.tool.progress", data))


def test_tools_of_a_chat_are_activities_when_they_start() -> None:
    assert decode(
        HermesChatDecoder(),
        progress(tool="terminal", label="ls", status="running"),
        progress(tool="terminal", status="completed"),
        progress(tool="memory", label=5),
        ServerSentEvent("hermes.other", b"{}"),
    ) == [Activity("ls"), Activity("memory")]


def chunk(reason: str | None = None, text: str | None = None, **more: Any) -> ServerSentEvent:
    delta = {} if text is None else {"content": text}
    return sse(choices=[{"index": 0, "delta": delta, "finish_reason": reason}], **more)


@pytest.mark.parametrize(
    ("event", "error_class", "message"),
    [
        (chunk("error", error={"message": "HTTP 400", "type": "agent_error"}), AgentError, ": HTTP 400"),
        (chunk("error", error={"message": "Slow down", "type": "rate_limit"}), AgentBusy, ": Slow down"),
        (chunk("error"), AgentError, r"^the server reported an error$"),
        (chunk("error", error=None), AgentError, "^the server reported an error$"),
        (chunk("length", error={"message": "truncated"}), AgentError, ": truncated"),
    ],
)
def test_a_chat_that_ends_with_an_error_raises_it(
    event: ServerSentEvent, error_class: type[AgentError], message: str
) -> None:
    with pytest.raises(AgentError, match=message) as raised:
        HermesChatDecoder().feed(event)
    assert type(raised.value) is error_class


def test_text_about_errors_is_no_error() -> None:
    decoder = HermesChatDecoder()
    decoded = decode(
        decoder, chunk(text='He said "error".'), chunk("stop", error=None, hermes={"error": "x"})
    )
    assert (decoded, decoder.done) == (['He said "error".'], True)


def test_a_chat_may_end_at_its_length() -> None:
    decoder = HermesChatDecoder()
    assert decode(decoder, chunk("length", usage={"prompt_tokens": 1, "completion_tokens": 2})) == []
    assert decoder.finish() == [Usage(1, 2), Finish("length")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["message.delta", "tool.started", "run.completed", "run.failed", "approval.request"])
FIELDS = ("delta", "tool", "preview", "output", "usage", "error", "label", "choices", "object", "status")
HAPPENING = st.fixed_dictionaries({}, optional={"event": NAMES | JSON, **dict.fromkeys(FIELDS, JSON)})
REASONS = st.sampled_from(["error", "length", "stop"])
CHOICE = st.fixed_dictionaries({}, optional={"delta": JSON, "finish_reason": REASONS | JSON})
CHUNK = st.fixed_dictionaries({}, optional={"choices": st.lists(CHOICE | JSON) | JSON, "error": JSON})
DATA = (HAPPENING | CHUNK | JSON).map(lambda value: json.dumps(value).encode()) | st.binary()


@given(st.lists(st.tuples(st.sampled_from(["", "hermes.tool.progress", "error", "x"]), DATA)))
def test_invalid_events_raise_only_agent_errors(events: list[tuple[str, bytes]]) -> None:
    for decoder in (HermesRunDecoder(), HermesChatDecoder()):
        try:
            decoded = decode(decoder, *(ServerSentEvent(name, data) for name, data in events))
        except AgentError:
            continue
        assert all(isinstance(event, (str, Activity, Usage, ApprovalRequest, ToolCall)) for event in decoded)


@given(JSON)
def test_invalid_answers_raise_only_protocol_errors(answer: Any) -> None:
    for read in (parse_run_id, parse_models):
        try:
            assert isinstance(read(answer, "Hermes"), (str, list))
        except AgentProtocolError:
            continue
