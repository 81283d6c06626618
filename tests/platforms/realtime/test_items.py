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
    item_json,
    parse_item,
    parse_item_id,
    to_messages,
    words_within,
)

CALL = {"type": "function_call", "name": "hours", "arguments": "{}"}


def user(text: str) -> Message:
    return Message("user", text)


def we(text: str, *calls: ToolCall) -> Message:
    return Message("assistant", text, tool_calls=calls)


def call(id: str) -> ToolCall:
    return ToolCall(id, "hours")


def result(id: str, text: str = "8 to 18") -> Message:
    return Message("tool", text, tool_call_id=id)


def read(data: dict[str, Any]) -> ItemContent:
    return parse_item(data, "item.", EventWriter("p"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (message("user", "Hi"), user("Hi")),
        (message("user", "Hi", "there"), user("Hi\nthere")),
        (message("user"), user("")),
        (message("system", "Be kind."), Message("system", "Be kind.")),
        (message("assistant", "Yes."), we("Yes.")),
        (message("assistant") | {"content": [{"type": "text", "text": "Yes."}]}, we("Yes.")),
        (CALL | {"call_id": "c"}, ToolCall("c", "hours", "{}")),
        (CALL | {"call_id": "c", "arguments": ""}, ToolCall("c", "hours", "{}")),
        (CALL, ToolCall("call_p_1", "hours", "{}")),
        (CALL | {"call_id": None}, ToolCall("call_p_1", "hours", "{}")),
        ({"type": "function_call_output", "call_id": "c", "output": ""}, result("c", "")),
    ],
)
def test_an_item_is_read(data: dict[str, Any], said: ItemContent) -> None:
    assert read(data) == said


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
def test_an_item_that_is_none_is_refused_by_the_name_of_its_field(data: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(data)
    assert refused.value.param == param


@pytest.mark.parametrize(("id", "expected"), [(None, None), ("a", "a"), ("é" * 64, "é" * 64)])
def test_a_client_may_name_an_item(id: str | None, expected: str | None) -> None:
    assert parse_item_id({"id": id}, "item.") == expected


@pytest.mark.parametrize("id", ["", "a" * 65, "a\n", 7, True])
def test_a_name_is_short_and_printable(id: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_item_id({"id": id}, "item.")
    assert refused.value.param == "item.id"


def shown(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "x", "object": "realtime.item", "status": "completed", "type": kind, **fields}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (user("Hi"), shown("message", role="user", content=[{"type": "input_text", "text": "Hi"}])),
        (
            Message("system", "Hi"),
            shown("message", role="system", content=[{"type": "input_text", "text": "Hi"}]),
        ),
        (we(""), shown("message", role="assistant", content=[{"type": "output_text", "text": ""}])),
        (call("c"), shown("function_call", call_id="c", name="hours", arguments="{}")),
        (result("c", "8"), shown("function_call_output", call_id="c", output="8")),
    ],
)
def test_an_item_is_shown(said: ItemContent, expected: dict[str, Any]) -> None:
    assert item_json(RealtimeItem("x", said)) == expected


def test_a_message_has_no_content_before_its_first_word() -> None:
    assert item_json(RealtimeItem("x", we(""), "in_progress"))["content"] == []
    assert item_json(RealtimeItem("x", we("A"), "in_progress"))["content"] == [
        {"type": "output_text", "text": "A"}
    ]


SYSTEM = Message("system", "Be kind.")
A, B = call("a"), call("b")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ([user("1"), we("2"), user("3")], [user("1"), we("2"), user("3")]),
        ([SYSTEM, user(""), we(""), Message("system")], [SYSTEM]),
        ([A, result("a")], [we("", A), result("a")]),
        ([A, result("a", "")], [we("", A), result("a", "")]),
        ([we("1"), A, B, result("b"), result("a")], [we("1", A, B), result("a"), result("b")]),
        ([A, we("1"), result("a"), we("2")], [we("1", A), result("a"), we("2")]),
        ([A, user("1"), we("2"), result("a")], [we("", A), result("a"), user("1"), we("2")]),
        ([A, result("a"), B, result("b")], [we("", A), result("a"), we("", B), result("b")]),
        ([A, user("1")], [user("1")]),
        ([we("1"), A, B, result("b")], [we("1", B), result("b")]),
        ([result("a"), A, user("1")], [user("1")]),
        ([A, result("a"), result("a", "again")], [we("", A), result("a")]),
        ([A, result("a", "1"), A, user("2")], [we("", A), result("a", "1"), user("2")]),
        (
            [A, result("a", "1"), A, result("a", "2")],
            [we("", A), result("a", "1"), we("", A), result("a", "2")],
        ),
    ],
)
def test_an_agent_is_told_of_calls_with_their_results_right_behind(
    items: list[ItemContent], expected: list[Message]
) -> None:
    assert to_messages(items) == expected


IDS = st.sampled_from("abc")
SAID = st.one_of(
    st.builds(call, IDS),
    st.builds(result, IDS),
    st.builds(we, st.text("xy ")),
    st.builds(user, st.text("xy ")),
)


@given(st.lists(SAID, max_size=12))
def test_whatever_the_items_every_call_has_its_result_and_no_message_is_empty(
    items: list[ItemContent],
) -> None:
    told = to_messages(items)
    waiting: list[str] = []
    for spoken in told:
        if spoken.role == "tool":
            assert spoken.tool_call_id == waiting.pop(0)
            continue
        assert not waiting
        assert spoken.text or spoken.tool_calls
        waiting = [asked.id for asked in spoken.tool_calls]
    assert not waiting
    words = [said.text for said in items if isinstance(said, Message) and said.role == "user" and said.text]
    assert [spoken.text for spoken in told if spoken.role == "user"] == words


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
def test_what_was_heard_is_the_longest_common_beginning_in_words(text: str, heard: str, kept: str) -> None:
    assert heard_prefix(text, heard) == kept


@pytest.mark.parametrize(
    ("most", "kept"),
    [(0, ""), (1.9, ""), (2, "We"), (6.9, "We"), (7.0, "We open"), (8, "We open"), (99, "We open at.")],
)
def test_a_time_keeps_whole_words(most: float, kept: str) -> None:
    assert words_within("We open at. ", most) == kept


def filled(*said: ItemContent, **bounds: int) -> RealtimeConversation:
    book = RealtimeConversation("conv", **bounds)
    for number, each in enumerate(said):
        book.add(RealtimeItem(str(number), each))
    return book


def ids(book: RealtimeConversation) -> str:
    return "".join(book.items)


@pytest.mark.parametrize(
    ("after", "previous", "order"),
    [(None, "2", "012x"), ("2", "2", "012x"), ("1", "1", "01x2"), ("0", "0", "0x12"), ("root", None, "x012")],
)
def test_an_item_goes_where_it_is_wanted(after: str | None, previous: str | None, order: str) -> None:
    book = filled(user("a"), user("b"), user("c"))
    assert book.add(RealtimeItem("x", user("d")), after) == previous
    assert ids(book) == order


@pytest.mark.parametrize("after", [None, "root"])
def test_the_first_item_has_none_before_it(after: str | None) -> None:
    book = filled()
    assert book.add(RealtimeItem("x", user("d")), after) is None
    assert ids(book) == "x"


def test_an_item_is_found_by_its_id() -> None:
    book = filled(user("a"))
    assert book.find("0", "item_id") == RealtimeItem("0", user("a"))
    with pytest.raises(RealtimeError) as fault:
        book.find("1", "item_id")
    assert (fault.value.error_code, fault.value.param) == ("item_not_found", "item_id")


def test_an_item_that_is_gone_does_not_come_back() -> None:
    book = filled(user("abc"), user("de"))
    book.remove("0")
    book.replace(RealtimeItem("0", user("abcd")))
    assert (ids(book), book.size) == ("1", 2)
    book.replace(RealtimeItem("1", user("abcd")))
    assert (book.messages(), book.size) == ([user("abcd")], 4)


@pytest.mark.parametrize(
    ("said", "bounds", "left"),
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
def test_the_oldest_items_go_first_and_calls_go_with_their_results(
    said: list[ItemContent], bounds: dict[str, int], left: str
) -> None:
    book = filled(*said, **bounds)
    assert ids(book) == left
    assert book.size == filled(*(item.content for item in book.items.values())).size


def test_two_thousand_items_or_a_million_characters_are_kept() -> None:
    book = filled(*[user("a")] * 2001)
    assert (len(book.items), next(iter(book.items))) == (2000, "1")
    assert len(filled(*[user("a" * 500_000)] * 3).items) == 2
