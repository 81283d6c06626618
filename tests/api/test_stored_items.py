"""References to items of stored responses become the items as the agent gave them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.test_responses_request import find_response, parse
from voicegw.api.stored_items import ItemNotFound, StoredItems
from voicegw.conversations.response_store import StoredResponse
from voicegw.errors import BadRequest
from voicegw.events import Message, ToolCall


def reference(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, **more}


FIRST, SECOND = ToolCall("c1", "f"), ToolCall("c2", "f")


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([reference("msg_t_1_0")], [Message("assistant", "Well. ")]),
        ([reference("msg_t_1_2", type="item_reference")], [Message("assistant", "There.")]),
        ([reference("fc_t_1_1", type=None)], [Message("assistant", tool_calls=(SECOND,))]),
        (
            [reference("msg_t_1_0"), reference("fc_t_1_0"), reference("fc_t_1_1")],
            [Message("assistant", "Well. ", tool_calls=(FIRST, SECOND))],
        ),
        ([reference("msg_e_0"), {"role": "user", "content": "Hi"}], [Message("user", "Hi")]),
        ([reference("msg_t_1_1"), {"role": "user", "content": "Hi"}], [Message("user", "Hi")]),
    ],
)
def test_a_reference_becomes_the_stored_item(items: list[Any], messages: list[Message]) -> None:
    """The message 1 of the response holds only words of the gateway, that of the empty one nothing."""
    assert list(parse(items).messages) == messages


@pytest.mark.parametrize(
    "id",
    [
        "msg_t_1_3",
        "msg_t_1_7",
        "msg_e_1",
        "fc_e_0",
        "msg_t_2_0",
        "fc_t_1_2",
        "rs_t_1_0",
        "msg_t_1_",
        "msg_t_1",
        "t_1",
        "",
        "msg_t_1_0\n",
        "fc_t_1_00",
    ],
)
def test_a_reference_to_an_item_that_is_not_stored_is_not_found(id: str) -> None:
    with pytest.raises(ItemNotFound) as raised:
        parse([{"role": "user", "content": "Hi"}, reference(id, type="item_reference")])
    assert (raised.value.status, raised.value.param) == (404, "input[1].id")
    assert f"the item '{id}' is not known" in raised.value.message


def test_a_response_is_looked_up_once_for_all_its_items() -> None:
    looked_up: list[str] = []

    def find(id: str) -> StoredResponse:
        looked_up.append(id)
        return find_response(id)

    items = StoredItems(find)
    for id in ("msg_t_1_0", "fc_t_1_0", "fc_t_1_1"):
        assert items.find(id, "input[0].id") is not None
    assert looked_up == ["resp_t_1"]


def test_an_item_may_be_named_once() -> None:
    """A small request must not repeat a long text thousands of times."""
    items = StoredItems(find_response)
    items.find("msg_t_1_0", "input[0].id")
    with pytest.raises(BadRequest) as raised:
        items.find("msg_t_1_0", "input[1].id")
    assert raised.value.param == "input[1].id"
