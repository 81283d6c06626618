"""One response, from its first item to its end."""

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


def played(response: ReceivedResponse, *steps: tuple[str, JsonObject]) -> list[Observation]:
    return [heard for kind, data in steps for heard in response.receive(f"response.{kind}", data)]


def test_a_message_is_words_and_all_its_forms_agree() -> None:
    response = ReceivedResponse("r", 3)
    assert played(response, *STEPS) == [TextHeard(3, "Ye"), TextHeard(3, "s.")]
    assert [*response.finish([MESSAGE])] == []
    [piece] = response.messages
    assert (piece.text, piece.heard_text, piece.is_done) == ("Yes.", "Yes.", True)
    piece.heard_prefix = "Ye"
    assert piece.heard_text == "Ye"


@pytest.mark.parametrize(
    ("missing", "items"),
    [(0, {"items"}), (1, {"items", "deltas"}), (3, {"deltas"}), (5, {"items"}), (6, {"items"})],
)
def test_what_is_missing_is_missed(missing: int, items: set[str]) -> None:
    response = ReceivedResponse("r", 0)
    heard = [*played(response, *STEPS[:missing], *STEPS[missing + 1 :]), *response.finish([MESSAGE])]
    assert {wrong.item for wrong in heard if isinstance(wrong, Violation)} == items


@pytest.mark.parametrize("step", range(1, len(STEPS)))
def test_what_belongs_to_another_item_is_none_of_this_one(step: int) -> None:
    kind, data = STEPS[step]
    other = {**data, "item": {**MESSAGE, "id": "j"}} if "item" in data else {**data, "item_id": "j"}
    response = ReceivedResponse("r", 0)
    played(response, *STEPS[:step])
    wrong = f"response.{kind} of no open item, at output_index 0"
    assert [heard for heard in played(response, (kind, other)) if isinstance(heard, Violation)] == [
        Violation("items", wrong)
    ]


def test_a_cancelled_response_may_have_loose_ends() -> None:
    response = ReceivedResponse("r", 0, is_cancelled=True)
    played(response, *STEPS[:3])
    assert [*response.finish([])] == []
    assert response.is_done


def test_of_an_item_that_was_cut_the_whole_text_is_not_asked_for() -> None:
    response = ReceivedResponse("r", 0)
    played(response, *STEPS[:6])
    response.items[0].heard_prefix = "Ye"
    cut = {**MESSAGE, "content": [{"type": "output_text", "text": "Ye"}]}
    assert played(response, ("output_item.done", {"output_index": 0, "item": cut})) == []
    assert [*response.finish([cut])] == []


@pytest.mark.parametrize("content", [None, [], [7], [{"text": 7}], [{}]])
def test_a_message_whose_content_makes_no_sense_says_nothing(content: Any) -> None:
    response = ReceivedResponse("r", 0)
    played(response, *STEPS[:6])
    [wrong] = played(
        response, ("output_item.done", {"output_index": 0, "item": {**MESSAGE, "content": content}})
    )
    assert wrong == Violation(
        "deltas", "response.output_item.done: 'i' has 0 characters, its deltas 4, or others"
    )


def test_the_arguments_of_a_call_are_those_of_its_deltas() -> None:
    place: JsonObject = {"output_index": 0, "item_id": "i", "call_id": "c"}
    call: JsonObject = {"id": "i", "type": "function_call", "name": "look_up", "call_id": "c", "arguments": "{}"}
    response = ReceivedResponse("r", 0)
    steps = [
        ("output_item.added", {"output_index": 0, "item": {**call, "arguments": ""}}),
        ("function_call_arguments.delta", {**place, "delta": "{"}),
        ("function_call_arguments.delta", {**place, "delta": "}"}),
        ("function_call_arguments.done", {**place, "arguments": "{}"}),
        ("output_item.done", {"output_index": 0, "item": call}),
    ]
    acted = ActionSeen(0, "look_up", "{}", "c")
    assert (played(response, *steps), response.calls) == ([acted], [acted])
    response = ReceivedResponse("r", 0)
    assert played(response, *steps[:2], *steps[3:]) == [
        Violation("tools", "response.function_call_arguments.done: '{}' is not what the deltas were"),
        Violation("tools", "'look_up': its arguments are not what the deltas were"),
        acted,
    ]
