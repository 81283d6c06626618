"""One socket of a realtime client: which response is whose, and what of it is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulate.platforms.realtime.test_caller import Gateway, caller, opened, plain
from voicegw.simulate.recording import ActionSeen, AnswerEnded, FramesReturned, TextHeard, Violation
from voicegw.simulate.script import CallScript

TOOLS = CallScript.model_validate(
    {"tools": [{"name": "look_up", "result": "Nine."}, {"name": "note"}], "turns": [{"say": "Hello?"}]}
)
CREATED: Any = {"id": "r1", "status": "in_progress"}


def calls(gateway: Gateway, response: str, index: int, **call: str) -> tuple[Any, ...]:
    """A whole call; gives what its last event means."""
    item = {"id": f"i{index}", "type": "function_call", **call}
    place = {"response_id": response, "output_index": index}
    gateway("response.output_item.added", **place, item=item)
    argued = {**place, "item_id": f"i{index}", "call_id": "x"}
    gateway("response.function_call_arguments.delta", **argued, delta=call["arguments"])
    gateway("response.function_call_arguments.done", **argued, arguments=call["arguments"])
    return gateway("response.output_item.done", **place, item=item)


def test_responses_belong_to_the_questions_in_their_order() -> None:
    bridge, gateway = opened()
    bridge.ask("Hello?")
    bridge.ask("When?")
    gateway.begins("r1")
    gateway.begins("r2")
    gateway.item("r2", "i2")
    gateway.item("r1", "i1")
    assert gateway.says("r2", "i2", "Now.") == (TextHeard(1, "Now."),)
    assert gateway.says("r1", "i1", "Hi.") == (TextHeard(0, "Hi."),)
    assert gateway.ends("r1", status="cancelled") == (AnswerEnded(0),)


def test_a_tool_s_result_goes_back_at_once_and_the_answer_goes_on_in_the_same_turn() -> None:
    bridge, gateway = opened(TOOLS)
    bridge.ask("Hello?")
    gateway.begins("r1")
    call = {"name": "look_up", "arguments": '{"day":1}', "call_id": "c1"}
    assert calls(gateway, "r1", 0, **call) == (ActionSeen(0, "look_up", '{"day":1}', "c1"),)
    [returned] = gateway.ends("r1", {"id": "i0", "type": "function_call", **call})
    assert isinstance(returned, FramesReturned)
    item = {"type": "function_call_output", "call_id": "c1", "output": "Nine."}
    assert plain(returned.frames) == [
        {"type": "conversation.item.create", "item": item},
        {"type": "response.create"},
    ]
    gateway.begins("r2")
    gateway.item("r2", "i1")
    assert gateway.says("r2", "i1", "At nine.") == (TextHeard(0, "At nine."),)
    _, _, *told, _ = plain(bridge.start(reconnecting=True))
    assert [event["item"] for event in told] == [{"type": "function_call", **call}, item]


def test_after_an_interruption_no_result_goes_back() -> None:
    bridge, gateway = opened(TOOLS)
    bridge.ask("Hello?")
    gateway.begins("r1")
    calls(gateway, "r1", 0, name="look_up", arguments="{}", call_id="c1")
    bridge.interrupt("")
    assert gateway.ends("r1", status="cancelled") == (AnswerEnded(0),)


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ({"name": "sing", "arguments": "{}", "call_id": "c1"}, ["'sing' is not offered"]),
        ({"name": "note", "arguments": "{}", "call_id": ""}, ["'note' has no call_id of its own: ''"]),
        ({"name": "note", "arguments": "7", "call_id": "c"}, ["'note': arguments are no JSON object: '7'"]),
        ({"name": "note", "arguments": "{", "call_id": "c"}, ["'note': arguments are no JSON object: '{'"]),
    ],
)
def test_a_call_that_makes_no_sense_is_named(call: dict[str, str], wrong: list[str]) -> None:
    bridge, gateway = opened(TOOLS)
    bridge.ask("Hello?")
    gateway.begins("r1")
    acted, *found = calls(gateway, "r1", 0, **call)
    assert isinstance(acted, ActionSeen)
    assert found == [Violation("tools", why) for why in wrong]


def test_two_calls_have_two_ids() -> None:
    bridge, gateway = opened(TOOLS)
    bridge.ask("Hello?")
    gateway.begins("r1")
    call = {"name": "note", "arguments": "{}", "call_id": "c1"}
    assert len(calls(gateway, "r1", 0, **call)) == 1
    assert calls(gateway, "r1", 1, **call)[1:] == (Violation("tools", "'note' has no call_id of its own: 'c1'"),)


def test_the_session_comes_first() -> None:
    bridge = caller()
    gateway = Gateway(bridge)
    bridge.start(reconnecting=False)
    bridge.ask("Hello?")
    first, second = gateway("response.created", response=CREATED)
    assert first == Violation("session-first", "'response.created' came first")
    assert second == Violation("session-first", "response.created came before session.updated")
    assert bridge.pending_events.missing_answers("session-first") == [
        "session.created was not answered",
        "session.update was not answered",
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "wrong"),
    [
        ("response.created", {"response": CREATED}, "a response.created that no response.create asked for"),
        (
            "response.done",
            {"response": {**CREATED, "output": []}},
            "a response.done of a response that was not being made",
        ),
        (
            "response.output_item.added",
            {"response_id": "r", "output_index": 0, "item": {"id": "i", "type": "message"}},
            "response.output_item.added of a response that was not created",
        ),
    ],
)
def test_nothing_is_made_that_was_not_asked_for(kind: str, fields: Any, wrong: str) -> None:
    _, gateway = opened()
    assert gateway(kind, **fields) == (Violation("created-done", wrong),)


def test_nothing_comes_after_the_end_of_a_response() -> None:
    bridge, gateway = opened()
    bridge.ask("Hello?")
    gateway.begins("r1")
    gateway.item("r1", "i1")
    bridge.ask("When?")
    gateway.ends("r1", {"id": "i1"}, status="cancelled")
    assert gateway.says("r1", "i1", "Hi.") == (
        Violation("created-done", "response.output_text.delta after response.done"),
        TextHeard(0, "Hi."),
    )


def test_an_error_is_about_one_event_of_ours() -> None:
    bridge, gateway = opened()
    create = json.loads(bridge.ask("Hello?")[-1])["event_id"]
    error = {"type": "x", "message": "No.", "code": "busy"}
    assert gateway("error", error={**error, "event_id": create}) == (
        Violation("created-done", "response.create was refused with code 'busy'"),
    )
    assert gateway("error", error={**error, "event_id": create}) == (
        Violation("errors", f"an error event that names none of ours: '{create}', code 'busy'"),
    )
    item = json.loads(bridge.ask("Hello?")[0])["event_id"]
    assert gateway("error", error={**error, "event_id": item}) == (
        Violation("errors", "conversation.item.create was refused with code 'busy'"),
    )
