from __future__ import annotations

from tests.platforms.realtime.client import frames
from voicegw.errors import BadRequest
from voicegw.platforms.realtime.events import EventWriter, RealtimeError


def test_new_ids_are_numbered_and_never_taken_ones() -> None:
    events = EventWriter("ab")
    assert [events.new_id("item"), events.new_id("resp")] == ["item_ab_1", "resp_ab_2"]
    assert events.new_id("item", {"item_ab_3", "item_ab_4"}) == "item_ab_5"


def test_every_event_has_its_own_id() -> None:
    events = EventWriter("ab")
    first = events.encode("conversation.item.deleted", item_id="é")
    second = events.encode_parts(b'"type":"conversation.item.deleted","item_id":', b'"x"')
    assert frames(first + second) == [
        {"event_id": "event_ab_1", "type": "conversation.item.deleted", "item_id": "é"},
        {"event_id": "event_ab_2", "type": "conversation.item.deleted", "item_id": "x"},
    ]


def test_error_names_the_event_and_the_field() -> None:
    events = EventWriter("ab")
    assert frames(events.encode_error(RealtimeError("item_not_found", "It is gone.", "item_id"), "c1")) == [
        {
            "event_id": "event_ab_1",
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "code": "item_not_found",
                "message": "It is gone.",
                "param": "item_id",
                "event_id": "c1",
            },
        }
    ]
    [plain] = frames(events.encode_error(BadRequest("No."), None))
    assert (plain["error"]["code"], plain["error"]["param"]) == ("invalid_value", None)
    assert plain["error"]["event_id"] is None
