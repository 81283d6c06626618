from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.realtime.client import message
from voicegw.errors import BadRequest
from voicegw.events import Message, ToolCall
from voicegw.platforms.realtime.events import EventWriter, RealtimeError
from voicegw.platforms.realtime.items import (
    ItemContent,
    RealtimeConversation,
    RealtimeItem,
    heard_prefix,
    item_to_json,
    parse_item,
    parse_item_id,
    to_messages,
    words_within,
)

CALL = {"type": "function_call", "name": "hours", "arguments": "{}"}


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str, *calls: ToolCall) -> Message:
    return Message("assistant", text, tool_calls=calls)


def call(id: str) -> ToolCall:
    return ToolCall(id, "hours")


def result(id: str, text: str = "8 to 18") -> Message:
    return Message("tool", text, tool_call_id=id)


def parse(data: dict[str, Any]) -> ItemContent:
    return parse_item(data, "item.", EventWriter("p"))


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (message("user", "Hi"), user("Hi")),
        (message("user", "Hi", "there"), user("Hi\nthere")),
        (message("user"), user("")),
        (message("system", "Be kind."), Message("system", "Be kind.")),
        (message("assistant", "Yes."), assistant("Yes.")),
        (message("assistant") | {"content": [{"type": "text", "text": "Yes."}]}, assistant("Yes.")),
        (CALL | {"call_id": "c"}, ToolCall("c", "hours", "{}")),
        (CALL | {"call_id": "c", "arguments": ""}, ToolCall("c", "hours", "{}")),
        (CALL, ToolCall("call_p_1", "hours", "{}")),
        (CALL | {"call_id": None}, ToolCall("call_p_1", "hours", "{}")),
        ({"type": "function_call_output", "call_id": "c", "output": ""}, result("c", "")),
    ],
)
def test_item_is_parsed(data: dict[str, Any], content: ItemContent) -> None:
    assert parse(data) == content


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({}, "item.type"),
        ({"type": None}, "item.type"),
        ({"type": "item_reference", "id": "x"}, "item.type"),
        ({"type": "mcp_call"}, "item.type"),
        (message("developer", "Hi"), "item.role"),
        (message("user") | {"content": "Hi"}, "item.content"),
        (message("user") | {"content": ["Hi"]}, "item.content[0]"),
        (message("user") | {"content": [{"type": "input_audio", "audio": ""}]}, "item.content[0].type"),
        (message("user") | {"content": [{"type": "output_audio"}]}, "item.content[0].type"),
        (message("user") | {"content": [{"type": "input_text"}]}, "item.content[0].text"),
        (message("user") | {"content": [{"text": "Hi"}]}, "item.content[0].type"),
        (CALL | {"name": None}, "item.name"),
        (CALL | {"arguments": {}}, "item.arguments"),
        (CALL | {"call_id": 7}, "item.call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "item.output"),
        ({"type": "function_call_output", "output": ""}, "item.call_id"),
    ],
)
def test_invalid_item_is_refused_by_the_name_of_its_field(data: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(data)
    assert refused.value.param == param


@pytest.mark.parametrize(("id", "expected"), [(None, None), ("a", "a"), ("é" * 64, "é" * 64)])
def test_item_id_is_parsed(id: str | None, expected: str | None) -> None:
    assert parse_item_id({"id": id}, "item.") == expected


@pytest.mark.parametrize("id", ["", "a" * 65, "a\n", 7, True])
def test_item_id_must_be_short_and_printable(id: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_item_id({"id": id}, "item.")
    assert refused.value.param == "item.id"


def encoded(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "object": "realtime.item", "status": "completed", "type": kind, **fields}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (user("Hi"), encoded("message", role="user", content=[{"type": "input_text", "text": "Hi"}])),
        (
            Message("system", "Hi"),
            encoded("message", role="system", content=[{"type": "input_text", "text": "Hi"}]),
        ),
        (assistant(""), encoded("message", role="assistant", content=[{"type": "output_text", "text": ""}])),
        (call("c"), encoded("function_call", call_id="c", name="hours", arguments="{}")),
        (result("c", "8"), encoded("function_call_output", call_id="c", output="8")),
    ],
)
def test_item_is_encoded(content: ItemContent, expected: dict[str, Any]) -> None:
    assert item_to_json(RealtimeItem("x", content)) == expected


def test_message_has_no_content_before_its_first_word() -> None:
    assert item_to_json(RealtimeItem("x", assistant(""), "in_progress"))["content"] == []
    assert item_to_json(RealtimeItem("x", assistant("A"), "in_progress"))["content"] == [
        {"type": "output_text", "text": "A"}
    ]


SYSTEM = Message("system", "Be kind.")
A, B = call("a"), call("b")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ([user("1"), assistant("2"), user("3")], [user("1"), assistant("2"), user("3")]),
        ([SYSTEM, user(""), assistant(""), Message("system")], [SYSTEM]),
        ([A, result("a")], [assistant("", A), result("a")]),
        ([A, result("a", "")], [assistant("", A), result("a", "")]),
        ([assistant("1"), A, B, result("b"), result("a")], [assistant("1", A, B), result("a"), result("b")]),
        ([A, assistant("1"), result("a"), assistant("2")], [assistant("1", A), result("a"), assistant("2")]),
        (
            [A, user("1"), assistant("2"), result("a")],
            [assistant("", A), result("a"), user("1"), assistant("2")],
        ),
        ([A, result("a"), B, result("b")], [assistant("", A), result("a"), assistant("", B), result("b")]),
        ([A, user("1")], [user("1")]),
        ([assistant("1"), A, B, result("b")], [assistant("1", B), result("b")]),
        ([result("a"), A, user("1")], [user("1")]),
        ([A, result("a"), result("a", "again")], [assistant("", A), result("a")]),
        ([A, result("a", "1"), A, user("2")], [assistant("", A), result("a", "1"), user("2")]),
        (
            [A, result("a", "1"), A, result("a", "2")],
            [assistant("", A), result("a", "1"), assistant("", A), result("a", "2")],
        ),
    ],
)
def test_results_follow_their_calls_in_the_messages(
    items: list[ItemContent], expected: list[Message]
) -> None:
    assert to_messages(items) == expected


IDS = st.sampled_from("abc")
CONTENTS = st.one_of(
    st.builds(call, IDS),
    st.builds(result, IDS),
    st.builds(assistant, st.text("xy ")),
    st.builds(user, st.text("xy ")),
)


@given(st.lists(CONTENTS, max_size=12))
def test_in_any_messages_calls_have_results_and_no_text_is_empty(
    items: list[ItemContent],
) -> None:
    messages = to_messages(items)
    open_calls: list[str] = []
    for item in messages:
        if item.role == "tool":
            assert item.tool_call_id == open_calls.pop(0)
            continue
        assert not open_calls
        assert item.text or item.tool_calls
        open_calls = [call.id for call in item.tool_calls]
    assert not open_calls
    words = [
        content.text
        for content in items
        if isinstance(content, Message) and content.role == "user" and content.text
    ]
    assert [item.text for item in messages if item.role == "user"] == words


@pytest.mark.parametrize(
    ("text", "heard", "kept"),
    [
        ("We open at eight.", "we open", "We open"),
        ("We  open\nat eight.", "We open at", "We  open\nat"),
        ("We open at eight.", "We open at eight.", "We open at eight."),
        ("We open. ", "We open. And more", "We open."),
        ("We open at eight.", "We close at eight.", "We"),
        ("We open at eight.", "Something else", ""),
        ("We open at eight.", "We op", "We"),
        ("We open at eight.", "", ""),
        ("", "We", ""),
    ],
)
def test_heard_prefix_is_the_longest_common_one_in_words(text: str, heard: str, kept: str) -> None:
    assert heard_prefix(text, heard) == kept


@pytest.mark.parametrize(
    ("max_chars", "kept"),
    [(0, ""), (1.9, ""), (2, "We"), (6.9, "We"), (7.0, "We open"), (8, "We open"), (99, "We open at.")],
)
def test_words_within_keeps_whole_words(max_chars: float, kept: str) -> None:
    assert words_within("We open at. ", max_chars) == kept


def make_conversation(*content: ItemContent, **limits: int) -> RealtimeConversation:
    conversation = RealtimeConversation("conv", **limits)
    for number, each in enumerate(content):
        conversation.add(RealtimeItem(str(number), each))
    return conversation


def item_ids(conversation: RealtimeConversation) -> str:
    return "".join(conversation.items)


@pytest.mark.parametrize(
    ("after", "previous", "order"),
    [(None, "2", "012x"), ("2", "2", "012x"), ("1", "1", "01x2"), ("0", "0", "0x12"), ("root", None, "x012")],
)
def test_item_is_inserted_behind_another(after: str | None, previous: str | None, order: str) -> None:
    conversation = make_conversation(user("a"), user("b"), user("c"))
    assert conversation.add(RealtimeItem("x", user("d")), after) == previous
    assert item_ids(conversation) == order


@pytest.mark.parametrize("after", [None, "root"])
def test_first_item_has_no_previous_item(after: str | None) -> None:
    conversation = make_conversation()
    assert conversation.add(RealtimeItem("x", user("d")), after) is None
    assert item_ids(conversation) == "x"


def test_item_is_found_by_its_id() -> None:
    conversation = make_conversation(user("a"))
    assert conversation.find("0", "item_id") == RealtimeItem("0", user("a"))
    with pytest.raises(RealtimeError) as fault:
        conversation.find("1", "item_id")
    assert (fault.value.error_code, fault.value.param) == ("item_not_found", "item_id")


def test_removed_item_is_not_replaced() -> None:
    conversation = make_conversation(user("abc"), user("de"))
    conversation.remove("0")
    conversation.replace(RealtimeItem("0", user("abcd")))
    assert (item_ids(conversation), conversation.size) == ("1", 2)
    conversation.replace(RealtimeItem("1", user("abcd")))
    assert (conversation.messages(), conversation.size) == ([user("abcd")], 4)


@pytest.mark.parametrize(
    ("content", "limits", "left"),
    [
        ([user("a"), user("b"), user("c")], {"max_items": 2}, "12"),
        ([user("aaa"), user("b"), user("c")], {"max_chars": 3}, "12"),
        ([user("aaa"), user("bbbb")], {"max_chars": 3}, "1"),
        ([A, user("1"), result("a"), user("2")], {"max_items": 3}, "13"),
        ([A, user("1"), user("2")], {"max_items": 2}, "12"),
        ([result("a"), A, user("1"), user("2")], {"max_items": 3}, "23"),
        ([A, B, result("b"), result("a"), user("1")], {"max_items": 4}, "124"),
    ],
)
def test_oldest_items_are_removed_first_and_calls_with_their_results(
    content: list[ItemContent], limits: dict[str, int], left: str
) -> None:
    conversation = make_conversation(*content, **limits)
    assert item_ids(conversation) == left
    assert (
        conversation.size == make_conversation(*(item.content for item in conversation.items.values())).size
    )


def test_default_limits_are_2000_items_and_a_million_characters() -> None:
    conversation = make_conversation(*[user("a")] * 2001)
    assert (len(conversation.items), next(iter(conversation.items))) == (2000, "1")
    assert len(make_conversation(*[user("a" * 500_000)] * 3).items) == 2
