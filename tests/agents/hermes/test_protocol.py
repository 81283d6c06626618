"""Hermes' protocol without Hermes: bodies, what happens in runs and chats, and nonsense."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.hermes.recorded import EVENTS, recorded
from voicegw.agents.hermes.protocol import (
    ApprovalRequest,
    HermesChatDecoder,
    HermesRunDecoder,
    begun,
    chat,
    routes,
    run,
)
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError
from voicegw.events import Activity, Event, Finish, Message, ToolCall, Turn, Usage
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.sse import ServerSentEvent, SseParser

SYSTEM, HI, HELLO = Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Hello?")
TOOL = ToolCall("1", "look")


def turn(*messages: Message) -> Turn:
    return Turn("t1", messages, model="desk", call="c1", options={"temperature": 1})


def sse(**event: Any) -> ServerSentEvent:
    return ServerSentEvent("", orjson.dumps(event))


def fed(
    decoder: HermesRunDecoder | HermesChatDecoder, *events: ServerSentEvent
) -> list[Event | ApprovalRequest]:
    return [told for event in events for told in decoder.feed(event)]


def delta(text: str) -> ServerSentEvent:
    return sse(event="message.delta", delta=text)


def progress(**tool: Any) -> ServerSentEvent:
    return ServerSentEvent("hermes.tool.progress", orjson.dumps(tool))


STARTED = sse(event="tool.started", tool="terminal", preview="ls")


def test_a_turn_becomes_a_run_that_knows_what_was_said() -> None:
    asked = turn(SYSTEM, HI, HELLO, Message("developer", "Be brief."), Message("user", "Who are you?"))
    assert run(asked, "c1", "fast") == {
        "input": "Who are you?",
        "instructions": "Be kind.\n\nBe brief.",
        "conversation_history": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello?"},
        ],
        "session_id": "c1",
        "model": "fast",
    }


def test_a_first_question_is_all_that_a_run_needs() -> None:
    assert run(turn(HI)) == {"input": "Hi"}


@pytest.mark.parametrize(
    ("messages", "asked"),
    [
        ((), [CALL_START_PROMPT]),
        ((HELLO,), ["Hello?", CALL_START_PROMPT]),
        ((HI, HELLO), ["Hi", "Hello?", SILENCE_PROMPT]),
        ((HI, HELLO, Message("user", " ")), ["Hi", "Hello?", SILENCE_PROMPT]),
        ((HI, Message("user", "Anybody?")), ["Hi", "Anybody?"]),
        ((HI, Message("assistant", "", tool_calls=(TOOL,)), Message("tool", "5")), ["Hi"]),
    ],
)
def test_there_is_always_something_to_answer(messages: tuple[Message, ...], asked: list[str]) -> None:
    *before, last = asked
    body = run(turn(*messages))
    assert [m["content"] for m in body.get("conversation_history", [])] == before
    assert body["input"] == last
    assert [m["content"] for m in chat(turn(*messages), "s")["messages"]][1:] == asked


def test_a_turn_becomes_a_chat_that_is_nobody_elses() -> None:
    assert chat(turn(SYSTEM, HI), "c1", "fast") == {
        "messages": [
            {"role": "system", "content": "Be kind.\n\n(Call c1)"},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "model": "fast",
    }
    assert chat(turn(HI), "c2") == {
        "messages": [{"role": "system", "content": "(Call c2)"}, {"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_a_run_that_began_has_an_id() -> None:
    assert begun({"run_id": "run_0aB-9", "status": "started"}, "Hermes") == "run_0aB-9"


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
def test_an_id_that_is_no_part_of_an_address_is_garbled(answer: Any) -> None:
    with pytest.raises(AgentProtocolError, match=r"^Hermes began a run without an id$"):
        begun(answer, "Hermes")


def test_models_to_ask_for_are_those_that_stand_for_another() -> None:
    main = {"id": "hermes-agent", "parent": None}
    fast = {"id": "fast", "root": "tiny", "parent": "hermes-agent"}
    odd = [{"id": "old"}, {"id": 1, "parent": "x"}, {"id": "", "parent": "x"}, "fast", None]
    assert routes({"object": "list", "data": [main, fast, *odd]}, "Hermes") == ["fast"]


@pytest.mark.parametrize("answer", [None, [], {}, {"data": {}}, {"data": None}])
def test_no_list_of_models_is_garbled(answer: Any) -> None:
    with pytest.raises(AgentProtocolError, match="list of models"):
        routes(answer, "Hermes")


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_recorded_run_is_understood(size: int) -> None:
    decoder, splitter, body = HermesRunDecoder(), SseParser(), recorded("run")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert fed(decoder, *(event for piece in pieces for event in splitter.feed(piece))) == EVENTS
    assert decoder.over


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_recorded_chat_is_understood(size: int) -> None:
    decoder, splitter, body = HermesChatDecoder(), SseParser(), recorded("chat")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    told = fed(decoder, *(event for piece in pieces for event in splitter.feed(piece)))
    assert decoder.over
    assert [*told, *decoder.end()] == [*EVENTS, Finish()]


def test_what_a_run_is_doing_is_told_in_short() -> None:
    decoder = HermesRunDecoder()
    assert fed(
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
    assert not decoder.over


def test_a_run_that_wants_approval_says_so() -> None:
    assert fed(HermesRunDecoder(), sse(event="approval.request", choices=["once", "deny"])) == [
        ApprovalRequest()
    ]


@pytest.mark.parametrize(
    ("before", "output", "said"),
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
def test_words_that_came_only_at_the_end_are_said(
    before: list[ServerSentEvent], output: Any, said: list[str]
) -> None:
    decoder = HermesRunDecoder()
    fed(decoder, *before)
    assert fed(decoder, sse(event="run.completed", output=output)) == said
    assert decoder.over


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}, [Usage(5, 7)]),
        ({"input_tokens": None, "output_tokens": "7"}, [Usage()]),
        ({}, [Usage()]),
        (None, []),
        (5, []),
    ],
)
def test_what_a_run_used(usage: Any, told: list[Event]) -> None:
    assert fed(HermesRunDecoder(), sse(event="run.completed", output="", usage=usage)) == told


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "run.failed", "error": "HTTP 400:\n no"}, "Hermes failed: HTTP 400: no"),
        ({"event": "run.failed", "error": "x" * 999}, "Hermes failed: " + "x" * 300),
        ({"event": "run.failed", "error": {"code": 5}}, 'Hermes failed: {"code":5}'),
        ({"event": "run.failed"}, "Hermes failed"),
        ({"event": "run.cancelled"}, "somebody else stopped Hermes"),
    ],
)
def test_a_run_that_did_not_end_well_is_an_error_and_needs_no_stop(event: Any, said: str) -> None:
    decoder = HermesRunDecoder()
    with pytest.raises(AgentError) as raised:
        decoder.feed(sse(**event))
    assert (type(raised.value), str(raised.value)) == (AgentError, said)
    assert decoder.over


def test_nothing_counts_after_the_end() -> None:
    assert fed(HermesRunDecoder(), sse(event="run.completed"), delta("Hi"), ServerSentEvent("", b"{")) == []


@pytest.mark.parametrize("text", [None, 5, ["Hi"], {}])
def test_a_delta_without_text_is_garbled(text: Any) -> None:
    with pytest.raises(AgentProtocolError, match="delta without text"):
        HermesRunDecoder().feed(sse(event="message.delta", delta=text))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff", b"[" * 5000])
def test_an_event_that_is_no_object_is_garbled(data: bytes) -> None:
    with pytest.raises(AgentProtocolError, match="of Hermes"):
        HermesRunDecoder().feed(ServerSentEvent("", data))
    with pytest.raises(AgentProtocolError, match="of Hermes"):
        HermesChatDecoder().feed(ServerSentEvent("hermes.tool.progress", data))


def test_what_a_chat_is_doing_is_told_when_it_begins() -> None:
    assert fed(
        HermesChatDecoder(),
        progress(tool="terminal", label="ls", status="running"),
        progress(tool="terminal", status="completed"),
        progress(tool="memory", label=5),
        ServerSentEvent("hermes.other", b"{}"),
    ) == [Activity("ls"), Activity("memory")]


def chunk(reason: str | None = None, text: str | None = None, **more: Any) -> ServerSentEvent:
    said = {} if text is None else {"content": text}
    return sse(choices=[{"index": 0, "delta": said, "finish_reason": reason}], **more)


@pytest.mark.parametrize(
    ("event", "kind", "said"),
    [
        (chunk("error", error={"message": "HTTP 400", "type": "agent_error"}), AgentError, ": HTTP 400"),
        (chunk("error", error={"message": "Slow down", "type": "rate_limit"}), AgentBusy, ": Slow down"),
        (chunk("error"), AgentError, r"^Hermes failed$"),
        (chunk("error", error=None), AgentError, "^Hermes failed$"),
        (chunk("length", error={"message": "truncated"}), AgentError, ": truncated"),
    ],
)
def test_a_chat_that_did_not_end_well_is_an_error(
    event: ServerSentEvent, kind: type[AgentError], said: str
) -> None:
    with pytest.raises(AgentError, match=said) as raised:
        HermesChatDecoder().feed(event)
    assert type(raised.value) is kind


def test_a_chat_that_speaks_of_errors_is_none() -> None:
    decoder = HermesChatDecoder()
    told = fed(decoder, chunk(text='He said "error".'), chunk("stop", error=None, hermes={"error": "x"}))
    assert (told, decoder.over) == (['He said "error".'], True)


def test_a_chat_may_end_at_its_length() -> None:
    decoder = HermesChatDecoder()
    assert fed(decoder, chunk("length", usage={"prompt_tokens": 1, "completion_tokens": 2})) == []
    assert decoder.end() == [Usage(1, 2), Finish("length")]


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
def test_nonsense_is_an_agent_error_or_nothing(events: list[tuple[str, bytes]]) -> None:
    for decoder in (HermesRunDecoder(), HermesChatDecoder()):
        try:
            told = fed(decoder, *(ServerSentEvent(name, data) for name, data in events))
        except AgentError:
            continue
        assert all(isinstance(event, (str, Activity, Usage, ApprovalRequest, ToolCall)) for event in told)


@given(JSON)
def test_nonsense_for_an_answer_is_garbled_or_fine(answer: Any) -> None:
    for read in (begun, routes):
        try:
            assert isinstance(read(answer, "Hermes"), (str, list))
        except AgentProtocolError:
            continue
