"""Stored responses are found by the tenant that got them, for a limited time, within limits."""

from __future__ import annotations

import pytest

from voicegw.conversations.response_store import PreviousResponseNotFound, ResponseStore, StoredResponse
from voicegw.events import Message, ToolCall
from voicegw.turns.stream import EventLog

HELLO = (Message("user", "Hello?"),)
HI = Message("assistant", "Hi there.")


def stored(used: float = 0.0, size: int = 10, *events: str | ToolCall, ended: bool = True) -> StoredResponse:
    return StoredResponse(HELLO, EventLog(list(events), has_ended=ended), size, used)


def test_a_response_is_found_while_it_runs_and_after() -> None:
    store, event_log = ResponseStore(), EventLog()
    store.add("shop", "resp_1", StoredResponse(HELLO, event_log, 10, 0.0))
    assert store.find("shop", "resp_1", 1.0).messages == HELLO
    event_log.events += ["Hi", " there."]
    assert store.find("shop", "resp_1", 1.0).messages == (*HELLO, HI)
    store.complete("shop", "resp_1", 2.0)
    assert (store.total_bytes, store.find("shop", "resp_1", 2.0).event_log) == (10, event_log), (
        "it still runs"
    )
    event_log.has_ended = True
    for _ in range(2):
        store.complete("shop", "resp_1", 3.0)
        assert store.total_bytes == 10 + len(HI.text)
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
    assert (len(store), store.total_bytes) == (1, 10)


def test_above_the_number_limit_the_least_recently_used_go() -> None:
    store = ResponseStore(max_responses=2)
    for number in range(3):
        store.add("shop", f"resp_{number}", stored(float(number)))
    with pytest.raises(PreviousResponseNotFound):
        store.find("shop", "resp_0", 3.0)
    assert (len(store), store.total_bytes) == (2, 20)


def test_above_the_byte_limit_the_least_recently_used_go() -> None:
    store = ResponseStore(max_bytes=30)
    store.add("shop", "resp_1", stored(0.0, 20))
    store.add("shop", "resp_2", stored(1.0, 20))
    assert (len(store), store.total_bytes) == (1, 20)
    store.add("shop", "resp_3", stored(2.0, 10, "Hi there."))
    store.complete("shop", "resp_3", 2.0)
    assert (len(store), store.total_bytes) == (1, 19)
    store.add("shop", "resp_4", stored(3.0, 31))
    assert (len(store), store.total_bytes) == (0, 0)
    store.complete("shop", "resp_4", 4.0)


def test_a_response_that_is_added_twice_counts_once() -> None:
    store = ResponseStore()
    store.add("shop", "resp_1", stored())
    store.add("shop", "resp_1", stored())
    assert (len(store), store.total_bytes) == (1, 10)


def test_own_words_are_noted_for_all_clients_of_a_response() -> None:
    store = ResponseStore()
    store.note_own_words("shop", "resp_1", 0)
    store.add("shop", "resp_1", stored())
    store.note_own_words("shop", "resp_1", 1)
    store.add("shop", "resp_1", stored())
    assert store.find("shop", "resp_1", 0.0).own_message_counts == {1}
    assert store.total_bytes == 10
