"""One session of a realtime client: the assignment of responses, and their violations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulate.platforms.realtime.test_client import GatewayEvents, decode_all, make_client, open_session
from voicegw.simulate.recording import ActionSeen, AnswerEnded, FramesReturned, TextHeard, Violation
from voicegw.simulate.script import CallScript

TOOLS = CallScript.model_validate(
    {"tools": [{"name": "look_up", "result": "Nine."}, {"name": "note"}], "turns": [{"say": "Hello?"}]}
)
CREATED: Any = {"id": "r1", "status": "in_progress"}


def call_tool(gateway: GatewayEvents, response: str, index: int, **call: str) -> tuple[Any, ...]:
    """Send a whole function call, and return the observations in its last event."""
    item = {"id": f"i{index}", "type": "function_call", **call}
    place = {"response_id": response, "output_index": index}
    gateway("response.output_item.added", **place, item=item)
    argued = {**place, "item_id": f"i{index}", "call_id": "x"}
    gateway("response.function_call_arguments.delta", **argued, delta=call["arguments"])
    gateway("response.function_call_arguments.done", **argued, arguments=call["arguments"])
    return gateway("response.output_item.done", **place, item=item)


def test_responses_are_assigned_to_questions_in_order() -> None:
    client, gateway = open_session()
    client.ask("Hello?")
    client.ask("When?")
    gateway.begin_response("r1")
    gateway.begin_response("r2")
    gateway.add_message("r2", "i2")
    gateway.add_message("r1", "i1")
    assert gateway.send_delta("r2", "i2", "Now.") == (TextHeard(1, "Now."),)
    assert gateway.send_delta("r1", "i1", "Hi.") == (TextHeard(0, "Hi."),)
    assert gateway.finish_response("r1", status="cancelled") == (AnswerEnded(0),)


def test_tool_result_is_sent_at_once_and_the_turn_continues() -> None:
    client, gateway = open_session(TOOLS)
    client.ask("Hello?")
    gateway.begin_response("r1")
    call = {"name": "look_up", "arguments": '{"day":1}', "call_id": "c1"}
    assert call_tool(gateway, "r1", 0, **call) == (ActionSeen(0, "look_up", '{"day":1}', "c1"),)
    [returned] = gateway.finish_response("r1", {"id": "i0", "type": "function_call", **call})
    assert isinstance(returned, FramesReturned)
    item = {"type": "function_call_output", "call_id": "c1", "output": "Nine."}
    assert decode_all(returned.frames) == [
        {"type": "conversation.item.create", "item": item},
        {"type": "response.create"},
    ]
    gateway.begin_response("r2")
    gateway.add_message("r2", "i1")
    assert gateway.send_delta("r2", "i1", "At nine.") == (TextHeard(0, "At nine."),)
    _, _, *sent, _ = decode_all(client.start(reconnecting=True))
    assert [event["item"] for event in sent] == [{"type": "function_call", **call}, item]


def test_no_tool_result_is_sent_after_an_interruption() -> None:
    client, gateway = open_session(TOOLS)
    client.ask("Hello?")
    gateway.begin_response("r1")
    call_tool(gateway, "r1", 0, name="look_up", arguments="{}", call_id="c1")
    client.interrupt("")
    assert gateway.finish_response("r1", status="cancelled") == (AnswerEnded(0),)


@pytest.mark.parametrize(
    ("call", "violation"),
    [
        ({"name": "sing", "arguments": "{}", "call_id": "c1"}, ["'sing' is not offered"]),
        ({"name": "note", "arguments": "{}", "call_id": ""}, ["'note' without a new call_id: ''"]),
        (
            {"name": "note", "arguments": "7", "call_id": "c"},
            ["'note': the arguments are not a JSON object: '7'"],
        ),
        (
            {"name": "note", "arguments": "{", "call_id": "c"},
            ["'note': the arguments are not a JSON object: '{'"],
        ),
    ],
)
def test_invalid_tool_call_is_a_violation(call: dict[str, str], violation: list[str]) -> None:
    client, gateway = open_session(TOOLS)
    client.ask("Hello?")
    gateway.begin_response("r1")
    action, *found = call_tool(gateway, "r1", 0, **call)
    assert isinstance(action, ActionSeen)
    assert found == [Violation("tools", reason) for reason in violation]


def test_repeated_call_id_is_a_violation() -> None:
    client, gateway = open_session(TOOLS)
    client.ask("Hello?")
    gateway.begin_response("r1")
    call = {"name": "note", "arguments": "{}", "call_id": "c1"}
    assert len(call_tool(gateway, "r1", 0, **call)) == 1
    assert call_tool(gateway, "r1", 1, **call)[1:] == (
        Violation("tools", "'note' without a new call_id: 'c1'"),
    )


def test_response_before_the_session_is_a_violation() -> None:
    client = make_client()
    gateway = GatewayEvents(client)
    client.start(reconnecting=False)
    client.ask("Hello?")
    first, second = gateway("response.created", response=CREATED)
    assert first == Violation("session-first", "'response.created' came first")
    assert second == Violation("session-first", "response.created came before session.updated")
    assert client.pending_events.missing_answers("session-first") == [
        "session.created was not answered",
        "session.update was not answered",
    ]


@pytest.mark.parametrize(
    ("kind", "fields", "violation"),
    [
        ("response.created", {"response": CREATED}, "a response.created that no response.create asked for"),
        (
            "response.done",
            {"response": {**CREATED, "output": []}},
            "a response.done of a response that was not active",
        ),
        (
            "response.output_item.added",
            {"response_id": "r", "output_index": 0, "item": {"id": "i", "type": "message"}},
            "response.output_item.added of a response that was not created",
        ),
    ],
)
def test_events_of_unknown_responses_are_violations(kind: str, fields: Any, violation: str) -> None:
    _, gateway = open_session()
    assert gateway(kind, **fields) == (Violation("created-done", violation),)


def test_event_after_response_done_is_a_violation() -> None:
    client, gateway = open_session()
    client.ask("Hello?")
    gateway.begin_response("r1")
    gateway.add_message("r1", "i1")
    client.ask("When?")
    gateway.finish_response("r1", {"id": "i1"}, status="cancelled")
    assert gateway.send_delta("r1", "i1", "Hi.") == (
        Violation("created-done", "response.output_text.delta after response.done"),
        TextHeard(0, "Hi."),
    )


def test_error_must_name_an_event_of_the_client() -> None:
    client, gateway = open_session()
    create = json.loads(client.ask("Hello?")[-1])["event_id"]
    error = {"type": "x", "message": "No.", "code": "busy"}
    assert gateway("error", error={**error, "event_id": create}) == (
        Violation("created-done", "response.create was refused with code 'busy'"),
    )
    assert gateway("error", error={**error, "event_id": create}) == (
        Violation("errors", f"an error event that names no event of the client: '{create}', code 'busy'"),
    )
    item = json.loads(client.ask("Hello?")[0])["event_id"]
    assert gateway("error", error={**error, "event_id": item}) == (
        Violation("errors", "conversation.item.create was refused with code 'busy'"),
    )
