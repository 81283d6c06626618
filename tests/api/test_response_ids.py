"""The ids of responses and their items: unique, and the same in a stream and in the store."""

from __future__ import annotations

from voicegw.api.response_ids import output_items, response_id
from voicegw.events import Message, ToolCall

CALL = ToolCall("call_1", "weather", "{}")


def test_items_have_ids_by_kind_and_by_the_number_of_tool_calls_before() -> None:
    assert output_items("7", ["Well", CALL, CALL, "Done."]) == {
        "msg_7_0": Message("assistant", "Well"),
        "fc_7_0": CALL,
        "fc_7_1": CALL,
        "msg_7_2": Message("assistant", "Done."),
    }


def test_response_id_follows_from_the_turn_id() -> None:
    assert response_id("7") == "resp_7"
