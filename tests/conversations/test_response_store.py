"""Stored responses are found by the tenant that got them, for a limited time, within limits."""

from __future__ import annotations

import pytest

from voicegw.conversations.response_store import (
    RESPONSE_BYTES,
    PreviousResponseNotFound,
    ResponseStore,
    StoredResponse,
)
from voicegw.events import Message, ToolCall
from voicegw.turns.stream import EventLog
from voicegw.wire.memory_size import messages_bytes

HELLO = (Message("user", "Hello?"),)
HI = Message("assistant", "Hi there.")


def stored(used: float = 0.0, size: int = 10, *events: str | ToolCall, ended: bool = True) -> StoredResponse:
    history = (Message("user", size * "x"),)
    return StoredResponse(history, EventLog(list(events), has_ended=ended), used)


def bytes_of(*messages: Message) -> int:
    return RESPONSE_BYTES + messages_bytes(messages)


def test_a_response_is_found_while_it_runs_and_after() -> None:
    store, event_log = ResponseStore(), EventLog()
    store.add("shop", "resp_1", StoredResponse(HELLO, event_log, 0.0))
    assert store.find("shop", "resp_1", 1.0).messages == HELLO
    event_log.events += ["Hi", " there."]
    assert store.find("shop", "resp_1", 1.0).messages == (*HELLO, HI)
    store.complete("shop", "resp_1", 2.0)
    assert store.find("shop", "resp_1", 2.0).event_log is event_log, "it still runs"
    assert store.total_bytes == bytes_of(*HELLO)
    event_log.has_ended = True
    for _ in range(2):
        store.complete("shop", "resp_1", 3.0)
        assert store.total_bytes == bytes_of(*HELLO, HI)
    found = store.find("shop", "resp_1", 4.0)
    assert (found.messages, found.event_log) == ((*HELLO, HI), None)


@pytest.mark.parametrize(("tenant", "id"), [("other", "resp_1"), ("shop", "resp_2"), ("", "")])
def test_a_tenant_finds_only_its_own_responses(tenant: str, id: str) -> None:
    store = ResponseStore()
    store.add("shop", "resp_1", stored())
    with pytest.raises(PreviousResponseNotFound) as raised:
        store.find(tenant, id, 1.0)
    failure = raised.value
    assert (failure.status, failure.code, failure.param) == (
        404, "previous_response_not_found", "previous_response_id",
    )  # fmt: skip


def test_a_response_is_kept_while_it_is_used() -> None:
    store = ResponseStore(idle_timeout=10.0)
    store.add("shop", "resp_1", stored())
    store.find("shop", "resp_1", 9.0)
    store.find("shop", "resp_1", 18.0)
    with pytest.raises(PreviousResponseNotFound):
        store.find("shop", "resp_1", 28.0)
    store.add("shop", "resp_2", stored(28.0))
    assert (len(store), store.total_bytes) == (1, RESPONSE_BYTES)


def test_above_the_number_limit_the_least_recently_used_go() -> None:
    store = ResponseStore(max_responses=2)
    for number in range(3):
        store.add("shop", f"resp_{number}", stored(float(number)))
    with pytest.raises(PreviousResponseNotFound):
        store.find("shop", "resp_0", 3.0)
    assert (len(store), store.total_bytes) == (2, 2 * RESPONSE_BYTES)


def test_above_the_byte_limit_the_least_recently_used_go() -> None:
    store = ResponseStore(max_bytes=30_000)
    for number in range(3):
        store.add("shop", f"resp_{number}", stored(float(number), 10_000, "Hi there."))
        store.complete("shop", f"resp_{number}", float(number))
    assert (len(store), store.total_bytes) == (2, 2 * bytes_of(Message("user", 10_000 * "x"), HI))
    store.add("shop", "resp_3", stored(3.0, 31_000))
    store.complete("shop", "resp_3", 3.0)
    assert (len(store), store.total_bytes) == (0, 0)
    store.complete("shop", "resp_3", 4.0)


def test_content_parts_and_tool_calls_count() -> None:
    store, image = ResponseStore(), {"type": "image_url", "image_url": {"url": 5000 * "x"}}
    messages = (Message("user", "Look.", parts=(image,)),)
    call = ToolCall("c", "look", 5000 * "y")
    store.add("shop", "resp_1", StoredResponse(messages, EventLog([call], has_ended=True), 0.0))
    store.complete("shop", "resp_1", 0.0)
    assert 10_000 < store.total_bytes < 13_000


def test_a_response_that_is_added_twice_counts_once() -> None:
    store = ResponseStore()
    store.add("shop", "resp_1", stored())
    store.add("shop", "resp_1", stored())
    assert (len(store), store.total_bytes) == (1, RESPONSE_BYTES)


def test_own_words_are_noted_for_all_clients_of_a_response() -> None:
    store = ResponseStore()
    store.note_own_words("shop", "resp_1", 0)
    store.add("shop", "resp_1", stored())
    store.note_own_words("shop", "resp_1", 1)
    store.add("shop", "resp_1", stored())
    assert store.find("shop", "resp_1", 0.0).own_message_counts == {1}
    assert store.total_bytes == RESPONSE_BYTES
