"""OpenAI's realtime protocol, played: its events, a whole call into our gateway, and any answer."""

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

from tests.app import test_platforms as test_desks
from tests.simulate.stage import Flaw, sound, stage
from tests.support.gateway import gateway
from tests.support.script import Script as Agent
from voicegw.events import Event, ToolCall, Turn
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CheckResult, evaluate_checks
from voicegw.simulate.platforms.realtime.caller import SimulatedRealtimeClient
from voicegw.simulate.platforms.realtime.response import JsonObject
from voicegw.simulate.recording import ActionSeen, AnswerEnded, FramesReturned, Recording, TextHeard, Violation
from voicegw.simulate.script import CallScript

URL = "http://127.0.0.1:8080/v1"
EVERYTHING = CallScript.model_validate(
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
            {"say": "Bye.", "partial": ["B", "By"]},
            {"say": "Gone.", "hang_up": 0.1},
        ],
    }
)
FILE = '[agents.desk]\nkind = "scripted"\n[keys.bridge]\nenv = "SHARED"\n'
STEPS = (0.3, "We are open", 0.5, " from nine to five.")
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


class Clerk(Agent):
    """Looks it up where that is asked for."""

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        if turn.messages[-1].text != "Look it up.":
            async with aclosing(super().reply(turn)) as events:
                async for event in events:
                    yield event
        else:
            yield ToolCall("call_1", "look_up", '{"day": "today"}')


def caller(told: CallScript = EVERYTHING, secret: str = "", **how: Any) -> SimulatedRealtimeClient:
    return SimulatedRealtimeClient(told, secret, random_hex=lambda count: "0" * 2 * count, **how)


def ours(*steps: Any) -> ASGIApp:
    """Our gateway, without a key."""
    return gateway(Clerk(*(steps or STEPS)))


async def rehearsed(
    app: ASGIApp,
    flaw: Flaw = sound,
    *,
    told: CallScript = EVERYTHING,
    url: str = URL,
    secret: str = "",
    proof: bool = False,
) -> tuple[Recording, list[CheckResult]]:
    """What became of a call into this application."""
    bridge = SimulatedRealtimeClient(told, secret)
    tape = await CallRunner(bridge, told, url, stage(app, flaw), try_forged=proof).run()
    return tape, evaluate_checks(bridge.checks, tape, told)


def plain(frames: Any) -> list[JsonObject]:
    """Events without their ids, each of them one that OpenAI's own library knows."""
    found = [json.loads(frame) for frame in frames]
    for frame in found:
        CLIENT_EVENT.validate_python(frame, strict=True)
        assert frame.pop("event_id").startswith("event_00000000_")
    return found


def asks(said: str) -> JsonObject:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}
    return {"type": "conversation.item.create", "item": item}


CREATE: JsonObject = {"type": "response.create"}


class Gateway:
    """Tells a caller what a gateway says."""

    def __init__(self, bridge: SimulatedRealtimeClient) -> None:
        self.bridge = bridge
        self.count = 0

    def __call__(self, kind: str, **fields: Any) -> tuple[Any, ...]:
        self.count += 1
        return tuple(self.bridge.receive(json.dumps({"type": kind, "event_id": f"e{self.count}", **fields})))

    def opens(self) -> None:
        assert self("session.created", session={}) == ()
        assert self("session.updated", session={}) == ()

    def begins(self, id: str) -> None:
        assert self("response.created", response={"id": id, "status": "in_progress"}) == ()

    def item(self, response: str, id: str, index: int = 0) -> None:
        """A message begins."""
        place = {"response_id": response, "output_index": index}
        assert self("response.output_item.added", **place, item={"id": id, "type": "message"}) == ()
        part = {"type": "text", "text": ""}
        assert self("response.content_part.added", **place, item_id=id, content_index=0, part=part) == ()

    def says(self, response: str, id: str, delta: str, index: int = 0) -> tuple[Any, ...]:
        place = {"response_id": response, "output_index": index, "item_id": id, "content_index": 0}
        return self("response.output_text.delta", **place, delta=delta)

    def ends(self, id: str, *items: JsonObject, status: str = "completed") -> tuple[Any, ...]:
        return self("response.done", response={"id": id, "status": status, "output": [*items]})


def opened(told: CallScript = EVERYTHING) -> tuple[SimulatedRealtimeClient, Gateway]:
    bridge = caller(told)
    gateway = Gateway(bridge)
    bridge.start(reconnecting=False)
    gateway.opens()
    return bridge, gateway


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
def test_the_address_is_that_of_openai_s_clients(url: str, model: str, address: str) -> None:
    assert caller(model=model).build_url(url) == address


def test_the_key_opens_and_a_forged_one_is_another() -> None:
    assert caller(secret="sk-1").build_headers("") == {"Authorization": "Bearer sk-1"}
    assert caller(secret="sk-1").build_headers("", forged=True) == {"Authorization": "Bearer sk-1-forged"}
    assert caller().build_headers("") == {}


def test_the_session_is_told_the_prompt_and_the_tools() -> None:
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
    assert plain(caller().start(reconnecting=False)) == [{"type": "session.update", "session": session}]


def test_a_question_is_an_item_and_wants_a_response() -> None:
    bridge, _ = opened()
    assert plain(bridge.ask("Hello?")) == [asks("Hello?"), CREATE]
    assert plain(bridge.repeat()) == [CREATE]
    assert (bridge.encode_partial("B"), bridge.press("1"), bridge.ping(), bridge.hang_up()) == ((), (), (), ())


def test_silence_only_wants_a_response_and_a_newer_question_cancels_the_older_one() -> None:
    bridge, gateway = opened()
    assert plain(bridge.ask(None)) == [CREATE]
    assert plain(bridge.ask("Hello?")) == [{"type": "response.cancel"}, asks("Hello?"), CREATE]
    gateway.begins("r1")
    assert gateway.ends("r1", status="cancelled") == (AnswerEnded(0),)
    gateway.begins("r2")
    cancel = {"type": "response.cancel", "response_id": "r2"}
    assert plain(bridge.ask("Hello?")) == [cancel, asks("Hello?"), CREATE]


def test_an_interruption_cancels_and_cuts_every_message_to_what_was_heard() -> None:
    bridge, gateway = opened()
    bridge.ask("Hello?")
    gateway.begins("r1")
    gateway.item("r1", "i1")
    gateway.says("r1", "i1", "Well. ")
    gateway.item("r1", "i2", 1)
    gateway.says("r1", "i2", "We are open.", 1)

    def cut(id: str, ends: int, heard: str) -> JsonObject:
        place = {"item_id": id, "content_index": 0, "audio_end_ms": ends, "heard": heard}
        return {"type": "conversation.item.truncate", **place}

    cancel = {"type": "response.cancel", "response_id": "r1"}
    assert plain(bridge.interrupt("Well. We")) == [cancel, cut("i1", 400, "Well. "), cut("i2", 133, "We")]
    assert bridge.pending_events.missing_answers("truncates") == ["conversation.item.truncate was not answered"]
    for id, ends in (("i2", 133), ("i1", 400)):
        assert gateway("conversation.item.truncated", item_id=id, content_index=0, audio_end_ms=ends) == ()
    assert bridge.pending_events.missing_answers("truncates") == []
    gateway.ends("r1", status="cancelled")
    _, *told = plain(bridge.start(reconnecting=True))
    assert [event["item"]["content"][0]["text"] for event in told] == ["Hello?", "Well. ", "We"]


def test_a_call_that_comes_back_tells_what_was_said_and_asks_again_what_was_not_answered() -> None:
    bridge, gateway = opened()
    bridge.ask("Hello?")
    gateway.begins("r1")
    gateway.item("r1", "i1")
    gateway.says("r1", "i1", "We are")
    _, *told = plain(bridge.start(reconnecting=True))
    assert told == [asks("Hello?"), CREATE], "what the gateway had begun to say is lost"
    bridge.start(reconnecting=True)
    gateway = Gateway(bridge)
    gateway.opens()
    gateway.begins("r1")
    gateway.item("r1", "i1")
    gateway.says("r1", "i1", "Yes.")
    gateway.ends("r1")
    _, *told = plain(bridge.start(reconnecting=True))
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    assert told == [asks("Hello?"), {"type": "conversation.item.create", "item": said}]


async def test_our_gateway_holds_everything(tmp_path: Path) -> None:
    agent = Clerk(*STEPS)
    app = test_desks.gateway(tmp_path, agent, FILE)
    tape, found = await rehearsed(app, secret="sh4red", proof=True)
    assert tape.failure == ""
    assert {verdict.item: verdict.state for verdict in found} == dict.fromkeys(
        (check.item for check in caller().checks), "held"
    )
    assert (tape.forged_status, tape.gateway_close, len(tape.turns)) == (401, None, 10)
    assert [turn.outcome for turn in tape.turns] == [
        *("answered", "stopped", "answered", "stopped"),
        *["answered"] * 5,
        "hung up",
    ]
    first, tool = tape.turns[0], tape.turns[6]
    assert [round(at - first.asked_at, 9) for at in (*(at for at, _ in first.texts), *first.end_times)] == [
        *(0.3, 0.8, 0.8)
    ]
    assert [act for _, act in tool.actions] == [ActionSeen(6, "look_up", '{"day": "today"}', "call_1")]
    assert (tool.text, round(tool.end_times[0] - tool.asked_at, 9)) == ("We are open from nine to five.", 0.8)
    assert [turn.stop_delay for turn in tape.turns if turn.stopped_at is not None] == [0.0, 0.0]
    assert [message.text for message in agent.turns[2].messages[-3:]] == ["When?", "We", "What?"]
    assert agent.turns[7].messages[-1].text == "Nine to five."


async def test_a_tool_that_gives_nothing_ends_the_turn() -> None:
    told = CallScript.model_validate({"tools": [{"name": "look_up"}], "turns": [{"say": "Look it up."}]})
    tape, found = await rehearsed(ours(), told=told)
    assert (tape.turns[0].outcome, len(tape.turns[0].actions)) == ("answered", 1)
    assert [verdict.item for verdict in found if verdict.state == "broken"] == []


def test_a_response_that_ended_before_it_was_cancelled_is_no_breach() -> None:
    bridge, gateway = opened()
    bridge.ask("Hello?")
    gateway.begins("r1")
    [cancel] = bridge.interrupt("")
    assert gateway.ends("r1") == ()
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
ACTS = st.sampled_from(["ask", "silent", "repeat", "interrupt", "again", "nonsense"])
FRAMES = st.text() | st.binary() | VALUES.map(json.dumps) | (EVENTS | st.sampled_from(WHOLE)).map(json.dumps)


@given(st.lists(ACTS | FRAMES, max_size=30))
def test_whatever_comes_is_read_without_an_error_and_belongs_to_a_turn_and_an_item(
    steps: list[str | bytes],
) -> None:
    bridge, _ = opened()
    items = {check.item for check in bridge.checks}
    acts: dict[str | bytes, Callable[[], Any]] = {
        "ask": lambda: bridge.ask("Hello?"),
        "silent": lambda: bridge.ask(None),
        "repeat": bridge.repeat,
        "interrupt": lambda: bridge.interrupt("We"),
        "again": lambda: bridge.start(reconnecting=True),
        "nonsense": bridge.encode_malformed,
    }
    for step in steps:
        if step in acts:
            acts[step]()
            continue
        for heard in bridge.receive(step):
            if isinstance(heard, Violation):
                assert heard.item in items
            elif isinstance(heard, TextHeard | AnswerEnded | ActionSeen):
                assert heard.turn is None or heard.turn in range((bridge.turn or 0) + 1)
            else:
                assert isinstance(heard, FramesReturned)
    assert evaluate_checks(bridge.checks, Recording(), EVERYTHING)
