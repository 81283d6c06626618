from __future__ import annotations

from tests.platforms.realtime.client import frames
from voicegw.errors import BadRequest
from voicegw.platforms.realtime.events import EventWriter, RealtimeError


def test_names_are_counted_behind_the_prefix_and_never_taken_ones() -> None:
    events = EventWriter("ab")
    assert [events.new_id("item"), events.new_id("resp")] == ["item_ab_1", "resp_ab_2"]
    assert events.new_id("item", {"item_ab_3", "item_ab_4"}) == "item_ab_5"


def test_every_event_has_an_id_of_its_own() -> None:
    events = EventWriter("ab")
    first = events.encode("conversation.item.deleted", item_id="é")
    second = events.encode_parts(b'"type":"conversation.item.deleted","item_id":', b'"x"')
    assert frames(first + second) == [
        {"event_id": "event_ab_1", "type": "conversation.item.deleted", "item_id": "é"},
        {"event_id": "event_ab_2", "type": "conversation.item.deleted", "item_id": "x"},
    ]


def test_an_error_tells_what_was_wrong_with_which_event() -> None:
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
