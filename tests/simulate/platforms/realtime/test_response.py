"""One response of a realtime session, from its first item to its end."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.simulate.platforms.realtime.response import JsonObject, ReceivedResponse
from voicegw.simulate.recording import ActionSeen, Observation, TextHeard, Violation

PLACE: JsonObject = {"output_index": 0, "item_id": "i", "content_index": 0}
MESSAGE: JsonObject = {"id": "i", "type": "message", "content": [{"type": "output_text", "text": "Yes."}]}
STEPS: list[tuple[str, JsonObject]] = [
    ("output_item.added", {"output_index": 0, "item": {"id": "i", "type": "message"}}),
    ("content_part.added", {**PLACE, "part": {"type": "text", "text": ""}}),
    ("output_text.delta", {**PLACE, "delta": "Ye"}),
    ("output_text.delta", {**PLACE, "delta": "s."}),
    ("output_text.done", {**PLACE, "text": "Yes."}),
    ("content_part.done", {**PLACE, "part": {"type": "text", "text": "Yes."}}),
    ("output_item.done", {"output_index": 0, "item": MESSAGE}),
]


def receive_all(response: ReceivedResponse, *steps: tuple[str, JsonObject]) -> list[Observation]:
    return [
        observations for kind, data in steps for observations in response.receive(f"response.{kind}", data)
    ]


def test_message_gives_its_deltas_as_text() -> None:
    response = ReceivedResponse("r", 3)
    assert receive_all(response, *STEPS) == [TextHeard(3, "Ye"), TextHeard(3, "s.")]
    assert [*response.finish([MESSAGE])] == []
    [item] = response.messages
    assert (item.text, item.heard_text, item.is_done) == ("Yes.", "Yes.", True)
    item.heard_prefix = "Ye"
    assert item.heard_text == "Ye"


@pytest.mark.parametrize(
    ("missing", "items"),
    [(0, {"items"}), (1, {"items", "deltas"}), (3, {"deltas"}), (5, {"items"}), (6, {"items"})],
)
def test_missing_event_is_a_violation(missing: int, items: set[str]) -> None:
    response = ReceivedResponse("r", 0)
    observations = [
        *receive_all(response, *STEPS[:missing], *STEPS[missing + 1 :]),
        *response.finish([MESSAGE]),
    ]
    assert {violation.item for violation in observations if isinstance(violation, Violation)} == items


@pytest.mark.parametrize("step", range(1, len(STEPS)))
def test_event_of_another_item_is_a_violation(step: int) -> None:
    kind, data = STEPS[step]
    other = {**data, "item": {**MESSAGE, "id": "j"}} if "item" in data else {**data, "item_id": "j"}
    response = ReceivedResponse("r", 0)
    receive_all(response, *STEPS[:step])
    violation = f"response.{kind} of no open item, at output_index 0"
    assert [
        observations
        for observations in receive_all(response, (kind, other))
        if isinstance(observations, Violation)
    ] == [Violation("items", violation)]


def test_cancelled_response_may_have_open_items() -> None:
    response = ReceivedResponse("r", 0, is_cancelled=True)
    receive_all(response, *STEPS[:3])
    assert [*response.finish([])] == []
    assert response.is_done


def test_truncated_item_needs_no_whole_text() -> None:
    response = ReceivedResponse("r", 0)
    receive_all(response, *STEPS[:6])
    response.items[0].heard_prefix = "Ye"
    cut = {**MESSAGE, "content": [{"type": "output_text", "text": "Ye"}]}
    assert receive_all(response, ("output_item.done", {"output_index": 0, "item": cut})) == []
    assert [*response.finish([cut])] == []


@pytest.mark.parametrize("content", [None, [], [7], [{"text": 7}], [{}]])
def test_message_with_invalid_content_has_no_text(content: Any) -> None:
    response = ReceivedResponse("r", 0)
    receive_all(response, *STEPS[:6])
    [violation] = receive_all(
        response, ("output_item.done", {"output_index": 0, "item": {**MESSAGE, "content": content}})
    )
    assert violation == Violation(
        "deltas", "response.output_item.done: 'i' has 0 characters, its deltas 4, or others"
    )


def test_function_call_arguments_must_match_their_deltas() -> None:
    place: JsonObject = {"output_index": 0, "item_id": "i", "call_id": "c"}
    call: JsonObject = {
        "id": "i",
        "type": "function_call",
        "name": "look_up",
        "call_id": "c",
        "arguments": "{}",
    }
    response = ReceivedResponse("r", 0)
    steps = [
        ("output_item.added", {"output_index": 0, "item": {**call, "arguments": ""}}),
        ("function_call_arguments.delta", {**place, "delta": "{"}),
        ("function_call_arguments.delta", {**place, "delta": "}"}),
        ("function_call_arguments.done", {**place, "arguments": "{}"}),
        ("output_item.done", {"output_index": 0, "item": call}),
    ]
    action = ActionSeen(0, "look_up", "{}", "c")
    assert (receive_all(response, *steps), response.calls) == ([action], [action])
    response = ReceivedResponse("r", 0)
    assert receive_all(response, *steps[:2], *steps[3:]) == [
        Violation("tools", "response.function_call_arguments.done: '{}' is not the text of the deltas"),
        Violation("tools", "'look_up': its arguments are not those of the deltas"),
        action,
    ]
