from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.realtime.client import frames, kinds
from voicegw.calls.codec import TurnEncoder
from voicegw.events import Message, ToolCall, Usage
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import RealtimeConversation, RealtimeItem
from voicegw.platforms.realtime.response import RealtimeResponse
from voicegw.platforms.realtime.session_config import ResponseConfig, SessionConfig

CALL = ToolCall("call_1", "hours", '{"day":1}')


def book() -> RealtimeConversation:
    """A conversation in which something was said."""
    conversation = RealtimeConversation("conv_p")
    conversation.add(RealtimeItem("said", Message("user", "Hello?")))
    return conversation


def answer(to: RealtimeConversation | None = None, *, tools: bool = True, **how: Any) -> RealtimeResponse:
    return RealtimeResponse(EventWriter("p"), to or book(), ResponseConfig(**how), tools=tools)


def said(conversation: RealtimeConversation) -> list[str]:
    return [item.content.text for item in conversation.items.values() if isinstance(item.content, Message)]


def test_it_does_what_every_turn_does() -> None:
    turn: TurnEncoder = answer()
    assert (turn.keepalive, turn.ends_call, turn.executed, turn.already_executed, turn.spoken_text) == (
        b"",
        False,
        [],
        set(),
        "",
    )


def test_a_response_is_there_at_once_and_words_wait_to_be_gathered() -> None:
    turn = answer(metadata={"a": "b"}, config=SessionConfig(max_output_tokens=7))
    [created] = frames(turn.start("One "))
    assert created == {
        "event_id": "event_p_1",
        "type": "response.created",
        "response": {
            "object": "realtime.response",
            "id": "resp_p_1",
            "conversation_id": "conv_p",
            "output_modalities": ["text"],
            "max_output_tokens": 7,
            "metadata": {"a": "b"},
            "status": "in_progress",
            "status_details": None,
            "output": [],
            "usage": None,
        },
    }
    assert turn.text_delta("moment.") == b""
    assert turn.spoken_text == ""
    told = frames(turn.drain())
    assert [event["type"] for event in told] == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ]
    assert [event["event_id"] for event in told] == [f"event_p_{number}" for number in range(2, 6)]
    assert told[1]["previous_item_id"] == "said"
    assert told[-1]["delta"] == turn.spoken_text == "One moment."
    assert turn.drain() == b""
    turn.text_delta(" Yes")
    [more] = frames(turn.drain())
    assert more["delta"] == " Yes"
    assert turn.spoken_text == "One moment. Yes"


ENDING = [
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


@pytest.mark.parametrize(
    ("reason", "status", "details", "item"),
    [
        ("stop", "completed", None, "completed"),
        ("tool_calls", "completed", None, "completed"),
        ("length", "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}, "incomplete"),
        ("content_filter", "incomplete", {"type": "incomplete", "reason": "content_filter"}, "incomplete"),
    ],
)
def test_an_end_tells_why(reason: str, status: str, details: Any, item: str) -> None:
    conversation = book()
    turn = answer(conversation)
    turn.start("Hi")
    turn.drain()
    told = frames(turn.finish(reason, None, "a note"))
    assert [event["type"] for event in told] == ENDING
    response = told[-1]["response"]
    assert (response["status"], response["status_details"], response["usage"]) == (status, details, None)
    assert response["output"] == [told[2]["item"]] == [told[3]["item"]]
    assert told[2]["item"]["status"] == item
    assert conversation.items[told[2]["item"]["id"]].status == item


def test_the_usage_is_told_in_detail() -> None:
    turn = answer()
    [_, done] = frames(turn.finish("stop", Usage(30, 4, 20, 1)))
    assert done["response"]["usage"] == {
        "total_tokens": 34,
        "input_tokens": 30,
        "output_tokens": 4,
        "input_token_details": {
            "cached_tokens": 20,
            "text_tokens": 30,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 4, "audio_tokens": 0},
    }


def test_a_response_without_a_word_has_no_item() -> None:
    turn = answer()
    told = frames(turn.start("") + turn.drain() + turn.finish("stop", None))
    assert [event["type"] for event in told] == ["response.created", "response.done"]
    assert told[-1]["response"]["output"] == []


def test_a_call_is_an_item_behind_the_words_before_it() -> None:
    conversation = book()
    turn = answer(conversation)
    turn.start("Let me see.")
    told = frames(turn.tool_call(CALL))
    assert [event["type"] for event in told[4:]] == [
        *ENDING[:-1],
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "conversation.item.done",
    ]
    begun, whole = told[8]["item"], told[12]["item"]
    assert (begun["status"], begun["arguments"]) == ("in_progress", "")
    assert whole == {**begun, "status": "completed", "arguments": CALL.arguments}
    assert (whole["call_id"], whole["name"]) == ("call_1", "hours")
    assert told[10]["delta"] == told[11]["arguments"] == CALL.arguments
    assert told[9]["previous_item_id"] == told[3]["item_id"]
    assert list(conversation.items.values())[-1] == RealtimeItem(whole["id"], CALL)
    assert turn.executed == []
    turn.text_delta("So:")
    more = frames(turn.drain())
    assert (more[0]["output_index"], more[1]["previous_item_id"]) == (2, whole["id"])
    assert turn.spoken_text == "Let me see.So:"
    [*_, done] = frames(turn.finish("tool_calls", None))
    assert [item["type"] for item in done["response"]["output"]] == ["message", "function_call", "message"]


def test_a_call_without_an_id_gets_one() -> None:
    [event] = [event for event in frames(answer().tool_call(ToolCall("", "hours"))) if "arguments" in event]
    assert event["call_id"] == "call_p_2"


def test_a_client_without_tools_gets_no_calls() -> None:
    turn = answer(tools=False)
    assert kinds(turn.start("Bye.") + turn.tool_call(CALL) + turn.finish("tool_calls", None)) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        *ENDING,
    ]


@pytest.mark.parametrize("reason", ["turn_detected", "client_cancelled"])
def test_a_stop_ends_what_is_open_and_drops_what_was_not_sent(reason: str) -> None:
    conversation = book()
    turn = answer(conversation)
    turn.cancel_reason = reason
    turn.start("One ")
    turn.drain()
    turn.text_delta("two")
    told = frames(turn.stop())
    assert [event["type"] for event in told] == ENDING
    assert told[0]["text"] == turn.spoken_text == "One "
    assert told[2]["item"]["status"] == "incomplete"
    response = told[-1]["response"]
    assert (response["status"], response["usage"]) == ("cancelled", None)
    assert response["status_details"] == {"type": "cancelled", "reason": reason}
    assert said(conversation) == ["Hello?", "One "]


def test_a_stop_before_anything_was_told_says_nothing() -> None:
    turn = answer()
    turn.text_delta("One")
    assert turn.stop() + turn.start("Two") + turn.finish("stop", None) + turn.drain() == b""


def test_the_conversation_knows_what_was_said_so_far() -> None:
    conversation = book()
    turn = answer(conversation)
    turn.sync_conversation()
    assert said(conversation) == ["Hello?"]
    turn.start("One ")
    turn.drain()
    turn.text_delta("two")
    turn.sync_conversation()
    assert said(conversation) == ["Hello?", "One "]
    assert list(conversation.items.values())[-1].status == "in_progress"


@pytest.mark.parametrize("how", ["stop", "end", "call"])
def test_a_cut_message_stays_cut_whatever_follows(how: str) -> None:
    conversation = book()
    turn = answer(conversation)
    turn.start("One two")
    turn.drain()
    turn.truncate("One")
    assert said(conversation) == ["Hello?", "One"]
    turn.text_delta(" three")
    turn.drain()
    turn.sync_conversation()
    endings: dict[str, Callable[[], bytes]] = {
        "stop": turn.stop,
        "end": partial(turn.finish, "stop", None),
        "call": partial(turn.tool_call, CALL),
    }
    assert frames(endings[how]())[0]["text"] == "One two three"
    assert said(conversation) == ["Hello?", "One"]
    turn.text_delta("Four")
    turn.drain()
    turn.sync_conversation()
    assert said(conversation) == ["Hello?", "One", *(["Four"] if how == "call" else [])]


def test_its_items_are_its_own() -> None:
    turn = answer()
    turn.start("One")
    turn.tool_call(CALL)
    turn.text_delta("Two")
    turn.drain()
    assert [turn.owns(f"item_p_{number}") for number in range(1, 6)] == [False, True, True, True, False]
    assert not turn.owns("said")


def test_a_response_apart_leaves_the_conversation_alone() -> None:
    conversation = book()
    turn = answer(conversation, out_of_band=True)
    sent = turn.start("One") + turn.drain()
    turn.sync_conversation()
    turn.truncate("")
    sent += turn.tool_call(CALL) + turn.finish("stop", None)
    told = frames(sent)
    assert not [event for event in told if event["type"].startswith("conversation.")]
    assert [told[0]["response"][key] for key in ("conversation_id", "output")] == [None, []]
    assert [item["type"] for item in told[-1]["response"]["output"]] == ["message", "function_call"]
    assert said(conversation) == ["Hello?"]


def test_an_item_that_the_client_deleted_does_not_come_back() -> None:
    conversation = book()
    turn = answer(conversation)
    turn.start("One")
    turn.drain()
    conversation.remove(turn.open_item_id)
    turn.sync_conversation()
    assert kinds(turn.finish("stop", None)) == ENDING
    assert said(conversation) == ["Hello?"]


def test_its_items_take_no_name_that_the_client_took() -> None:
    conversation = book()
    conversation.add(RealtimeItem("item_p_2", Message("user", "Mine")))
    turn = answer(conversation)
    turn.start("One")
    turn.drain()
    assert turn.open_item_id == "item_p_3"


def test_half_an_emoji_is_the_same_in_deltas_and_in_the_whole() -> None:
    turn = answer()
    turn.text_delta("a\ud83d")
    first = turn.drain()
    turn.text_delta("\ude00")
    told = frames(first + turn.drain() + turn.finish("stop", None))
    deltas = [event["delta"] for event in told if "delta" in event]
    [whole] = [event["text"] for event in told if "text" in event]
    assert (deltas, whole, turn.spoken_text) == (["a\ufffd", "\ufffd"], "a\ufffd\ufffd", "a\ufffd\ufffd")


WORDS = st.text(max_size=4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "text_delta"]), WORDS)
    | st.tuples(
        st.just("tool_call"), st.builds(ToolCall, st.sampled_from(["", "c"]), st.just("hours"), WORDS)
    )
    | st.tuples(st.just("truncate"), WORDS)
    | st.tuples(st.sampled_from(["drain", "sync_conversation"]), st.none()),
    max_size=12,
)


def play(turn: RealtimeResponse, steps: list[tuple[str, Any]]) -> bytes:
    sent = b""
    for step, value in steps:
        frame = getattr(turn, step)() if value is None else getattr(turn, step)(value)
        assert step not in ("text_delta", "sync_conversation", "truncate") or not frame
        sent += frame or b""
    return sent


@given(STEPS, st.sampled_from(["end", "stop"]), STEPS, st.booleans(), st.booleans())
def test_every_response_is_well_formed(
    before: list[tuple[str, Any]], how: str, after: list[tuple[str, Any]], apart: bool, tools: bool
) -> None:
    before = [step for step in before if step[0] != "truncate"]
    conversation = book()
    turn = answer(conversation, out_of_band=apart, tools=tools)
    sent = play(turn, before)
    sent += turn.finish("stop", None) if how == "end" else turn.stop()
    told = frames(sent)
    assert [event["event_id"] for event in told] == [f"event_p_{number + 1}" for number in range(len(told))]
    if not told:
        assert how == "stop"
        return
    assert [told[0]["type"], told[-1]["type"]] == ["response.created", "response.done"]
    types = [event["type"] for event in told]
    assert types.count("response.created") == types.count("response.done") == 1
    items = told[-1]["response"]["output"]
    for index, item in enumerate(items):
        of_item(told, index, item, apart)
    assert len({item["id"] for item in items}) == len(items)
    texts = [item["content"][0]["text"] for item in items if item["type"] == "message"]
    assert turn.spoken_text == "".join(texts)
    assert said(conversation)[1:] == ([] if apart else texts)
    if how == "end":
        assert turn.spoken_text == "".join(value for step, value in before if step in ("start", "text_delta"))
    assert play(turn, after) + turn.drain() + turn.finish("stop", None) + turn.stop() == b""
    assert turn.spoken_text == "".join(texts)


def of_item(told: list[dict[str, Any]], index: int, item: dict[str, Any], apart: bool) -> None:
    """Assert that the events of one item come in their order, and add up to it."""
    mine = [event for event in told if event.get("output_index") == index]
    mine += [
        event for event in told if event["type"].startswith("conv") and event["item"]["id"] == item["id"]
    ]
    by_type = {event["type"]: event for event in mine}
    assert all(event.get("item_id", item["id"]) == item["id"] for event in mine)
    whole = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
    assert "".join(event["delta"] for event in mine if "delta" in event) == whole
    assert by_type["response.output_item.done"]["item"] == item
    assert ("conversation.item.added" in by_type) is not apart
    if not apart:
        done, added = by_type["conversation.item.done"], by_type["conversation.item.added"]
        assert done["item"] == item
        assert done["previous_item_id"] == added["previous_item_id"]
    if item["type"] == "message":
        assert by_type["response.output_text.done"]["text"] == whole
        assert by_type["response.content_part.done"]["part"] == {"type": "text", "text": whole}
    else:
        assert by_type["response.function_call_arguments.done"]["arguments"] == whole
    ordered = sorted(mine, key=lambda event: told.index(event))
    assert "added" in ordered[0]["type"]
    assert "item.done" in ordered[-1]["type"]
