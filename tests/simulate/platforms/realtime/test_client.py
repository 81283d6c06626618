"""The simulated Realtime client: its events, a full call into our gateway, and arbitrary frames."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from pydantic import TypeAdapter
from starlette.types import ASGIApp

from tests.app import test_platforms
from tests.simulate.asgi_websocket import Flaw, sockets_to_app, unchanged
from tests.support.fake_agent import FakeAgent as Agent
from tests.support.gateway import create_gateway
from voicegw.events import Event, ToolCall, Turn
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CheckResult, evaluate_checks
from voicegw.simulate.platforms.realtime.client import SimulatedRealtimeClient
from voicegw.simulate.platforms.realtime.response import JsonObject
from voicegw.simulate.recording import (
    ActionSeen,
    AnswerEnded,
    FramesReturned,
    Recording,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallScript

URL = "http://127.0.0.1:8080/v1"
FULL_SCRIPT = CallScript.model_validate(
    {
        "tools": [{"name": "look_up", "description": "Looks it up.", "result": "Nine to five."}],
        "turns": [
            {"say": "Hello?", "wait": 0.5},
            {"say": "When?", "interrupt": 0.3},
            {"say": "What?", "again": 0.1},
            {"say": "How", "next": 0.2},
            {"say": "How much?"},
            {"say": "Are you there?", "drop": 0.2},
            {"say": "Look it up.", "nonsense": True},
            {"silent": True, "wait": 1},
            {"press": "1"},
            {"say": "Bye.", "partial": ["B", "By"], "late_interrupt": 0.1},
            {"say": "Gone.", "hang_up": 0.1},
        ],
    }
)
FILE = '[agents.desk]\nkind = "scripted"\n[keys.bridge]\nenv = "SHARED"\n'
STEPS = (0.3, "We are open", 0.5, " from nine to five.")
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


class LookUpAgent(Agent):
    """Calls the tool look_up if the caller asks for it."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if turn.messages[-1].text != "Look it up.":
            async with aclosing(super().reply(turn)) as events:
                async for event in events:
                    yield event
        else:
            yield ToolCall("call_1", "look_up", '{"day": "today"}')


def make_client(
    script: CallScript = FULL_SCRIPT, secret: str = "", **options: Any
) -> SimulatedRealtimeClient:
    return SimulatedRealtimeClient(script, secret, random_hex=lambda count: "0" * 2 * count, **options)


def our_gateway(*steps: Any) -> ASGIApp:
    """Return our gateway, without a key."""
    return create_gateway(LookUpAgent(*(steps or STEPS)))


async def run_call(
    app: ASGIApp,
    flaw: Flaw = unchanged,
    *,
    script: CallScript = FULL_SCRIPT,
    url: str = URL,
    secret: str = "",
    try_forged: bool = False,
) -> tuple[Recording, list[CheckResult]]:
    """Run a call into this application, and evaluate its checks."""
    client = SimulatedRealtimeClient(script, secret)
    recording = await CallRunner(client, script, url, sockets_to_app(app, flaw), try_forged=try_forged).run()
    return recording, evaluate_checks(client.checks, recording, script)


def decode_all(frames: Any) -> list[JsonObject]:
    """Decode events and remove their ids; OpenAI's own library must accept each of them."""
    found = [json.loads(frame) for frame in frames]
    for frame in found:
        CLIENT_EVENT.validate_python(frame, strict=True)
        assert frame.pop("event_id").startswith("event_00000000_")
    return found


def item_create(said: str) -> JsonObject:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}
    return {"type": "conversation.item.create", "item": item}


CREATE: JsonObject = {"type": "response.create"}


class GatewayEvents:
    """Sends the events of a gateway to a client."""

    def __init__(self, client: SimulatedRealtimeClient) -> None:
        self.client = client
        self.count = 0

    def __call__(self, kind: str, **fields: Any) -> tuple[Any, ...]:
        self.count += 1
        return tuple(self.client.receive(json.dumps({"type": kind, "event_id": f"e{self.count}", **fields})))

    def open_session(self) -> None:
        assert self("session.created", session={}) == ()
        assert self("session.updated", session={}) == ()

    def begin_response(self, id: str) -> None:
        assert self("response.created", response={"id": id, "status": "in_progress"}) == ()

    def add_message(self, response: str, id: str, index: int = 0) -> None:
        """Add a message with one part."""
        place = {"response_id": response, "output_index": index}
        assert self("response.output_item.added", **place, item={"id": id, "type": "message"}) == ()
        part = {"type": "text", "text": ""}
        assert self("response.content_part.added", **place, item_id=id, content_index=0, part=part) == ()

    def send_delta(self, response: str, id: str, delta: str, index: int = 0) -> tuple[Any, ...]:
        place = {"response_id": response, "output_index": index, "item_id": id, "content_index": 0}
        return self("response.output_text.delta", **place, delta=delta)

    def finish_response(self, id: str, *items: JsonObject, status: str = "completed") -> tuple[Any, ...]:
        return self("response.done", response={"id": id, "status": status, "output": [*items]})


def open_session(script: CallScript = FULL_SCRIPT) -> tuple[SimulatedRealtimeClient, GatewayEvents]:
    client = make_client(script)
    gateway = GatewayEvents(client)
    client.start(reconnecting=False)
    gateway.open_session()
    return client, gateway


@pytest.mark.parametrize(
    ("url", "model", "address"),
    [
        ("http://h:8080", "", "ws://h:8080/v1/realtime"),
        ("https://h/v1/", "", "wss://h/v1/realtime"),
        ("wss://h/v1/realtime", "", "wss://h/v1/realtime"),
        ("ws://h/realtime?call_id=c", "", "ws://h/realtime?call_id=c"),
        ("h:8080", "", "ws://h:8080/v1/realtime"),
        ("https://h/api", "my desk&", "wss://h/api/v1/realtime?model=my%20desk%26"),
        ("ws://h/v1?call_id=c", "desk", "ws://h/v1/realtime?call_id=c&model=desk"),
    ],
)
def test_url_is_built_from_the_base_url_of_openai_clients(url: str, model: str, address: str) -> None:
    assert make_client(model=model).build_url(url) == address


def test_forged_headers_have_another_key() -> None:
    assert make_client(secret="sk-1").build_headers("") == {"Authorization": "Bearer sk-1"}
    assert make_client(secret="sk-1").build_headers("", forged=True) == {
        "Authorization": "Bearer sk-1-forged"
    }
    assert make_client().build_headers("") == {}


def test_session_update_has_the_prompt_and_the_tools() -> None:
    tool = {
        "name": "look_up",
        "description": "Looks it up.",
        "parameters": {"type": "object", "properties": {}},
    }
    session = {
        "type": "realtime",
        "instructions": "You answer the telephone. Be brief.",
        "output_modalities": ["text"],
        "tools": [{"type": "function", **tool}],
    }
    assert decode_all(make_client().start(reconnecting=False)) == [
        {"type": "session.update", "session": session}
    ]


def test_question_is_an_item_and_a_response_create() -> None:
    client, _ = open_session()
    assert decode_all(client.ask("Hello?")) == [item_create("Hello?"), CREATE]
    assert decode_all(client.repeat()) == [CREATE]
    assert (client.encode_partial("B"), client.press("1"), client.ping(), client.hang_up()) == (
        (),
        (),
        (),
        (),
    )


def test_silent_caller_sends_only_response_create_and_newer_question_cancels_the_older_one() -> None:
    client, gateway = open_session()
    assert decode_all(client.ask(None)) == [CREATE]
    assert decode_all(client.ask("Hello?")) == [{"type": "response.cancel"}, item_create("Hello?"), CREATE]
    gateway.begin_response("r1")
    assert gateway.finish_response("r1", status="cancelled") == (AnswerEnded(0),)
    gateway.begin_response("r2")
    cancel = {"type": "response.cancel", "response_id": "r2"}
    assert decode_all(client.ask("Hello?")) == [cancel, item_create("Hello?"), CREATE]


def test_interruption_cancels_the_response_and_truncates_its_messages() -> None:
    client, gateway = open_session()
    client.ask("Hello?")
    gateway.begin_response("r1")
    gateway.add_message("r1", "i1")
    gateway.send_delta("r1", "i1", "Well. ")
    gateway.add_message("r1", "i2", 1)
    gateway.send_delta("r1", "i2", "We are open.", 1)

    def cut(id: str, ends: int, observation: str) -> JsonObject:
        place = {"item_id": id, "content_index": 0, "audio_end_ms": ends, "heard": observation}
        return {"type": "conversation.item.truncate", **place}

    cancel = {"type": "response.cancel", "response_id": "r1"}
    assert decode_all(client.interrupt("Well. We")) == [
        cancel,
        cut("i1", 400, "Well. "),
        cut("i2", 133, "We"),
    ]
    assert client.pending_events.missing_answers("truncates") == [
        "conversation.item.truncate was not answered"
    ]
    for id, ends in (("i2", 133), ("i1", 400)):
        assert gateway("conversation.item.truncated", item_id=id, content_index=0, audio_end_ms=ends) == ()
    assert client.pending_events.missing_answers("truncates") == []
    gateway.finish_response("r1", status="cancelled")
    _, *script = decode_all(client.start(reconnecting=True))
    assert [event["item"]["content"][0]["text"] for event in script] == ["Hello?", "Well. ", "We"]


def test_reconnected_session_gets_the_history_and_the_unanswered_question() -> None:
    client, gateway = open_session()
    client.ask("Hello?")
    gateway.begin_response("r1")
    gateway.add_message("r1", "i1")
    gateway.send_delta("r1", "i1", "We are")
    _, *script = decode_all(client.start(reconnecting=True))
    assert script == [item_create("Hello?"), CREATE], "the unfinished answer is lost"
    client.start(reconnecting=True)
    gateway = GatewayEvents(client)
    gateway.open_session()
    gateway.begin_response("r1")
    gateway.add_message("r1", "i1")
    gateway.send_delta("r1", "i1", "Yes.")
    gateway.finish_response("r1")
    _, *script = decode_all(client.start(reconnecting=True))
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    assert script == [item_create("Hello?"), {"type": "conversation.item.create", "item": said}]


async def test_our_gateway_passes_all_checks(tmp_path: Path) -> None:
    agent = LookUpAgent(*STEPS)
    app = test_platforms.create_gateway(tmp_path, agent, FILE)
    recording, found = await run_call(app, secret="sh4red", try_forged=True)
    assert recording.failure == ""
    assert {result.item: result.state for result in found} == dict.fromkeys(
        (check.item for check in make_client().checks), "held"
    )
    assert (recording.forged_status, recording.gateway_close, len(recording.turns)) == (401, None, 10)
    assert [turn.outcome for turn in recording.turns] == [
        *("answered", "stopped", "answered", "stopped"),
        *["answered"] * 5,
        "hung up",
    ]
    first, tool = recording.turns[0], recording.turns[6]
    assert [round(at - first.asked_at, 9) for at in (*(at for at, _ in first.texts), *first.end_times)] == [
        *(0.3, 0.8, 0.8)
    ]
    assert [action for _, action in tool.actions] == [ActionSeen(6, "look_up", '{"day": "today"}', "call_1")]
    assert (tool.text, round(tool.end_times[0] - tool.asked_at, 9)) == ("We are open from nine to five.", 0.8)
    assert [turn.stop_delay for turn in recording.turns if turn.stopped_at is not None] == [0.0, 0.0]
    assert [message.text for message in agent.turns[2].messages[-3:]] == ["When?", "We", "What?"]
    assert agent.turns[7].messages[-1].text == "Nine to five."


async def test_tool_without_a_result_ends_the_turn() -> None:
    script = CallScript.model_validate({"tools": [{"name": "look_up"}], "turns": [{"say": "Look it up."}]})
    recording, found = await run_call(our_gateway(), script=script)
    assert (recording.turns[0].outcome, len(recording.turns[0].actions)) == ("answered", 1)
    assert [result.item for result in found if result.state == "broken"] == []


def test_response_that_ended_before_its_cancel_is_no_violation() -> None:
    client, gateway = open_session()
    client.ask("Hello?")
    gateway.begin_response("r1")
    [cancel] = client.interrupt("")
    assert gateway.finish_response("r1") == ()
    error = {"type": "x", "message": "", "code": "response_cancel_not_active"}
    assert gateway("error", error={**error, "event_id": json.loads(cancel)["event_id"]}) == (AnswerEnded(0),)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
IDS = st.sampled_from(["r1", "r2", "i1", "i2", "c1"])
ITEM_KEYS = {
    "id": IDS | VALUES,
    "type": st.sampled_from(["message", "function_call"]) | VALUES,
    "content": st.lists(st.fixed_dictionaries({"text": VALUES | st.text(max_size=3)}), max_size=2) | VALUES,
    "name": st.just("look_up") | VALUES,
    "call_id": IDS | VALUES,
    "arguments": st.sampled_from(["{}", "[]", "{"]) | VALUES,
}
ITEMS = st.fixed_dictionaries({}, optional=ITEM_KEYS)
RESPONSES = st.fixed_dictionaries(
    {"id": IDS, "status": st.sampled_from(["in_progress", "completed", "cancelled"]) | VALUES},
    optional={"output": st.lists(ITEMS | VALUES, max_size=2)},
)
KINDS = [
    *("session.created", "session.updated", "conversation.item.truncated", "error"),
    *("response.created", "response.done", "response.output_item.added", "response.output_item.done"),
    *("response.content_part.added", "response.content_part.done", "response.output_text.delta"),
    *("response.output_text.done", "response.function_call_arguments.delta"),
    "response.function_call_arguments.done",
]
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        "event_id": VALUES,
        "session": st.just({}) | VALUES,
        "response": RESPONSES | VALUES,
        "response_id": IDS | VALUES,
        "item": ITEMS | VALUES,
        "item_id": IDS | VALUES,
        "call_id": IDS,
        "output_index": st.integers(0, 2) | VALUES,
        "content_index": st.integers(0, 1) | VALUES,
        "audio_end_ms": st.integers(0, 9) | VALUES,
        "part": st.fixed_dictionaries({"type": st.just("text")}, optional={"text": VALUES}) | VALUES,
        "delta": st.text(max_size=3) | VALUES,
        "text": st.text(max_size=3) | VALUES,
        "arguments": st.just("{}") | VALUES,
        "error": st.fixed_dictionaries(
            {"type": st.just("x"), "message": st.just("")},
            optional={"event_id": st.integers(1, 9).map("event_00000000_{}".format) | VALUES, "code": VALUES},
        ),
    },
)
WHOLE: list[JsonObject] = [
    {"type": "response.created", "response": {"id": "r1", "status": "in_progress"}},
    {
        "type": "response.output_item.added",
        "response_id": "r1",
        "output_index": 0,
        "item": {"id": "i1", "type": "message"},
    },
]
CALLER_ACTIONS = st.sampled_from(["ask", "silent", "repeat", "interrupt", "again", "nonsense"])
FRAMES = st.text() | st.binary() | VALUES.map(json.dumps) | (EVENTS | st.sampled_from(WHOLE)).map(json.dumps)


@given(st.lists(CALLER_ACTIONS | FRAMES, max_size=30))
def test_any_frames_give_observations_of_known_turns_and_checks(
    steps: list[str | bytes],
) -> None:
    client, _ = open_session()
    items = {check.item for check in client.checks}
    actions: dict[str | bytes, Callable[[], Any]] = {
        "ask": lambda: client.ask("Hello?"),
        "silent": lambda: client.ask(None),
        "repeat": client.repeat,
        "interrupt": lambda: client.interrupt("We"),
        "again": lambda: client.start(reconnecting=True),
        "nonsense": client.encode_malformed,
    }
    for step in steps:
        if step in actions:
            actions[step]()
            continue
        for observation in client.receive(step):
            if isinstance(observation, Violation):
                assert observation.item in items
            elif isinstance(observation, TextHeard | AnswerEnded | ActionSeen):
                assert observation.turn is None or observation.turn in range((client.turn or 0) + 1)
            else:
                assert isinstance(observation, FramesReturned)
    assert evaluate_checks(client.checks, Recording(), FULL_SCRIPT)
