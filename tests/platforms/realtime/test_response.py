from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.realtime.client import event_types, frames
from voicegw.calls.codec import TurnEncoder
from voicegw.events import Message, ToolCall, Usage
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import RealtimeConversation, RealtimeItem
from voicegw.platforms.realtime.response import RealtimeResponse
from voicegw.platforms.realtime.session_config import ResponseConfig, SessionConfig
from voicegw.wire.openai import CANCELLED

CALL = ToolCall("call_1", "hours", '{"day":1}')


def make_conversation() -> RealtimeConversation:
    """A conversation in which something was said."""
    conversation = RealtimeConversation("conv_p")
    conversation.add(RealtimeItem("said", Message("user", "Hello?")))
    return conversation


def make_response(
    to: RealtimeConversation | None = None, *, tools: bool = True, **how: Any
) -> RealtimeResponse:
    return RealtimeResponse(EventWriter("p"), to or make_conversation(), ResponseConfig(**how), tools=tools)


def message_texts(conversation: RealtimeConversation) -> list[str]:
    return [item.content.text for item in conversation.items.values() if isinstance(item.content, Message)]


def test_response_implements_the_turn_encoder() -> None:
    response: TurnEncoder = make_response()
    assert (
        response.keepalive,
        response.ends_call,
        response.actions.executed,
        response.stays_open,
        response.hang_up(),
        response.spoken_text,
    ) == (
        b"",
        False,
        [],
        False,
        b"",
        "",
    )


def test_start_sends_response_created_and_words_are_gathered() -> None:
    response = make_response(metadata={"a": "b"}, config=SessionConfig(max_output_tokens=7))
    [created] = frames(response.start("One "))
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
    assert response.text_delta("moment.") == b""
    assert response.spoken_text == ""
    events = frames(response.drain())
    assert [event["type"] for event in events] == [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ]
    assert [event["event_id"] for event in events] == [f"event_p_{number}" for number in range(2, 6)]
    assert events[1]["previous_item_id"] == "said"
    assert events[-1]["delta"] == response.spoken_text == "One moment."
    assert response.drain() == b""
    response.text_delta(" Yes")
    [more] = frames(response.drain())
    assert more["delta"] == " Yes"
    assert response.spoken_text == "One moment. Yes"


END_EVENTS = [
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


def test_an_answer_that_the_gateway_cut_is_cancelled() -> None:
    response = make_response(make_conversation())
    events = frames(response.finish(CANCELLED, None))
    assert [event["type"] for event in events] == ["response.created", "response.done"]
    assert events[-1]["response"]["status"] == "cancelled"
    assert response.finish(CANCELLED, None) == b""


@pytest.mark.parametrize(
    ("reason", "status", "details", "item"),
    [
        ("stop", "completed", None, "completed"),
        ("tool_calls", "completed", None, "completed"),
        ("length", "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}, "incomplete"),
        ("content_filter", "incomplete", {"type": "incomplete", "reason": "content_filter"}, "incomplete"),
    ],
)
def test_finish_reason_is_in_the_status(reason: str, status: str, details: Any, item: str) -> None:
    conversation = make_conversation()
    response = make_response(conversation)
    response.start("Hi")
    response.drain()
    events = frames(response.finish(reason, None, "a note"))
    assert [event["type"] for event in events] == END_EVENTS
    response = events[-1]["response"]
    assert (response["status"], response["status_details"], response["usage"]) == (status, details, None)
    assert response["output"] == [events[2]["item"]] == [events[3]["item"]]
    assert events[2]["item"]["status"] == item
    assert conversation.items[events[2]["item"]["id"]].status == item


def test_usage_is_encoded_in_detail() -> None:
    response = make_response()
    [_, done] = frames(response.finish("stop", Usage(30, 4, 20, 1)))
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


def test_response_without_words_has_no_item() -> None:
    response = make_response()
    events = frames(response.start("") + response.drain() + response.finish("stop", None))
    assert [event["type"] for event in events] == ["response.created", "response.done"]
    assert events[-1]["response"]["output"] == []


def test_function_call_is_an_item_behind_the_words_before_it() -> None:
    conversation = make_conversation()
    response = make_response(conversation)
    response.start("Let me see.")
    events = frames(response.tool_call(CALL))
    assert [event["type"] for event in events[4:]] == [
        *END_EVENTS[:-1],
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "conversation.item.done",
    ]
    started, whole = events[8]["item"], events[12]["item"]
    assert (started["status"], started["arguments"]) == ("in_progress", "")
    assert whole == {**started, "status": "completed", "arguments": CALL.arguments}
    assert (whole["call_id"], whole["name"]) == ("call_1", "hours")
    assert events[10]["delta"] == events[11]["arguments"] == CALL.arguments
    assert events[9]["previous_item_id"] == events[3]["item_id"]
    assert list(conversation.items.values())[-1] == RealtimeItem(whole["id"], CALL)
    assert response.actions.executed == []
    response.text_delta("So:")
    more = frames(response.drain())
    assert (more[0]["output_index"], more[1]["previous_item_id"]) == (2, whole["id"])
    assert response.spoken_text == "Let me see.So:"
    [*_, done] = frames(response.finish("tool_calls", None))
    assert [item["type"] for item in done["response"]["output"]] == ["message", "function_call", "message"]


def test_function_call_without_an_id_gets_one() -> None:
    [event] = [
        event for event in frames(make_response().tool_call(ToolCall("", "hours"))) if "arguments" in event
    ]
    assert event["call_id"] == "call_p_2"


def test_response_without_tools_has_no_function_calls() -> None:
    response = make_response(tools=False)
    assert event_types(
        response.start("Bye.") + response.tool_call(CALL) + response.finish("tool_calls", None)
    ) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        *END_EVENTS,
    ]


@pytest.mark.parametrize("reason", ["turn_detected", "client_cancelled"])
def test_stop_ends_the_open_message_and_drops_gathered_words(reason: str) -> None:
    conversation = make_conversation()
    response = make_response(conversation)
    response.cancel_reason = reason
    response.start("One ")
    response.drain()
    response.text_delta("two")
    events = frames(response.stop())
    assert [event["type"] for event in events] == END_EVENTS
    assert events[0]["text"] == response.spoken_text == "One "
    assert events[2]["item"]["status"] == "incomplete"
    response = events[-1]["response"]
    assert (response["status"], response["usage"]) == ("cancelled", None)
    assert response["status_details"] == {"type": "cancelled", "reason": reason}
    assert message_texts(conversation) == ["Hello?", "One "]


def test_stop_before_the_start_sends_nothing() -> None:
    response = make_response()
    response.text_delta("One")
    assert response.stop() + response.start("Two") + response.finish("stop", None) + response.drain() == b""


def test_sync_conversation_writes_the_sent_words() -> None:
    conversation = make_conversation()
    response = make_response(conversation)
    response.sync_conversation()
    assert message_texts(conversation) == ["Hello?"]
    response.start("One ")
    response.drain()
    response.text_delta("two")
    response.sync_conversation()
    assert message_texts(conversation) == ["Hello?", "One "]
    assert list(conversation.items.values())[-1].status == "in_progress"


@pytest.mark.parametrize("how", ["stop", "end", "call"])
def test_truncated_message_stays_truncated(how: str) -> None:
    conversation = make_conversation()
    response = make_response(conversation)
    response.start("One two")
    response.drain()
    response.truncate("One")
    assert message_texts(conversation) == ["Hello?", "One"]
    response.text_delta(" three")
    response.drain()
    response.sync_conversation()
    endings: dict[str, Callable[[], bytes]] = {
        "stop": response.stop,
        "end": partial(response.finish, "stop", None),
        "call": partial(response.tool_call, CALL),
    }
    assert frames(endings[how]())[0]["text"] == "One two three"
    assert message_texts(conversation) == ["Hello?", "One"]
    response.text_delta("Four")
    response.drain()
    response.sync_conversation()
    assert message_texts(conversation) == ["Hello?", "One", *(["Four"] if how == "call" else [])]


def test_response_owns_its_items() -> None:
    response = make_response()
    response.start("One")
    response.tool_call(CALL)
    response.text_delta("Two")
    response.drain()
    assert [response.owns(f"item_p_{number}") for number in range(1, 6)] == [False, True, True, True, False]
    assert not response.owns("said")


def test_out_of_band_response_does_not_change_the_conversation() -> None:
    conversation = make_conversation()
    response = make_response(conversation, out_of_band=True)
    sent = response.start("One") + response.drain()
    response.sync_conversation()
    response.truncate("")
    sent += response.tool_call(CALL) + response.finish("stop", None)
    events = frames(sent)
    assert not [event for event in events if event["type"].startswith("conversation.")]
    assert [events[0]["response"][key] for key in ("conversation_id", "output")] == [None, []]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call"]
    assert message_texts(conversation) == ["Hello?"]


def test_item_that_the_client_deleted_is_not_added_again() -> None:
    conversation = make_conversation()
    response = make_response(conversation)
    response.start("One")
    response.drain()
    conversation.remove(response.open_item_id)
    response.sync_conversation()
    assert event_types(response.finish("stop", None)) == END_EVENTS
    assert message_texts(conversation) == ["Hello?"]


def test_new_item_has_no_id_of_the_client() -> None:
    conversation = make_conversation()
    conversation.add(RealtimeItem("item_p_2", Message("user", "Mine")))
    response = make_response(conversation)
    response.start("One")
    response.drain()
    assert response.open_item_id == "item_p_3"


def test_lone_surrogate_is_equal_in_deltas_and_in_the_text() -> None:
    response = make_response()
    response.text_delta("a\ud83d")
    first = response.drain()
    response.text_delta("\ude00")
    events = frames(first + response.drain() + response.finish("stop", None))
    deltas = [event["delta"] for event in events if "delta" in event]
    [whole] = [event["text"] for event in events if "text" in event]
    assert (deltas, whole, response.spoken_text) == (["a\ufffd", "\ufffd"], "a\ufffd\ufffd", "a\ufffd\ufffd")


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


def play(response: RealtimeResponse, steps: list[tuple[str, Any]]) -> bytes:
    sent = b""
    for step, value in steps:
        frame = getattr(response, step)() if value is None else getattr(response, step)(value)
        assert step not in ("text_delta", "sync_conversation", "truncate") or not frame
        sent += frame or b""
    return sent


@given(STEPS, st.sampled_from(["end", "stop"]), STEPS, st.booleans(), st.booleans())
def test_every_response_is_well_formed(
    before: list[tuple[str, Any]], how: str, after: list[tuple[str, Any]], out_of_band: bool, tools: bool
) -> None:
    before = [step for step in before if step[0] != "truncate"]
    conversation = make_conversation()
    response = make_response(conversation, out_of_band=out_of_band, tools=tools)
    sent = play(response, before)
    sent += response.finish("stop", None) if how == "end" else response.stop()
    events = frames(sent)
    assert [event["event_id"] for event in events] == [
        f"event_p_{number + 1}" for number in range(len(events))
    ]
    if not events:
        assert how == "stop"
        return
    assert [events[0]["type"], events[-1]["type"]] == ["response.created", "response.done"]
    types = [event["type"] for event in events]
    assert types.count("response.created") == types.count("response.done") == 1
    items = events[-1]["response"]["output"]
    for index, item in enumerate(items):
        assert_item_events(events, index, item, out_of_band)
    assert len({item["id"] for item in items}) == len(items)
    texts = [item["content"][0]["text"] for item in items if item["type"] == "message"]
    assert response.spoken_text == "".join(texts)
    assert message_texts(conversation)[1:] == ([] if out_of_band else texts)
    if how == "end":
        assert response.spoken_text == "".join(
            value for step, value in before if step in ("start", "text_delta")
        )
    assert play(response, after) + response.drain() + response.finish("stop", None) + response.stop() == b""
    assert response.spoken_text == "".join(texts)


def assert_item_events(
    events: list[dict[str, Any]], index: int, item: dict[str, Any], out_of_band: bool
) -> None:
    """Assert that the events of one item come in their order, and add up to it."""
    item_events = [event for event in events if event.get("output_index") == index]
    item_events += [
        event for event in events if event["type"].startswith("conv") and event["item"]["id"] == item["id"]
    ]
    by_type = {event["type"]: event for event in item_events}
    assert all(event.get("item_id", item["id"]) == item["id"] for event in item_events)
    whole = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
    assert "".join(event["delta"] for event in item_events if "delta" in event) == whole
    assert by_type["response.output_item.done"]["item"] == item
    assert ("conversation.item.added" in by_type) is not out_of_band
    if not out_of_band:
        done, added = by_type["conversation.item.done"], by_type["conversation.item.added"]
        assert done["item"] == item
        assert done["previous_item_id"] == added["previous_item_id"]
    if item["type"] == "message":
        assert by_type["response.output_text.done"]["text"] == whole
        assert by_type["response.content_part.done"]["part"] == {"type": "text", "text": whole}
    else:
        assert by_type["response.function_call_arguments.done"]["arguments"] == whole
    ordered = sorted(item_events, key=lambda event: events.index(event))
    assert "added" in ordered[0]["type"]
    assert "item.done" in ordered[-1]["type"]
